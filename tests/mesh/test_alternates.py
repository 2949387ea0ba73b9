"""Every repair avoids its failure and delivers, and nothing protectable is missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh.alternates import RouteFinder
from x0mesh.mesh.coverage import coverage
from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.routes import (
    AdjacencySegment,
    NextHop,
    NodeSegment,
    Protection,
    RepairKind,
    Route,
    Segment,
)

Failure = tuple[str, str]
"""("link", name) or ("node", name)."""


@dataclass
class Forwarding:
    """Packets walk hop by hop through all nodes' tables, computed before the failure."""

    store: GraphStore
    graph: Graph
    routes: dict[str, dict[str, Route]]
    failure: Failure

    def delivers(self, origin: str, destination: str) -> bool:
        node, steps = origin, 0
        while node != destination:
            route = self.routes[node][destination]
            if self.alive(node, route.primary):
                node = route.primary.neighbour
            elif route.repair is None or not self.alive(node, route.repair.hop):
                return False
            else:
                return self.repaired(route.repair.hop.neighbour, destination, route.repair.segments)
            steps += 1
            assert steps <= len(self.graph.nodes), "loop before the repair"
        return True

    def repaired(self, node: str, destination: str, segments: tuple[Segment, ...]) -> bool:
        """Marked packets: over every equal-cost choice the nodes could make, none may be lost."""
        seen: set[tuple[str, int]] = set()

        def follow(node: str, done: int) -> bool:
            while done < len(segments):
                segment = segments[done]
                if isinstance(segment, NodeSegment) and segment.node == node:
                    done += 1
                elif isinstance(segment, AdjacencySegment):
                    assert segment.node == node, "adjacency segment away from its node"
                    if not self.alive(node, segment.hop):
                        return False
                    node, done = segment.hop.neighbour, done + 1
                else:
                    break
            if node == destination and done == len(segments):
                return True
            if (node, done) in seen:
                return True
            seen.add((node, done))
            target = destination
            if done < len(segments):
                segment = segments[done]
                assert isinstance(segment, NodeSegment)
                target = segment.node
            return all(
                self.alive(node, hop) and follow(hop.neighbour, done)
                for hop in self.equal_cost_hops(node, target)
            )

        return follow(node, 0)

    def equal_cost_hops(self, node: str, target: str) -> list[NextHop]:
        distances = self.store.distances_to(self.graph, target)
        hops = [
            NextHop(edge.link, edge.neighbour)
            for edge in self.graph.edges(node)
            if (edge.neighbour == target or not self.graph.is_overloaded(edge.neighbour))
            and edge.cost + distances[edge.neighbour] == distances[node]
        ]
        assert hops, f"{node} cannot reach {target}"
        return hops

    def alive(self, node: str, hop: NextHop) -> bool:
        kind, name = self.failure
        return hop.link != name if kind == "link" else name not in (node, hop.neighbour)


def tables(store: GraphStore, graph: Graph) -> dict[str, dict[str, Route]]:
    found: dict[str, dict[str, Route]] = {}
    for name in graph.nodes:
        finder = RouteFinder(store, graph, name)
        routes = [finder.route(other) for other in graph.nodes]
        found[name] = {route.destination: route for route in routes if route is not None}
    return found


def reachable(graph: Graph, failure: Failure, origin: str, shy: Iterable[str]) -> set[str]:
    """Oracle: what the surviving topology still connects, not crossing overloaded nodes."""
    kind, lost = failure
    survivors = nx.MultiGraph()
    survivors.add_nodes_from(n for n in graph.nodes if (kind, n) != failure)
    for node in graph.nodes:
        for edge in graph.edges(node):
            if (kind, edge.link) != failure and (kind != "node" or lost not in (node, edge[0])):
                survivors.add_edge(node, edge.neighbour)
    found: set[str] = set()
    for destination in set(survivors) - {origin}:
        crossable = survivors.subgraph(set(survivors) - (set(shy) - {origin, destination}))
        if nx.has_path(crossable, origin, destination):
            found.add(destination)
    return found


@settings(derandomize=True, max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), shy=st.sampled_from([0, 0, 0, 1, 2]))
def test_no_single_failure_loses_a_pair_the_topology_still_connects(
    make_graph: Callable[..., Graph], random_links: Callable[..., list], seed: int, shy: int
) -> None:
    store = GraphStore()
    links = random_links(seed)
    overloaded = sorted({links[0][0], links[-1][1]})[:shy]
    graph = make_graph(store, links, overloaded)
    routes = tables(store, graph)
    failures = [("link", link[2]) for link in links] + [("node", name) for name in graph.nodes]
    for failure in failures:
        forwarding = Forwarding(store, graph, routes, failure)
        for origin in graph.nodes:
            if failure == ("node", origin):
                continue
            for destination in reachable(graph, failure, origin, overloaded):
                # With overloaded nodes the repairing node may be cut off where we are not.
                primary = routes[origin][destination].primary
                if overloaded and forwarding.alive(origin, primary):
                    continue
                assert forwarding.delivers(origin, destination), (failure, origin, destination)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_explicit_paths_protect_everything_protectable(
    make_graph: Callable[..., Graph], random_links: Callable[..., list], seed: int
) -> None:
    store = GraphStore()
    found = coverage(make_graph(store, random_links(seed)), store)
    assert sum(found.link.by_kind.values()) == found.link.protectable
    assert sum(found.node.by_kind.values()) == found.node.protectable


