"""Graphs are values, edges need both ends, and relabelling equals computing from scratch."""

from __future__ import annotations

import random
from collections.abc import Callable

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.messages import Neighbour

SQUARE = [
    ("a", "b", "ab", 1, 2),
    ("b", "c", "bc", 1, 2),
    ("c", "d", "cd", 1, 2),
    ("d", "a", "da", 1, 2),
]


def as_networkx(graph: Graph, towards: str | None = None) -> nx.DiGraph:
    """The usable edges; with `towards`, only what may lead there past overloaded nodes."""
    copy = nx.DiGraph()
    copy.add_nodes_from(graph.nodes)
    for node in graph.nodes:
        for edge in graph.edges(node):
            if towards not in (None, edge.neighbour) and graph.is_overloaded(edge.neighbour):
                continue
            known = copy.get_edge_data(node, edge.neighbour, {"weight": edge.cost})["weight"]
            copy.add_edge(node, edge.neighbour, weight=min(known, edge.cost))
    return copy


def test_a_graph_is_its_content_whatever_the_order(make_graph: Callable[..., Graph]) -> None:
    store, other = GraphStore(), GraphStore()
    forward = make_graph(store, SQUARE, overloaded=["c"])
    backward = make_graph(store, reversed(SQUARE), overloaded=["c"])
    assert forward is backward
    assert make_graph(other, reversed(SQUARE), overloaded=["c"]).key == forward.key
    assert make_graph(store, SQUARE).key != forward.key


def test_removing_every_advertisement_leaves_the_empty_graph(
    make_graph: Callable[..., Graph],
) -> None:
    store = GraphStore()
    graph = make_graph(store, SQUARE)
    assert graph.nodes == ("a", "b", "c", "d")
    for name in "dbca":
        graph = store.apply(graph, name, None)
    assert graph == store.empty()
    assert graph.nodes == ()


def test_an_edge_needs_both_ends_on_the_same_link() -> None:
    store = GraphStore()
    one_sided = store.apply(store.empty(), "a", (Neighbour("b", "l1", 5),))
    assert one_sided.edges("a") == ()
    other_link = store.apply(one_sided, "b", (Neighbour("a", "l2", 7),))
    assert other_link.edges("a") == other_link.edges("b") == ()
    agreed = store.apply(other_link, "b", (Neighbour("a", "l1", 7),))
    assert [(e.neighbour, e.link, e.cost, e.cost_back) for e in agreed.edges("a")] == [
        ("b", "l1", 5, 7)
    ]
    assert store.distances_from(agreed, "a")["b"] == 5
    assert store.distances_to(agreed, "a")["b"] == 7
    withdrawn = store.apply(agreed, "b", ())
    assert withdrawn.edges("a") == ()
    assert "b" not in store.distances_from(withdrawn, "a")


def test_a_reverse_metric_counts_in_the_neighbours_direction() -> None:
    store = GraphStore()
    graph = store.apply(store.empty(), "a", (Neighbour("b", "ab", 10, reverse_metric=30),))
    graph = store.apply(graph, "b", (Neighbour("a", "ab", 20),))
    assert store.distances_from(graph, "a")["b"] == 10
    assert store.distances_from(graph, "b")["a"] == 50
    assert graph.advertisement("a") == (Neighbour("b", "ab", 10, 30),)


def test_entries_that_make_no_sense_are_never_usable() -> None:
    store = GraphStore()
    graph = store.apply(store.empty(), "a", (Neighbour("a", "l0", 1), Neighbour("b", "l1", 0)))
    graph = store.apply(graph, "b", (Neighbour("a", "l1", 1),))
    assert graph.edges("a") == graph.edges("b") == ()


def test_the_cheapest_of_duplicate_entries_counts() -> None:
    store = GraphStore()
    graph = store.apply(store.empty(), "a", (Neighbour("b", "l", 9), Neighbour("b", "l", 4)))
    graph = store.apply(graph, "b", (Neighbour("a", "l", 1),))
    assert store.distances_from(graph, "a")["b"] == 4


def test_overloaded_nodes_are_reached_but_not_crossed(make_graph: Callable[..., Graph]) -> None:
    store = GraphStore()
    graph = make_graph(store, SQUARE, overloaded=["b"])
    assert dict(store.distances_from(graph, "a")) == {"a": 0, "b": 1, "d": 2, "c": 4}
    assert dict(store.distances_to(graph, "b")) == {"a": 1, "b": 0, "c": 2, "d": 2}
    assert store.distances_from(graph, "b")["c"] == 1


