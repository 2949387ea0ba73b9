"""V14: as many disjoint paths as Menger allows, and the cheapest pair, traps included."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh.disjoint import Path, disjoint_paths
from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.routes import Protection


def cost_of(graph: Graph, paths: list[Path]) -> int:
    edges = {
        (name, edge.link, edge.neighbour): edge.cost
        for name in graph.nodes
        for edge in graph.edges(name)
    }
    return sum(
        edges[step.node, step.hop.link, step.hop.neighbour] for path in paths for step in path
    )


def assert_disjoint(paths: list[Path], origin: str, destination: str, nodes: bool) -> None:
    links: list[str] = []
    inner: list[str] = []
    for path in paths:
        assert path[0].node == origin
        assert path[-1].hop.neighbour == destination
        for step, following in pairwise(path):
            assert step.hop.neighbour == following.node
        links += [step.hop.link for step in path]
        inner += [step.node for step in path[1:]]
    assert len(set(links)) == len(links)
    if nodes:
        assert len(set(inner)) == len(inner)


def flow_network(graph: Graph, nodes: bool) -> nx.DiGraph:
    """Each node split in two; a node in the middle of each link keeps parallel links apart."""
    network = nx.DiGraph()
    for name in graph.nodes:
        network.add_edge((name, "in"), (name, "out"), weight=0, capacity=1 if nodes else 1000)
        for edge in graph.edges(name):
            middle = (name, edge.link, edge.neighbour)
            network.add_edge((name, "out"), middle, weight=edge.cost, capacity=1)
            network.add_edge(middle, (edge.neighbour, "in"), weight=0, capacity=1)
    return network


@settings(derandomize=True, max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), survives=st.sampled_from(Protection))
def test_v14_paths_equal_the_maximum_flow_and_cost_the_least(
    make_graph: Callable[..., Graph],
    random_links: Callable[..., list],
    seed: int,
    survives: Protection,
) -> None:
    graph = make_graph(GraphStore(), random_links(seed))
    nodes = survives is Protection.NODE
    network = flow_network(graph, nodes)
    origin, destination = graph.nodes[0], graph.nodes[-1]
    source, sink = (origin, "out"), (destination, "in")
    paths = disjoint_paths(graph, origin, destination, survives)
    assert_disjoint(paths, origin, destination, nodes)
    assert len(paths) == nx.maximum_flow_value(network, source, sink)
    assert cost_of(graph, paths) == nx.cost_of_flow(
        network, nx.max_flow_min_cost(network, source, sink)
    )
    pair = disjoint_paths(graph, origin, destination, survives, count=2)
    if len(paths) >= 2:
        network.add_edge("start", source, weight=0, capacity=2)
        cheapest = nx.max_flow_min_cost(network, "start", sink)
        assert cost_of(graph, pair) == nx.cost_of_flow(network, cheapest)
    else:
        assert pair == paths


TRAP = [
    ("s", "a", "sa", 1, 1),
    ("a", "b", "ab", 1, 1),
    ("b", "t", "bt", 1, 1),
    ("s", "b", "sb", 4, 4),
    ("a", "t", "at", 4, 4),
]


@pytest.mark.parametrize("survives", list(Protection))
def test_v14_suurballe_escapes_the_trap(
    make_graph: Callable[..., Graph], survives: Protection
) -> None:
    """The shortest path s-a-b-t leaves no second one; the cheapest pair does without it."""
    graph = make_graph(GraphStore(), TRAP)
    greedy = nx.Graph((one, two) for one, two, link, *_ in TRAP if link not in ("sa", "ab", "bt"))
    assert not nx.has_path(greedy, "s", "t")
    pair = disjoint_paths(graph, "s", "t", survives, count=2)
    assert [[step.hop.link for step in path] for path in pair] == [["sa", "at"], ["sb", "bt"]]
    assert cost_of(graph, pair) == 10


def test_one_path_is_the_shortest(make_graph: Callable[..., Graph]) -> None:
    store = GraphStore()
    graph = make_graph(store, TRAP)
    (path,) = disjoint_paths(graph, "s", "t", count=1)
    assert cost_of(graph, [path]) == store.distances_from(graph, "s")["t"]


def test_overloaded_nodes_carry_no_path(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(GraphStore(), TRAP, overloaded=["a", "s"])
    assert [[step.node for step in path] for path in disjoint_paths(graph, "s", "t")] == [
        ["s", "b"]
    ]


def test_an_unknown_end_has_no_path(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(GraphStore(), TRAP)
    assert disjoint_paths(graph, "s", "nowhere") == []