@settings(derandomize=True, max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_sharing_a_memo_changes_no_route(
    make_graph: Callable[..., Graph], random_links: Callable[..., list], seed: int
) -> None:
    links = random_links(seed)
    shared = GraphStore()
    # Names met in another order are numbered otherwise, which must not show.
    make_graph(shared, [("zz", "n3", "x", 1, 1), ("n9", "n1", "y", 1, 1)])
    together = tables(shared, make_graph(shared, links))
    for name, routes in together.items():
        private = GraphStore(max_graphs=1, max_labels=1)
        graph = make_graph(private, reversed(links))
        assert tables(private, graph)[name] == routes


def repair_of(graph: Graph, store: GraphStore, name: str, destination: str) -> Route:
    route = RouteFinder(store, graph, name).route(destination)
    assert route is not None
    return route


def test_primary_ties_fall_by_neighbour_then_link(make_graph: Callable[..., Graph]) -> None:
    store = GraphStore()
    graph = make_graph(
        store,
        [
            ("s", "b", "l1", 1, 1),
            ("s", "a", "l3", 1, 1),
            ("s", "a", "l2", 1, 1),
            ("a", "d", "l4", 1, 1),
            ("b", "d", "l0", 1, 1),
        ],
    )
    assert repair_of(graph, store, "s", "d").primary == NextHop("l2", "a")


def test_a_parallel_link_protects_where_the_neighbour_is_the_destination(
    make_graph: Callable[..., Graph],
) -> None:
    store = GraphStore()
    links = [("s", "d", "l1", 1, 1), ("s", "d", "l2", 5, 5), ("s", "x", "l3", 1, 1)]
    graph = make_graph(store, [*links, ("x", "d", "l4", 1, 1)])
    repair = repair_of(graph, store, "s", "d").repair
    assert repair is not None
    assert (repair.kind, repair.hop.link) == (RepairKind.PARALLEL, "l2")


def test_a_node_protecting_repair_beats_a_cheaper_kind_that_only_protects_the_link(
    make_graph: Callable[..., Graph],
) -> None:
    store = GraphStore()
    graph = make_graph(
        store,
        [
            ("s", "e", "primary", 1, 1),
            ("s", "e", "twin", 1, 1),
            ("e", "d", "ed", 1, 1),
            ("s", "n", "sn", 1, 1),
            ("n", "e", "ne", 1, 1),
            ("n", "q", "nq", 9, 9),
            ("q", "d", "qd", 9, 9),
        ],
    )
    repair = repair_of(graph, store, "s", "d").repair
    assert repair is not None
    assert repair.protects is Protection.NODE
    assert repair.kind is RepairKind.REMOTE_LFA
    assert repair.segments == (NodeSegment("q"),)
    cheapest = RouteFinder(store, graph, "s").cheapest_repair("d", Protection.LINK)
    assert cheapest is not None
    assert cheapest.kind is RepairKind.PARALLEL


def test_a_ring_of_equal_costs_needs_a_remote_alternate(make_graph: Callable[..., Graph]) -> None:
    store = GraphStore()
    ring = [(f"n{i}", f"n{(i + 1) % 6}", f"l{i}", 1, 1) for i in range(6)]
    repair = repair_of(make_graph(store, ring), store, "n0", "n1").repair
    assert repair is not None
    assert repair.kind is RepairKind.REMOTE_LFA
    assert repair.hop == NextHop("l5", "n5")
    assert repair.segments == (NodeSegment("n3"),)


def test_a_heavy_link_is_crossed_by_an_adjacency_segment(
    make_graph: Callable[..., Graph],
) -> None:
    store = GraphStore()
    ring = [(f"n{i}", f"n{(i + 1) % 6}", f"l{i}", 1, 1) for i in range(6) if i != 3]
    graph = make_graph(store, [*ring, ("n3", "n4", "l3", 100, 100)])
    repair = repair_of(graph, store, "n0", "n1").repair
    assert repair is not None
    assert repair.kind is RepairKind.EXPLICIT
    assert repair.hop == NextHop("l5", "n5")
    assert repair.segments == (
        NodeSegment("n4"),
        AdjacencySegment("n4", NextHop("l3", "n3")),
    )


def test_a_bridge_has_no_repair(make_graph: Callable[..., Graph]) -> None:
    store = GraphStore()
    graph = make_graph(store, [("a", "b", "ab", 1, 1), ("b", "c", "bc", 1, 1)])
    assert repair_of(graph, store, "a", "c").repair is None


def test_unknown_and_cut_off_destinations_have_no_route(make_graph: Callable[..., Graph]) -> None:
    store = GraphStore()
    graph = make_graph(store, [("a", "b", "ab", 1, 1), ("c", "d", "cd", 1, 1)])
    finder = RouteFinder(store, graph, "a")
    assert finder.route("c") is None
    assert finder.route("nowhere") is None
    assert finder.route("a") is None
    with pytest.raises(AssertionError):
        RouteFinder(store, graph, "nowhere")


@settings(derandomize=True, max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_lfas_satisfy_the_inequalities_of_rfc_5286(
    make_graph: Callable[..., Graph], random_links: Callable[..., list], seed: int
) -> None:
    store = GraphStore()
    graph = make_graph(store, random_links(seed))
    far = {name: store.distances_from(graph, name) for name in graph.nodes}
    for s in graph.nodes:
        finder = RouteFinder(store, graph, s)
        for d in graph.nodes:
            route = finder.route(d)
            if route is None:
                continue
            e = route.primary.neighbour
            others = {edge.neighbour for edge in graph.edges(s)} - {e}
            loop_free = {n for n in others if far[n][d] < far[n][s] + far[s][d]}
            protecting = {n for n in loop_free if far[n][d] < far[n][e] + far[e][d]}
            for protects, expected in ((Protection.LINK, loop_free), (Protection.NODE, protecting)):
                repair = finder.cheapest_repair(d, protects)
                if repair is None or repair.kind is not RepairKind.LFA:
                    assert not expected or (repair and repair.kind is RepairKind.PARALLEL) or e == d
                else:
                    assert repair.hop.neighbour in expected
