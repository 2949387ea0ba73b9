"""Disjoint paths of least total cost: two are Suurballe's pair, all are Menger's number.

Found as a flow of least cost (Suurballe and Tarjan, 1984), so a greedy first path cannot trap it.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from x0mesh.mesh.graph import Graph
from x0mesh.mesh.routes import AdjacencySegment, NextHop, Protection

_UNBOUNDED: Final = 1 << 30

Path = tuple[AdjacencySegment, ...]


def disjoint_paths(
    graph: Graph,
    origin: str,
    destination: str,
    survives: Protection = Protection.LINK,
    count: int | None = None,
) -> list[Path]:
    """`count` paths without a common link (or inner node), or as many as exist; None means all.

    Their total cost is the least possible for their number. Overloaded nodes are not crossed.
    Paths come sorted by cost, then by names; none if either end is unknown.
    """
    assert origin != destination, origin
    if origin not in graph or destination not in graph:
        return []
    network = _Network(graph, survives)
    while count is None or network.flow < count:
        if not network.augment(network.leave[origin], network.enter[destination]):
            break
    return sorted(
        network.paths(origin, destination),
        key=lambda path: (sum(network.costs[step] for step in path), repr(path)),
    )


class _Network:
    """A residual flow network: every node is entered, crossed and left; arcs come with reverses.

    An arc and its reverse are `i` and `i ^ 1`. Nodes are numbered by name, so ties fall alike
    whatever the store's numbering.
    """

    def __init__(self, graph: Graph, survives: Protection) -> None:
        self.enter = {name: 2 * i for i, name in enumerate(graph.nodes)}
        self.leave = {name: number + 1 for name, number in self.enter.items()}
        self.flow = 0
        self.costs: dict[AdjacencySegment, int] = {}
        self._heads: list[int] = []
        self._lengths: list[int] = []
        self._capacity: list[int] = []
        self._arcs: list[list[int]] = [[] for _ in range(2 * len(self.enter))]
        self._steps: dict[int, AdjacencySegment] = {}
        self._potential = [0] * len(self._arcs)
        crossings = 1 if survives is Protection.NODE else _UNBOUNDED
        for name in graph.nodes:
            crossable = 0 if graph.is_overloaded(name) else crossings
            self._add(self.enter[name], self.leave[name], 0, crossable)
            for edge in graph.edges(name):
                step = AdjacencySegment(name, NextHop(edge.link, edge.neighbour))
                self.costs[step] = edge.cost
                self._steps[len(self._heads)] = step
                self._add(self.leave[name], self.enter[edge.neighbour], edge.cost, 1)

    def _add(self, tail: int, head: int, length: int, capacity: int) -> None:
        for start, end, cost, room in ((tail, head, length, capacity), (head, tail, -length, 0)):
            self._arcs[start].append(len(self._heads))
            self._heads.append(end)
            self._lengths.append(cost)
            self._capacity.append(room)

    def augment(self, source: int, sink: int) -> bool:
        """Send one more path along the cheapest way left; false when there is none."""
        labels = {source: 0}
        came: dict[int, int] = {}
        settled: set[int] = set()
        queue = [(0, source)]
        while queue:
            label, node = heappop(queue)
            if node in settled:
                continue
            settled.add(node)
            for arc in self._arcs[node]:
                head = self._heads[arc]
                if not self._capacity[arc] or head in settled:
                    continue
                # Potentials keep the lengths of reversed arcs from going negative (Johnson).
                reduced = self._lengths[arc] + self._potential[node] - self._potential[head]
                assert reduced >= 0
                if head not in labels or label + reduced < labels[head]:
                    labels[head] = label + reduced
                    came[head] = arc
                    heappush(queue, (label + reduced, head))
        if sink not in settled:
            return False
        farthest = max(labels[node] for node in settled)
        for node in range(len(self._potential)):
            self._potential[node] += labels.get(node, farthest)
        node = sink
        while node != source:
            arc = came[node]
            self._capacity[arc] -= 1
            self._capacity[arc ^ 1] += 1
            node = self._heads[arc ^ 1]
        self.flow += 1
        return True

    def paths(self, origin: str, destination: str) -> list[Path]:
        """The flow taken apart into paths."""
        used: dict[str, list[AdjacencySegment]] = {}
        for arc, step in self._steps.items():
            if not self._capacity[arc]:
                used.setdefault(step.node, []).append(step)
        found = []
        for _ in range(self.flow):
            path = []
            node = origin
            while node != destination:
                step = used[node].pop(0)
                path.append(step)
                node = step.hop.neighbour
            found.append(tuple(path))
        return found
