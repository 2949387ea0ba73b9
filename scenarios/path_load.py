"""How much least-cost traffic touches each node when every pair exchanges one unit."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from x0mesh.scenarios.topology import Topology

Floats = npt.NDArray[np.float64]

_CELLS: Final = 4_000_000
"""Sources times edges looked at together: bounds the memory, not the result."""


class PathLoads:
    """Loads of a topology's nodes, also with some of them gone."""

    def __init__(self, topology: Topology) -> None:
        self.names = list(topology.nodes)
        number = {name: i for i, name in enumerate(self.names)}
        least: dict[tuple[int, int], int] = {}
        for link in topology.links.values():
            a, b = number[link.a], number[link.b]
            for ends, cost in (((a, b), link.cost_forward), ((b, a), link.cost_backward)):
                least[ends] = min(least.get(ends, cost), cost)
        edges = np.array(list(least), dtype=np.int64).reshape(-1, 2)
        self._from, self._to = edges[:, 0], edges[:, 1]
        self._cost = np.array(list(least.values()), dtype=np.float64)

    def without(self, gone: set[str]) -> dict[str, float]:
        """Ordered pairs whose least-cost paths touch the node, its own included, ties shared.

        Betweenness with ends, by Brandes' accumulation (2001), many sources at a time.
        """
        number = {name: i for i, name in enumerate(self.names)}
        alive = np.ones(len(self.names), dtype=np.bool_)
        alive[[number[name] for name in gone]] = False
        kept = alive[self._from] & alive[self._to]
        start, end, cost = self._from[kept], self._to[kept], self._cost[kept]
        load = np.zeros(len(self.names))
        sources = np.flatnonzero(alive)
        if len(cost):
            matrix = csr_array((cost, (start, end)), shape=(len(self.names),) * 2)
            at_once = max(1, _CELLS // len(cost))
            for first in range(0, len(sources), at_once):
                load += _loads(matrix, sources[first : first + at_once], start, end, cost)
        return {name: float(load[i]) for i, name in enumerate(self.names) if alive[i]}


def _loads(
    matrix: csr_array[np.float64, tuple[int, int]],
    sources: npt.NDArray[np.int64],
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    cost: Floats,
) -> Floats:
    distance = dijkstra(matrix, indices=sources)
    reached = np.isfinite(distance)
    rows = np.arange(len(sources))
    # Infinite distances compare equal to themselves, and lie on no path.
    row, edge = np.nonzero((distance[:, start] + cost == distance[:, end]) & reached[:, end])
    width = distance.shape[1]
    tail, head = row * width + start[edge], row * width + end[edge]
    # Within a band as wide as the least cost no edge's head is another's tail.
    band = (distance.ravel()[head] // cost.min()).astype(np.int64)
    order = np.argsort(band, kind="stable")
    tail, head = tail[order], head[order]
    cuts = np.flatnonzero(np.diff(band[order])) + 1
    bands = list(zip(np.split(tail, cuts), np.split(head, cuts), strict=True))
    paths = np.zeros(distance.size)
    paths[rows * width + sources] = 1.0
    for tails, heads in bands:
        np.add.at(paths, heads, paths[tails])
    carried = np.zeros(distance.size)
    for tails, heads in reversed(bands):
        np.add.at(carried, tails, paths[tails] / paths[heads] * (1.0 + carried[heads]))
    through = carried.reshape(distance.shape) + reached
    # A source touches one path to each node it reaches, itself left out.
    through[rows, sources] = reached.sum(axis=1) - 1
    total: Floats = through.sum(axis=0)
    return total
