"""Many small faults, everything about them drawn from the seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import networkx as nx
import numpy as np
from pydantic import Field, field_validator, model_validator

from x0mesh.scenarios.faults.base import FAULTS, Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.faults.limits import bounded, until
from x0mesh.scenarios.plan import Step
from x0mesh.scenarios.units import Duration, EventRate, Ratio

_SECOND = 1_000_000_000
MAX_STARTS = 10_000


@fault
class CompositeSwarm(Fault):
    """Faults of many kinds start at random instants, on random targets, with random parameters.

    `faults` are the kinds it may use (default: all of ours that can be drawn and fit the
    target), of which each is armed in this replication with probability `arm`, at least one
    (swarm testing: Groce et al. 2012; leaving some out finds more). `intensity` is the rate of
    starts, the first with the swarm; each lasts evenly between `shortest` and `longest` and has
    one target among those chosen. Nodes as target: faults of nodes, of links between two of
    them, and partitions of them. Links as target: faults of those links.
    """

    kind: ClassVar[str] = "composite.swarm"
    target: ClassVar[TargetKind] = "nodes or links"

    faults: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    intensity: EventRate = 0.5
    arm: Ratio = 0.5
    shortest: Duration = _SECOND // 2
    longest: Duration = 5 * _SECOND

    @field_validator("faults")
    @classmethod
    def _can_be_drawn(cls, kinds: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for kind in kinds or ():
            if kind not in FAULTS:
                raise ValueError(f"unknown fault '{kind}'{FAULTS.hint(kind)}")
            if not _draws(FAULTS[kind]):
                raise ValueError(f"'{kind}' cannot be drawn; known: {', '.join(drawable())}")
        if kinds is not None and len(set(kinds)) != len(kinds):
            raise ValueError("the same fault stands here twice")
        return kinds

    @model_validator(mode="after")
    def _times_fit(self) -> CompositeSwarm:
        if not 0 < self.shortest <= self.longest:
            raise ValueError("shortest must be above 0s and at most longest")
        if self.intensity == 0:
            raise ValueError("intensity must be above 0/s")
        return self

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        if self.intensity * context.duration_ns / _SECOND > MAX_STARTS:
            raise ValueError(f"more than {MAX_STARTS} faults; lower intensity")
        random = context.random
        pool = _Pool(context)
        kinds = [kind for kind in self.faults or drawable() if pool.fits(FAULTS[kind].target)]
        if not kinds:
            raise ValueError("none of the faults fits the chosen targets")
        luck = random.random(len(kinds))
        armed = [kinds[i] for i in range(len(kinds)) if luck[i] < self.arm or i == luck.argmin()]
        steps: list[Step] = []
        at_ns = 0
        while at_ns < context.duration_ns:
            kind = FAULTS[armed[int(random.integers(len(armed)))]]
            lasts_ns = int(random.integers(self.shortest, self.longest + 1))
            drawn = kind.model_validate(kind.sample(random))
            for step in drawn.steps(pool.one_target(kind.target, lasts_ns)):
                end_ns = at_ns + (lasts_ns if step.until_ns is None else step.until_ns)
                if at_ns + step.offset_ns < context.duration_ns:
                    steps.append(
                        Step(
                            at_ns + step.offset_ns, step.action, until(end_ns, context.duration_ns)
                        )
                    )
            at_ns += max(1, round(random.exponential(_SECOND / self.intensity)))
        return bounded(steps)


def drawable() -> list[str]:
    """Kinds of our own catalogue that can draw their parameters.

    Other packages' kinds take part when named, so that installing one changes nobody's plan.
    """
    return [
        kind for kind, cls in FAULTS.items() if cls.__module__.startswith("x0mesh.") and _draws(cls)
    ]


def _draws(cls: type[Fault]) -> bool:
    return cls.available and cls.sample(np.random.Generator(np.random.Philox(0))) is not None


class _Pool:
    """What the swarm may hit, and one target of it at a time."""

    def __init__(self, context: FaultContext) -> None:
        self.context = context
        chosen = set(context.nodes)
        self.links = context.links or tuple(
            link.name
            for link in context.topology.links.values()
            if link.a in chosen and link.b in chosen
        )

    def fits(self, target: TargetKind) -> bool:
        match target:
            case "links" | "nodes or links":
                return bool(self.links)
            case "groups":
                return bool(self.links and self.context.nodes)
            case "nodes":
                return bool(self.context.nodes)
            case "none":
                return True

    def one_target(self, target: TargetKind, duration_ns: int) -> FaultContext:
        random = self.context.random
        nodes: tuple[str, ...] = ()
        links: tuple[str, ...] = ()
        groups: tuple[tuple[str, ...], ...] = ()
        if target == "nodes":
            nodes = (self.context.nodes[int(random.integers(len(self.context.nodes)))],)
        elif target != "none":
            links = (self.links[int(random.integers(len(self.links)))],)
        if target == "groups":
            groups = self._split_at(links[0])
            links = ()
        return replace(
            self.context, nodes=nodes, links=links, groups=groups, duration_ns=duration_ns
        )

    def _split_at(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The pool in two: a connected side of random size with one end of the link, the rest."""
        cut = self.context.topology.links[name]
        graph: nx.Graph[str] = nx.Graph()
        graph.add_nodes_from(self.context.nodes)
        graph.add_edges_from(
            (self.context.topology.links[link].a, self.context.topology.links[link].b)
            for link in self.links
        )
        graph.remove_node(cut.b)
        side = [cut.a, *(far for _, far in nx.bfs_edges(graph, cut.a))]
        side = side[: int(self.context.random.integers(1, len(side) + 1))]
        return tuple(side), tuple(node for node in self.context.nodes if node not in set(side))
