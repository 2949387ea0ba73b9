"""Shortest path first over an adjacency list: from scratch, or by relabelling what changed.

Distances are exact integers, so a label never depends on the order in which nodes were numbered
or visited. A vector holds one label per node index, either towards the root or away from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

UNREACHABLE: Final = 1 << 62


class Edge(NamedTuple):
    """One usable link as a node sees it: the far end, our cost to it, its cost back to us."""

    neighbour: str
    link: str
    number: int
    cost: int
    cost_back: int


Edges = tuple[Edge, ...]


def full(adjacency: list[Edges], overloaded: Set[int], root: int, towards: bool) -> list[int]:
    """Dijkstra's distances of all nodes towards `root`, or from it.

    An overloaded node (RFC 6987) starts and ends paths but carries none.
    """
    size = len(adjacency)
    labels = [UNREACHABLE] * size
    labels[root] = 0
    heap = [root]
    while heap:
        # One integer orders faster than a pair; ties fall by index, which no distance depends on.
        label, node = divmod(heappop(heap), size)
        if label > labels[node] or (node in overloaded and node != root):
            continue
        if towards:
            for _, _, other, _, cost in adjacency[node]:
                reached = label + cost
                if reached < labels[other]:
                    labels[other] = reached
                    heappush(heap, reached * size + other)
        else:
            for _, _, other, cost, _ in adjacency[node]:
                reached = label + cost
                if reached < labels[other]:
                    labels[other] = reached
                    heappush(heap, reached * size + other)
    return labels


def update(
    labels: list[int],
    edges: Callable[[int], Edges],
    overloaded: Set[int],
    root: int,
    towards: bool,
    changed: Iterable[int],
) -> int:
    """Bring `labels` of an older graph up to date in place; returns how many labels moved.

    `changed` lists every node whose edges differ, or that has a neighbour whose overload differs.
    Two phases (after Ramalingam and Reps, 1996): labels that lost their support are withdrawn in
    order of distance, then withdrawn and improved nodes are settled as Dijkstra would.
    """

    def terms(node: int) -> list[tuple[int, int, int]]:
        """(other, cost of our path over it, cost of its path over us)."""
        if towards:
            return [(other, cost, back) for _, _, other, cost, back in edges(node)]
        return [(other, back, cost) for _, _, other, cost, back in edges(node)]

    def carries(node: int) -> bool:
        return node == root or node not in overloaded

    candidates = [node for node in changed if node != root]
    withdrawn: dict[int, int] = {}
    queue = [(labels[node], node) for node in candidates if labels[node] < UNREACHABLE]
    heapify(queue)
    while queue:
        label, node = heappop(queue)
        if node in withdrawn:
            continue
        around = terms(node)
        if any(
            labels[other] + cost <= label and other not in withdrawn and carries(other)
            for other, cost, _ in around
        ):
            continue
        withdrawn[node] = label
        if carries(node):
            for other, _, cost in around:
                if labels[other] == label + cost and other != root and other not in withdrawn:
                    heappush(queue, (labels[other], other))

    before = dict(withdrawn)
    for node in withdrawn:
        labels[node] = UNREACHABLE
    queue = []
    for node in [*withdrawn, *candidates]:
        best = min(
            (labels[other] + cost for other, cost, _ in terms(node) if carries(other)),
            default=UNREACHABLE,
        )
        if best < labels[node]:
            before.setdefault(node, labels[node])
            labels[node] = best
            queue.append((best, node))
    heapify(queue)
    while queue:
        label, node = heappop(queue)
        if label > labels[node] or not carries(node):
            continue
        for other, _, cost in terms(node):
            if label + cost < labels[other]:
                before.setdefault(other, labels[other])
                labels[other] = label + cost
                heappush(queue, (label + cost, other))
    return sum(labels[node] != label for node, label in before.items())
