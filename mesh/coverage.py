"""How much of what a topology can protect is protected, and by which kind of repair.

Two denominators, never mixed: link protection counts (node, destination) pairs whose primary link
is no bridge; node protection those whose next hop neither is the destination nor separates it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from x0mesh.mesh.alternates import RouteFinder
from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.routes import NextHop, Protection, RepairKind


@dataclass(frozen=True, slots=True)
class ProtectedPairs:
    """Protected (node, destination) pairs by the cheapest kind that protects them."""

    protectable: int
    by_kind: Mapping[RepairKind, int]

    def ratio(self, up_to: RepairKind = RepairKind.EXPLICIT) -> float | None:
        """Share of the protectable pairs when only kinds up to this one are used; None of none."""
        if not self.protectable:
            return None
        kinds = list(RepairKind)
        used = kinds[: kinds.index(up_to) + 1]
        return sum(self.by_kind[kind] for kind in used) / self.protectable


@dataclass(frozen=True, slots=True)
class Coverage:
    """`pairs` counts all (node, destination) with a route."""

    pairs: int
    link: ProtectedPairs
    node: ProtectedPairs


def coverage(graph: Graph, store: GraphStore) -> Coverage:
    """Coverage over all pairs of `graph`, each failure on its own."""
    pairs = 0
    protectable = dict.fromkeys(Protection, 0)
    by_kind = {protects: dict.fromkeys(RepairKind, 0) for protects in Protection}
    for name in graph.nodes:
        finder = RouteFinder(store, graph, name)
        remaining: dict[tuple[Protection, NextHop], frozenset[str]] = {}
        for destination in graph.nodes:
            route = finder.route(destination, with_repair=False)
            if route is None:
                continue
            pairs += 1
            for protects in Protection:
                failure = (protects, route.primary)
                if failure not in remaining:
                    remaining[failure] = _reachable(graph, name, *failure)
                if destination not in remaining[failure]:
                    continue
                protectable[protects] += 1
                repair = finder.cheapest_repair(destination, protects)
                if repair is not None:
                    by_kind[protects][repair.kind] += 1
    link, node = (ProtectedPairs(protectable[p], by_kind[p]) for p in Protection)
    return Coverage(pairs, link, node)


def _reachable(graph: Graph, origin: str, protects: Protection, lost: NextHop) -> frozenset[str]:
    """Nodes that `origin` can still reach without its next hop's link, or that whole node."""
    seen = {origin}
    queue = [origin]
    for node in queue:
        if node != origin and graph.is_overloaded(node):
            continue
        for edge in graph.edges(node):
            if protects is Protection.NODE and edge.neighbour == lost.neighbour:
                continue
            if {node, edge.neighbour} == {origin, lost.neighbour} and edge.link == lost.link:
                continue
            if edge.neighbour not in seen:
                seen.add(edge.neighbour)
                queue.append(edge.neighbour)
    return frozenset(seen)