def mutate(source: random.Random, store: GraphStore, graph: Graph) -> Graph:
    """One random advertisement: costs up and down, links lost and gained, nodes gone or shy."""
    names = [f"n{i:02}" for i in range(source.choice([8, 14, 80]))]
    origin = source.choice(names)
    if source.random() < 0.1:
        return store.apply(graph, origin, None)
    known = list(graph.advertisement(origin) or ())
    kept = [n for n in known if source.random() < 0.8]
    kept = [Neighbour(n.node, n.link, source.randint(1, 4)) for n in kept]
    for _ in range(source.randint(0, 4)):
        other = source.choice(names)
        pair = "-".join(sorted([origin, other]))
        kept.append(Neighbour(other, f"{pair}/{source.randint(0, 1)}", source.randint(1, 4)))
    return store.apply(graph, origin, tuple(kept), source.random() < 0.1)


def answers(graph: Graph, labels: list[int]) -> list[int]:
    return [labels[number] for name in graph.nodes if (number := graph.number(name)) is not None]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_relabelling_equals_computing_from_scratch(seed: int) -> None:
    source = random.Random(seed)
    store = GraphStore()
    graph = store.empty()
    for step in range(120):
        graph = mutate(source, store, graph)
        if step % 3 or not graph.nodes:
            continue
        root = source.choice(graph.nodes)
        fresh = GraphStore()
        copy = fresh.apply_all(
            fresh.empty(),
            [(n, graph.advertisement(n), graph.is_overloaded(n)) for n in reversed(graph.nodes)],
        )
        assert copy.key == graph.key
        for towards in (True, False):
            relabelled = answers(graph, store.labels(graph, root, towards))
            assert relabelled == answers(copy, fresh.labels(copy, root, towards))
        oracle = nx.single_source_dijkstra_path_length(as_networkx(graph, root).reverse(), root)
        assert dict(store.distances_to(graph, root)) == oracle


def test_distances_agree_with_scipy(make_graph: Callable[..., Graph]) -> None:
    source = random.Random(7)
    store = GraphStore()
    names = [f"n{i}" for i in range(300)]
    links = [
        (one, two, f"{one}-{two}", source.randint(1, 50), source.randint(1, 50))
        for i, one in enumerate(names)
        for two in source.sample(names[i + 1 :], min(4, 299 - i))
    ]
    graph = make_graph(store, links)
    number = {name: i for i, name in enumerate(graph.nodes)}
    matrix = [[0] * len(number) for _ in number]
    for node in graph.nodes:
        for edge in graph.edges(node):
            matrix[number[node]][number[edge.neighbour]] = edge.cost
    expected = dijkstra(csr_matrix(matrix), indices=number["n3"])
    found = store.distances_from(graph, "n3")
    assert [found[name] for name in graph.nodes] == list(expected)


def test_a_tiny_memo_gives_the_same_answers(make_graph: Callable[..., Graph]) -> None:
    tiny, roomy = GraphStore(max_graphs=1, max_labels=1), GraphStore()
    source, twin = random.Random(3), random.Random(3)
    one, two = tiny.empty(), roomy.empty()
    for _ in range(60):
        one, two = mutate(source, tiny, one), mutate(twin, roomy, two)
        assert one.key == two.key
        for root in one.nodes[:5]:
            assert dict(tiny.distances_to(one, root)) == dict(roomy.distances_to(two, root))


@given(seed=st.integers(0, 10_000))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_reach_counts_what_distances_find(
    seed: int,
    make_graph: Callable[..., Graph],
    random_links: Callable[[int], list[tuple[str, str, str, int, int]]],
) -> None:
    source = random.Random(seed)
    links = [link for link in random_links(seed) if source.random() < 0.8]
    names = sorted({name for link in links for name in link[:2]})
    store = GraphStore()
    graph = make_graph(store, links, [name for name in names if source.random() < 0.3])
    for name in (*names, "nobody"):
        others = [other for other in store.distances_from(graph, name) if other != name]
        assert graph.reach(name) == len(others), name


@given(seed=st.integers(0, 10_000))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_cuts_are_the_bridges_and_the_cut_vertices(
    seed: int,
    make_graph: Callable[..., Graph],
    random_links: Callable[[int], list[tuple[str, str, str, int, int]]],
) -> None:
    source = random.Random(seed)
    links = [link for link in random_links(seed) if source.random() < 0.8]
    graph = make_graph(GraphStore(), links)
    simple: nx.Graph[str] = nx.Graph((one, two) for one, two, *_ in links)
    ends = [frozenset(link[:2]) for link in links]
    bridges, cut_nodes = graph.cuts
    assert {graph.name(number) for number in cut_nodes} == set(nx.articulation_points(simple))
    assert {frozenset((graph.name(one), graph.name(two))) for one, two, _ in bridges} == {
        frozenset(pair) for pair in nx.bridges(simple) if ends.count(frozenset(pair)) == 1
    }
    assert {link for _, _, link in bridges} <= {link for _, _, link, _, _ in links}
