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

from collections.abc import Iterator, Set
from heapq import heappop, heappush
from typing import Final, NamedTuple

from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.routes import (
    AdjacencySegment,
    NextHop,
    NodeSegment,
    Protection,
    Repair,
    RepairKind,
    Route,
    Segment,
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
        self._store = store
        self._graph = graph
        self._number: int = number
        self._edges = graph.edges_at(number)
        self._spaces: dict[tuple[int, int | None], _Space] = {}
        self._remainders: dict[tuple[str, int | None], set[int]] = {}

    def route(self, destination: str, with_repair: bool = True) -> Route | None:
        """The route to `destination`, or None when it cannot be reached."""
        return self.trace(destination, with_repair)[0]

    def trace(self, destination: str, with_repair: bool) -> tuple[Route | None, tuple[int, ...]]:
        """The route, and the nodes whose edges and whose neighbours' distances decided it.

        As long as none of them is in `GraphStore.disturbed`, the route stays as it is.
        """
        found = self._primary(destination)
        if found is None:
            return None, (self._number,)
        primary, towards = found
        repair = None
        if with_repair:
            repair = self._repair(towards, primary, Protection.NODE)
            repair = repair or self._repair(towards, primary, Protection.LINK)
        metric = primary.cost + towards.labels[primary.number]
        return Route(destination, _hop(primary), repair, metric), towards.footprint()

    def cheapest_repair(self, destination: str, protects: Protection) -> Repair | None:
        """The cheapest kind that survives at least the loss of the primary link, or of the node.

        None when there is no route, or the topology offers no such repair.
        """
        found = self._primary(destination)
        return None if found is None else self._repair(found[1], found[0], protects)

    def _primary(self, destination: str) -> tuple[Edge, _Towards] | None:
        root = self._graph.number(destination)
        if root is None or root == self._number:
            return None
        labels = self._store.labels(self._graph, destination, towards=True)
        if labels[self._number] >= UNREACHABLE:
            return None
        ranked = [
            (edge.cost + labels[edge.number], edge)
            for edge in self._edges
            if edge.number == root or edge.number not in self._graph.overloaded
        ]
        # Edges are in name order, so the first of the cheapest wins ties.
        primary = min(ranked, key=lambda option: option[0])[1]
        return primary, _Towards(self._graph, labels, root, self._number, primary.number)

    def _repair(self, towards: _Towards, primary: Edge, protects: Protection) -> Repair | None:
        if protects is Protection.NODE:
            if primary.number == towards.root:
                return None
            avoid = _VIA_SELF | _VIA_NEIGHBOUR
        else:
            for edge in self._edges:
                if edge.number == primary.number and edge.link != primary.link:
                    return Repair(_hop(edge), (), RepairKind.PARALLEL, protects)
            avoid = _VIA_SELF
        first_hops = [
            edge
            for edge in self._edges
            if edge.number != primary.number and towards.carries(edge.number)
        ]
        loop_free = [edge for edge in first_hops if not towards.via(edge.number) & avoid]
        if loop_free:
            edge = min(loop_free, key=lambda edge: edge.cost + towards.labels[edge.number])
            return Repair(_hop(edge), (), RepairKind.LFA, protects)
        if self._may_separate(primary, protects):
            remaining = self._remaining(primary, protects)
            if towards.root not in remaining:
                towards.read.append(remaining)
                return None
        path = self._post_convergence_path(towards, primary, protects)
        if path is None:
            return None
        return self._remote(towards, first_hops, primary, protects) or self._explicit(
            towards, path, primary, protects
        )

    def _remote(
        self, towards: _Towards, first_hops: list[Edge], primary: Edge, protects: Protection
    ) -> Repair | None:
        """Over the nearest node of extended P-space and Q-space (RFC 7490 s.5; node: RFC 8102).

        Q-space is taken per destination, not per failed link, so no repair is missed.
        """
        avoid = _VIA_SELF if protects is Protection.LINK else _VIA_SELF | _VIA_NEIGHBOUR
        best: tuple[int, str, int] | None = None
        for position, edge in enumerate(first_hops):
            for distance, node in self._space(towards, edge.number, primary, protects).members():
                cost = edge.cost + distance
                if best is not None and cost > best[0]:
                    break
                if towards.carries(node) and not towards.via(node) & avoid:
                    rank = (cost, self._graph.name(node), position)
                    best = rank if best is None else min(best, rank)
        if best is None:
            return None
        hop = _hop(first_hops[best[2]])
        return Repair(hop, (NodeSegment(best[1]),), RepairKind.REMOTE_LFA, protects)

    def _explicit(
        self, towards: _Towards, path: list[_Step], primary: Edge, protects: Protection
    ) -> Repair:
        """The path as the fewest segments (RFC 9855); its first hop needs none.

        A segment leads either to a node whose shortest paths from here are all clear of the
        failure, or over one link of the path.
        """
        nodes = [step.edge.number for step in path]
        segments: list[tuple[Segment, ...] | None] = [(), *[None] * (len(nodes) - 1)]
        reached = [0]
        for here in reached:
            sofar = segments[here]
            assert sofar is not None
            if segments[-1] is not None:
                break
            space = self._space(towards, nodes[here], primary, protects)
            for ahead in range(here + 1, len(nodes)):
                if segments[ahead] is not None:
                    continue
                edge = path[ahead].edge
                if space.holds(nodes[ahead]):
                    segments[ahead] = (*sofar, NodeSegment(edge.neighbour))
                elif ahead == here + 1:
                    name = self._graph.name(nodes[here])
                    segments[ahead] = (*sofar, AdjacencySegment(name, _hop(edge)))
                else:
                    continue
                reached.append(ahead)
        found = segments[-1]
        assert found, "a path without segments is a loop-free alternate"
        return Repair(_hop(path[0].edge), found, RepairKind.EXPLICIT, protects)

    def _post_convergence_path(
        self, towards: _Towards, primary: Edge, protects: Protection
    ) -> list[_Step] | None:
        """The shortest path clear of the failure, up to where shortest paths are clear anyway.

        A* with the distance before the failure as its bound: it explores only nodes that the
        failure concerns. None if the failure separates us from the destination.
        """
        avoid = _VIA_SELF if protects is Protection.LINK else _VIA_SELF | _VIA_NEIGHBOUR
        graph, labels = self._graph, towards.labels
        travelled = {self._number: 0}
        steps: dict[int, _Step] = {}
        queue = [(labels[self._number], "", self._number)]
        exits: list[tuple[int, int, str, int]] = []
        while queue:
            bound, name, node = heappop(queue)
            if exits and bound > exits[0][0]:
                break
            if bound > travelled[node] + labels[node]:
                continue
            if node != self._number and not towards.via(node) & avoid:
                exits.append((bound, travelled[node], name, node))
                continue
            for edge in graph.edges_at(node):
                other = edge.number
                if other == self._number or not towards.carries(other):
                    continue
                if protects is Protection.NODE and other == primary.number:
                    continue
                if node == self._number and edge is primary:
                    continue
                if labels[other] >= UNREACHABLE:
                    continue
                reached = travelled[node] + edge.cost
                known = travelled.get(other)
                if known is None or reached < known:
                    travelled[other] = reached
                    steps[other] = _Step(graph.name(node), edge.link, node, edge)
                    heappush(queue, (reached + labels[other], edge.neighbour, other))
                elif reached == known:
                    steps[other] = min(steps[other], _Step(graph.name(node), edge.link, node, edge))
        towards.read.append(travelled.keys())
        if not exits:
            return None
        path = [steps[min(exits)[3]]]
        while path[-1].node != self._number:
            path.append(steps[path[-1].node])
        path.reverse()
        return path

    def _may_separate(self, primary: Edge, protects: Protection) -> bool:
        """Whether the failure cuts anyone off from us; certain unless nodes are overloaded."""
        if self._graph.overloaded:
            return True
        bridges, cut_nodes = self._graph.cuts
        if protects is Protection.NODE:
            return primary.number in cut_nodes
        return (self._number, primary.number, primary.link) in bridges

    def _remaining(self, primary: Edge, protects: Protection) -> set[int]:
        """Nodes that packets can reach from here once the primary link or its node is gone."""
        gone = primary.number if protects is Protection.NODE else None
        key = (primary.link, gone)
        known = self._remainders.get(key)
        if known is not None:
            return known
        reached = {self._number}
        stack = [self._number]
        while stack:
            node = stack.pop()
            for edge in self._graph.edges_at(node):
                other = edge.number
                if other in reached or other == gone:
                    continue
                if node == self._number and edge is primary:
                    continue
                reached.add(other)
                if other not in self._graph.overloaded:
                    stack.append(other)
        self._remainders[key] = reached
        return reached

    def _space(self, towards: _Towards, root: int, primary: Edge, protects: Protection) -> _Space:
        neighbour = primary.number if protects is Protection.NODE else None
        space = self._spaces.get((root, neighbour))
        if space is None:
            avoid = (self._number,) if neighbour is None else (self._number, neighbour)
            space = self._spaces[root, neighbour] = _Space(self._graph, root, avoid)
        towards.read.append(space.settled)
        return space


class _Step(NamedTuple):
    """An edge of a path and the node it leaves; ordered by names first."""

    name: str
    link: str
    node: int
    edge: Edge


class _Space:
    """P-space of a node (RFC 7490 s.5.2.1): what all its shortest paths reach clear of `avoid`.

    Searched outwards from the node, only as far as it is read.
    """

    def __init__(self, graph: Graph, root: int, avoid: tuple[int, ...]) -> None:
        self._graph = graph
        self._root = root
        self._avoid = avoid
        self._labels = {root: 0}
        self._clear = {root: root not in avoid}
        self._queue = [(0, root)]
        self.settled: set[int] = set()
        self._members: list[tuple[int, int]] = []
        self._open = sum(self._clear.values())

    def members(self) -> Iterator[tuple[int, int]]:
        """(distance, node) by rising distance."""
        position = 0
        while True:
            while position == len(self._members):
                if not self._advance():
                    return
            yield self._members[position]
            position += 1

    def holds(self, node: int) -> bool:
        while node not in self.settled:
            if not self._advance():
                return False
        return self._clear[node]

    def _advance(self) -> bool:
        """Settle one more node; false when no further member can follow."""
        if not self._open:
            return False
        label, node = heappop(self._queue)
        if node in self.settled:
            return True
        self.settled.add(node)
        clear = self._clear[node]
        if clear:
            self._open -= 1
            self._members.append((label, node))
        if node != self._root and node in self._graph.overloaded:
            return True
        for edge in self._graph.edges_at(node):
            other, reached = edge.number, label + edge.cost
            known = self._labels.get(other, UNREACHABLE)
            if reached > known or other in self.settled:
                continue
            was_open = self._clear.get(other, False)
            is_open = clear and other not in self._avoid
            if reached < known:
                self._labels[other] = reached
                heappush(self._queue, (reached, other))
            else:
                is_open = is_open and was_open
            self._clear[other] = is_open
            self._open += is_open - was_open
        return True


class _Towards:
    """What lies on the shortest paths from any node to one destination, before the failure."""

    def __init__(
        self, graph: Graph, labels: list[int], root: int, protector: int, neighbour: int
    ) -> None:
        self._graph = graph
        self.root = root
        self.labels = labels
        self._floor = labels[neighbour]
        self._via = {neighbour: _VIA_NEIGHBOUR, protector: _VIA_SELF | _VIA_NEIGHBOUR}
        self.read: list[Set[int]] = [self._via.keys()]

    def footprint(self) -> tuple[int, ...]:
        """All nodes read so far."""
        return tuple(set().union(*self.read))

    def carries(self, number: int) -> bool:
        """Whether packets for the destination may be sent to this node."""
        return number == self.root or number not in self._graph.overloaded

    def via(self, number: int) -> int:
        """Whether a shortest path of this node meets the protecting node or its next hop.

        Both, if it has no path at all (all its neighbours are overloaded).
        """
        labels, known = self.labels, self._via
        stack = [number]
        while stack:
            node = stack[-1]
            if node in known:
                stack.pop()
                continue
            if labels[node] >= UNREACHABLE:
                known[node] = _VIA_SELF | _VIA_NEIGHBOUR
                continue
            # Labels fall along a path: at or below the next hop's there is nothing left to meet.
            if labels[node] <= self._floor:
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
