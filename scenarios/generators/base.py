"""What a generator is, and how its nodes and links become a Topology."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import LinkPlan, NodePlan
from x0mesh.scenarios.registry import Registry
from x0mesh.scenarios.topology import Topology

MAX_NODES = 100_000
MAX_LINKS = 1_000_000
PLAIN = Impairment(delay_ns=1_000_000)
"""A link nobody said anything about: 1 ms each way, no rate limit, no loss."""
DEFAULT_ROLE = "leaf"


def _count(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"a topology needs at least one node, got {value}")
    if value > MAX_NODES:
        raise ValueError(f"at most {MAX_NODES} nodes, got {value}")
    return value


NodeCount = Annotated[int, BeforeValidator(_count), Field(ge=1, le=MAX_NODES)]


class TopologyGenerator(BaseModel):
    """A generator's parameters are its fields; its docstring is its page in the documentation.

    `seed` None: the scenario's topology seed. The topology does not change between replications.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str]

    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)

    def build(self, random: np.random.Generator) -> Topology:
        """Raise ValueError where the parameters are impossible together."""
        raise NotImplementedError


GENERATORS: Registry[type[TopologyGenerator]] = Registry("x0mesh.topologies")


def generator(cls: type[TopologyGenerator]) -> type[TopologyGenerator]:
    """Class decorator that puts a generator into the registry under its `kind`."""
    GENERATORS.add(cls.kind, cls)
    return cls


def link_name(a: str, b: str) -> str:
    """The name of the only link between two nodes; parallel ones get `.2`, `.3`, ..."""
    return f"{a}--{b}"


class LinkNames:
    """Unused names for links of a topology: `a--b`, parallel ones `a--b.2`, either way round."""

    def __init__(self, topology: Topology) -> None:
        self._taken = topology.links
        self._parallel: dict[tuple[str, str], int] = {}
        for link in topology.links.values():
            self._count(link.a, link.b)

    def _count(self, a: str, b: str) -> int:
        pair = (a, b) if a <= b else (b, a)
        self._parallel[pair] = self._parallel.get(pair, 0) + 1
        return self._parallel[pair]

    def name(self, a: str, b: str) -> str:
        number = self._count(a, b)
        name = plain = link_name(a, b)
        while number > 1 or name in self._taken:
            name = f"{plain}.{number}"
            if name not in self._taken:
                break
            number += 1
        return name


def network(
    positions: Sequence[tuple[float, float]],
    pairs: Iterable[tuple[int, int]],
    notes: Sequence[str] = (),
) -> Topology:
    """Plain nodes `n0`.. at `positions` and plain links between the pairs, in the given order."""
    names = [f"n{i}" for i in range(len(positions))]
    topology = Topology(notes=list(notes))
    for name, position in zip(names, positions, strict=True):
        topology.nodes[name] = NodePlan(name, role=DEFAULT_ROLE, position=position)
    for i, j in pairs:
        name = link_name(names[i], names[j])
        topology.links[name] = LinkPlan(name, names[i], names[j], PLAIN, PLAIN)
    return topology


def check_links(links: int) -> None:
    """Refuse before building what would not fit."""
    if links > MAX_LINKS:
        raise ValueError(f"at most {MAX_LINKS} links, this would make {links}")
