"""Generators: the nodes asked for, one piece, the same every time, and clear refusals."""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from x0mesh.scenarios.draws import stream
from x0mesh.scenarios.generators import GENERATORS
from x0mesh.scenarios.topology import Topology

KINDS = [
    "line",
    "ring",
    "star",
    "full-mesh",
    "tree",
    "grid",
    "torus",
    "random-geometric",
    "waxman",
    "gabriel",
    "barabasi-albert",
]


def build(kind: str, seed: int = 1, **parameters: Any) -> Topology:
    return GENERATORS[kind](**parameters).build(stream(seed, "topology", kind))


def edges(topology: Topology) -> set[frozenset[str]]:
    return {frozenset((link.a, link.b)) for link in topology.links.values()}


def test_every_generator_is_registered() -> None:
    assert sorted(KINDS) == sorted(GENERATORS)


@pytest.mark.parametrize("kind", KINDS)
@settings(derandomize=True, max_examples=25, deadline=None)
@given(size=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_gives_exactly_the_nodes_in_one_piece(kind: str, size: int, seed: int) -> None:
    parameters: dict[str, Any] = {"nodes": size}
    if kind == "waxman":
        parameters["beta"] = 0.5
    if kind == "random-geometric":
        parameters["degree"] = 1.5
    try:
        generator = GENERATORS[kind](**parameters)
        topology = generator.build(stream(seed, "topology", kind))
    except ValidationError:
        refused = {"ring": size < 3, "barabasi-albert": size == 2, "random-geometric": size == 2}
        refused["torus"] = all(
            size % rows or size // rows < 3 for rows in range(3, math.isqrt(size) + 1)
        )
        assert refused.get(kind, False)
        return
    assert list(topology.nodes) == [f"n{i}" for i in range(size)]
    assert nx.is_connected(topology.graph())
    assert all(node.position is not None for node in topology.nodes.values())
    assert all(node.role == "leaf" for node in topology.nodes.values())
    assert all(link.a != link.b for link in topology.links.values())
    assert len(edges(topology)) == len(topology.links)
    assert all(link.forward.delay_ns == 1_000_000 for link in topology.links.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_alone_decides(kind: str) -> None:
    size = {"torus": 36}.get(kind, 40)
    same = build(kind, 5, nodes=size), build(kind, 5, nodes=size)
    other = build(kind, 6, nodes=size)
    assert same[0] == same[1]
    is_random = kind in ("random-geometric", "waxman", "gabriel", "barabasi-albert")
    assert (edges(other) != edges(same[0])) == is_random


def test_shapes_by_value() -> None:
    def named(*pairs: tuple[int, int]) -> set[frozenset[str]]:
        return {frozenset((f"n{i}", f"n{j}")) for i, j in pairs}

    assert edges(build("line", nodes=3)) == named((0, 1), (1, 2))
    assert edges(build("ring", nodes=3)) == named((0, 1), (1, 2), (2, 0))
    assert edges(build("star", nodes=4)) == named((0, 1), (0, 2), (0, 3))
    assert edges(build("tree", nodes=6)) == named((0, 1), (0, 2), (1, 3), (1, 4), (2, 5))
    assert edges(build("tree", nodes=5, branching=3)) == named((0, 1), (0, 2), (0, 3), (1, 4))
    assert edges(build("grid", nodes=5)) == named((0, 1), (1, 2), (0, 3), (1, 4), (3, 4))
    assert edges(build("grid", rows=2, columns=2)) == named((0, 1), (0, 2), (1, 3), (2, 3))
    assert len(edges(build("full-mesh", nodes=6))) == 15


def test_torus_gives_everyone_four_neighbours() -> None:
    topology = build("torus", nodes=12)
    assert set(dict(nx.Graph(topology.graph()).degree()).values()) == {4}
    assert edges(build("torus", rows=3, columns=4)) == edges(topology)


def test_random_geometric_links_the_closest_pairs_at_the_mean_degree_asked_for() -> None:
    topology = build("random-geometric", nodes=300, degree=12)
    assert topology.notes == []
    assert len(topology.links) == 1800
    spots = np.array([node.position for node in topology.nodes.values()])
    apart = np.hypot(*(spots[:, None] - spots[None]).T)[np.triu_indices(300, 1)]
    linked = [
        math.dist(topology.nodes[link.a].position or (), topology.nodes[link.b].position or ())
        for link in topology.links.values()
    ]
    assert sorted(linked) == pytest.approx(np.sort(apart)[:1800])


def test_missing_links_are_the_shortest_and_said() -> None:
    topology = build("random-geometric", nodes=60, degree=2)
    (note,) = topology.notes
    added = len(topology.links) - 60
    assert added > 0
    assert f"added the {added} shortest missing ones" in note
    names = list(topology.links)[60:]
    assert all(name in note for name in names[:20])

    # No cheaper choice connects the pieces: a minimum spanning tree over them has this length.
    graph = nx.Graph()
    graph.add_nodes_from(topology.nodes)
    graph.add_edges_from((topology.links[n].a, topology.links[n].b) for n in [*topology.links][:60])
    pieces = [sorted(piece) for piece in nx.connected_components(graph)]
    assert added == len(pieces) - 1

    def apart(a: str, b: str) -> float:
        return math.dist(topology.nodes[a].position or (), topology.nodes[b].position or ())

    between = nx.Graph()
    for i, one in enumerate(pieces):
        for j in range(i):
            shortest = min(apart(a, b) for a in one for b in pieces[j])
            between.add_edge(i, j, weight=shortest)
    least = nx.minimum_spanning_tree(between).size(weight="weight")
    assert sum(apart(topology.links[n].a, topology.links[n].b) for n in names) == pytest.approx(
        least
    )


def test_gabriel_keeps_a_pair_only_when_its_circle_is_empty() -> None:
    topology = build("gabriel", nodes=40)
    spots = {name: node.position or (0.0, 0.0) for name, node in topology.nodes.items()}
    names = list(spots)
    expected = set()
    for i, a in enumerate(names):
        for b in names[:i]:
            middle = tuple((p + q) / 2 for p, q in zip(spots[a], spots[b], strict=True))
            radius = math.dist(spots[a], spots[b]) / 2
            if all(math.dist(spots[c], middle) >= radius for c in names if c not in (a, b)):
                expected.add(frozenset((a, b)))
    assert edges(topology) == expected


def test_waxman_reaches_the_mean_degree_and_prefers_near_pairs() -> None:
    topology = build("waxman", nodes=1000, degree=6)
    drawn = len(topology.links)
    assert 2 * drawn / 1000 == pytest.approx(6, abs=0.5)
    spots = {name: node.position or (0.0, 0.0) for name, node in topology.nodes.items()}
    linked = np.mean([math.dist(spots[k.a], spots[k.b]) for k in topology.links.values()])
    assert linked < 0.35  # two random points of the square are 0.52 apart


def test_barabasi_albert_has_two_links_a_newcomer_and_hubs() -> None:
    topology = build("barabasi-albert", nodes=500, attach=2)
    assert len(topology.links) == 2 + 2 * 497
    degrees = sorted(dict(topology.graph().degree()).values())
    assert degrees[-1] > 10 * degrees[250]


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("line", {"nodes": 0}, "at least one node"),
        ("line", {"nodes": -3}, "at least one node, got -3"),
        ("grid", {"nodes": 100_001}, "at most 100000 nodes"),
        ("line", {"nodes": True}, "whole number"),
        ("line", {"nodes": 2.5}, "whole number"),
        ("line", {}, "nodes"),
        ("line", {"nodes": 3, "degree": 4}, "Extra inputs"),
        ("ring", {"nodes": 2}, "at least 3 nodes"),
        ("torus", {"nodes": 13}, "no rows x columns"),
        ("torus", {"rows": 2, "columns": 9}, "at least 3 rows"),
        ("grid", {"rows": 2}, "go together"),
        ("grid", {}, "needs nodes, or rows and columns"),
        ("grid", {"rows": 2, "columns": 2, "nodes": 5}, "are not 5 nodes"),
        ("grid", {"rows": 1000, "columns": 1000}, "at most 100000 nodes"),
        ("full-mesh", {"nodes": 2000}, "at most 1000000 links"),
        ("random-geometric", {"nodes": 5, "degree": 5}, "mean degree of 5 is impossible"),
        ("random-geometric", {"nodes": 5, "degree": 0}, "greater than 0"),
        ("random-geometric", {"nodes": 100_000, "degree": 100}, "at most 1000000 links"),
        ("waxman", {"nodes": 30_000}, "at most 20000 nodes"),
        ("waxman", {"nodes": 30, "degree": 3, "beta": 0.2}, "not both"),
        ("waxman", {"nodes": 3, "degree": 3}, "impossible"),
        ("barabasi-albert", {"nodes": 3, "attach": 3}, "cannot link to 3 others"),
    ],
)
def test_impossible_parameters_are_refused_with_words(
    kind: str, parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        GENERATORS[kind](**parameters)


def test_waxman_says_what_its_alpha_allows() -> None:
    with pytest.raises(ValueError, match=r"reach a mean degree of .* at most, 5 asked for"):
        build("waxman", nodes=20, degree=5, alpha=0.05)


def test_ten_thousand_nodes() -> None:
    topology = build("random-geometric", nodes=10_000, degree=6)
    assert len(topology.nodes) == 10_000
    assert nx.is_connected(topology.graph())
