"""Primary next hops and precomputed repairs: LFA, remote LFA and explicit post-convergence paths.

Everything is decided on the graph before the failure, so that forwarding by the other nodes'
unchanged shortest paths (all equal-cost ones) carries a repaired packet clear of it.

Which repair: a node-protecting one of the cheapest kind if the topology has any, else a
link-protecting one of the cheapest kind; kinds in the order of `RepairKind`. So a node-protecting
explicit path beats a link-protecting LFA: a lost neighbour looks like a lost link at first, and
only the first kind survives both. Inside a kind the smallest cost wins, then names. RFC 5286's
downstream condition (inequality 2) is not asked for: marked packets are never repaired twice,
so two repairs cannot loop between each other.
"""

from __future__ import annotations

from typing import Final

from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.routes import (
    NextHop,
    Protection,
    Repair,
    RepairKind,
    Route,
)
from x0mesh.mesh.spf import UNREACHABLE, Edge

_VIA_SELF: Final = 1
_VIA_NEIGHBOUR: Final = 2


class RouteFinder:
    """Routes of one node in one graph.

    Distances towards destinations come from the store; all else is searched locally and only as
    far as needed, so the cost does not grow with the mesh.
    """

    def __init__(self, store: GraphStore, graph: Graph, name: str) -> None:
        number = graph.number(name)
        assert number is not None, f"{name} advertises nothing"
        self.store = store
        self.graph = graph
        self.number: int = number
        self.edges = graph.edges_at(number)

    def route(self, destination: str, with_repair: bool) -> Route | None:
        """The route to `destination`, or None when it cannot be reached."""
        root = self.graph.number(destination)
        if root is None or root == self.number:
            return None
        labels = self.store.labels(self.graph, destination, towards=True)
        if labels[self.number] >= UNREACHABLE:
            return None
        best: Edge | None = None
        for edge in self.edges:
            if edge.number == root or edge.number not in self.graph.overloaded:
                cost = edge.cost + labels[edge.number]
                if best is None or cost < best.cost + labels[best.number]:
                    best = edge
        assert best is not None
        return Route(
            destination=destination,
            primary=_hop(best),
            repair=self._repair(root, labels, best) if with_repair else None,
            metric=best.cost + labels[best.number],
        )

    def _repair(self, root: int, labels: list[int], primary: Edge) -> Repair | None:
        towards = _Towards(self.graph, labels, root, self.number, primary.number)
        alternates = [
            (edge.cost + labels[edge.number], position, edge, towards.via(edge.number))
            for position, edge in enumerate(self.edges)
            if edge.number != primary.number and towards.carries(edge.number)
        ]
        if primary.number != root:
            repair = self._repair_around(towards, primary, alternates, Protection.NODE)
            if repair is not None:
                return repair
        for edge in self.edges:
            if edge.number == primary.number and edge.link != primary.link:
                return Repair(_hop(edge), (), RepairKind.PARALLEL, Protection.LINK)
        return self._repair_around(towards, primary, alternates, Protection.LINK)

    def _repair_around(
        self,
        towards: _Towards,
        primary: Edge,
        alternates: list[tuple[int, int, Edge, int]],
        protects: Protection,
    ) -> Repair | None:
        """The cheapest kind of repair with this protection, or None if the topology has none."""
        avoid = _VIA_SELF if protects is Protection.LINK else _VIA_SELF | _VIA_NEIGHBOUR
        loop_free = [
            (cost, position, edge) for cost, position, edge, via in alternates if not via & avoid
        ]
        if loop_free:
            edge = min(loop_free)[2]
            return Repair(_hop(edge), (), RepairKind.LFA, protects)
        return None


class _Towards:
    """What lies on the shortest paths from any node to one destination, before the failure."""

    def __init__(
        self, graph: Graph, labels: list[int], root: int, protector: int, neighbour: int
    ) -> None:
        self._graph = graph
        self._root = root
        self._labels = labels
        self._floor = labels[neighbour]
        self._via = {neighbour: _VIA_NEIGHBOUR, protector: _VIA_SELF | _VIA_NEIGHBOUR}

    def carries(self, number: int) -> bool:
        """Whether packets for the destination may be sent to this node."""
        return number == self._root or number not in self._graph.overloaded

    def via(self, number: int) -> int:
        """Whether any shortest path of this node meets the protecting node or its next hop."""
        labels, known = self._labels, self._via
        stack = [number]
        while stack:
            node = stack[-1]
            if node in known:
                stack.pop()
                continue
            # Labels fall along a path: at or below the next hop's there is nothing left to meet.
            if labels[node] <= self._floor or labels[node] >= UNREACHABLE:
                known[node] = 0
                continue
            met, waiting = 0, False
            for edge in self._graph.edges_at(node):
                other = edge.number
                if labels[node] == edge.cost + labels[other] and self.carries(other):
                    if other in known:
                        met |= known[other]
                    else:
                        stack.append(other)
                        waiting = True
            if not waiting:
                known[node] = met
        return known[number]


def _hop(edge: Edge) -> NextHop:
    return NextHop(edge.link, edge.neighbour)
