"""Random topologies that grow node by node."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from x0mesh.scenarios.generators.base import (
    NodeCount,
    TopologyGenerator,
    check_links,
    generator,
    network,
)
from x0mesh.scenarios.topology import Topology


@generator
class BarabasiAlbert(TopologyGenerator):
    """Every new node links to `attach` older ones, chosen in proportion to their links.

    A few nodes become hubs (Barabasi and Albert 1999). It starts from a star of `attach` + 1
    nodes, so the mean degree is close to 2 * attach.
    """

    kind: ClassVar[str] = "barabasi-albert"
    nodes: NodeCount
    attach: Annotated[int, Field(strict=True, ge=1)] = 2

    @model_validator(mode="after")
    def _possible(self) -> BarabasiAlbert:
        if self.attach >= self.nodes and self.nodes > 1:
            raise ValueError(
                f"a new node cannot link to {self.attach} others: there are {self.nodes} nodes"
            )
        check_links(self.nodes * self.attach)
        return self

    def build(self, random: np.random.Generator) -> Topology:
        positions = [(x, y) for x, y in random.random((self.nodes, 2)).tolist()]
        if self.nodes == 1:
            return network(positions, [])
        pairs = [(0, i) for i in range(1, self.attach + 1)]
        # Every node stands here once per link it has, so an even draw is a draw by degree.
        ends = [node for pair in pairs for node in pair]
        for new in range(self.attach + 1, self.nodes):
            chosen: dict[int, None] = {}
            while len(chosen) < self.attach:
                chosen[ends[int(random.integers(len(ends)))]] = None
            for old in chosen:
                pairs.append((old, new))
                ends += (old, new)
        return network(positions, pairs)
