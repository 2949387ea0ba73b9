"""Selectors by value on small graphs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from x0mesh.scenarios import graph_properties
from x0mesh.scenarios.draws import stream
from x0mesh.scenarios.generators import GENERATORS
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import LinkPlan, NodePlan
from x0mesh.scenarios.selectors import (
    GroupSelector,
    LinkSelector,
    NodeSelector,
    SelectorError,
    resolve_groups,
    resolve_links,
    resolve_nodes,
)
from x0mesh.scenarios.topology import Topology

NODES: TypeAdapter[Any] = TypeAdapter(NodeSelector)
LINKS: TypeAdapter[Any] = TypeAdapter(LinkSelector)
GROUP: TypeAdapter[Any] = TypeAdapter(GroupSelector)


def draw(seed: int = 1) -> np.random.Generator:
    return stream(seed, "selector under test", "pick")


def made(links: list[tuple[str, str]], **regions: str) -> Topology:
    """Nodes in order of appearance, links named `a--b`, parallel ones `a--b.2`."""
    topology = Topology()
    plain = Impairment(delay_ns=1_000_000)
    for a, b in links:
        for name in (a, b):
            role = "gateway" if name.startswith("g") else "leaf"
            label = (("rack", f"r{len(topology.nodes) % 2}"),)
            node = NodePlan(name, region=regions.get(name, ""), role=role, labels=label)
            topology.nodes.setdefault(name, node)
        name = f"{a}--{b}" if f"{a}--{b}" not in topology.links else f"{a}--{b}.2"
        topology.links[name] = LinkPlan(name, a, b, plain, plain)
    return topology


@pytest.fixture
def barbell() -> Topology:
    """Triangles a b c and e f g1 joined through d; a tail h on f, doubled."""
    return made(
        [
            ("a", "b"),
            ("b", "c"),
            ("c", "a"),
            ("c", "d"),
            ("d", "e"),
            ("e", "f"),
            ("f", "g1"),
            ("g1", "e"),
            ("f", "h"),
            ("f", "h"),
        ],
        a="eu",
        b="eu",
        c="eu",
        d="us",
        e="us",
        f="ap",
        g1="ap",
        h="ap",
    )


def nodes(topology: Topology, selector: Any, seed: int = 1, **more: Any) -> list[str]:
    return list(resolve_nodes(NODES.validate_python(selector), topology, draw(seed), **more))


def links(topology: Topology, selector: Any, seed: int = 1, **more: Any) -> list[str]:
    return list(resolve_links(LINKS.validate_python(selector), topology, draw(seed), **more))


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("d", ["d"]),
        ("*", ["a", "b", "c", "d", "e", "f", "g1", "h"]),
        (["f", "a", "f"], ["f", "a"]),
        (["h", {"region": "us"}], ["h", "d", "e"]),
        ({"name": "[ab]"}, ["a", "b"]),
        ({"region": "us"}, ["d", "e"]),
        ({"role": "gateway"}, ["g1"]),
        ({"label": {"rack": "r1"}}, ["b", "d", "f", "h"]),
        ({"label": {"rack": "r?"}, "region": "us"}, ["d", "e"]),
        ({"region": "ap", "role": "leaf"}, ["f", "h"]),
        ({"region": "eu", "not": ["b"]}, ["a", "c"]),
        ({"not": [{"region": "eu"}, {"role": "gateway"}]}, ["d", "e", "f", "h"]),
        ({"region": "eu", "not": [{"role": "gateway"}]}, ["a", "b", "c"]),
        ({"graph": "cut-vertex"}, ["c", "d", "e", "f"]),
        ({"graph": "bridge"}, ["c", "d", "e"]),
        ({"graph": "leaf"}, ["h"]),
        ({"graph": "highest-degree"}, ["f"]),
        ({"graph": "highest-degree", "pick": 3}, ["f", "c", "e"]),
        ({"graph": "lowest-degree", "pick": 2}, ["a", "b"]),
        ({"graph": "highest-betweenness", "pick": 3}, ["d", "e", "c"]),
        ({"graph": "highest-betweenness", "not": ["d"]}, ["e"]),
        ({"graph": "highest-betweenness", "region": "ap"}, ["f"]),
        ({"graph": "farthest"}, ["a", "h"]),
        ({"graph": "farthest", "pick": 1}, ["a"]),
        ({"graph": "highest-degree", "pick": "all", "region": "us"}, ["e", "d"]),
        ({"pick": "all", "region": "us"}, ["d", "e"]),
        ({"pick": "100%", "region": "us"}, ["d", "e"]),
    ],
)
def test_nodes_by_value(barbell: Topology, selector: Any, expected: list[str]) -> None:
    assert nodes(barbell, selector) == expected


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("c--d", ["c--d"]),
        (["f--h.2", "a--b"], ["f--h.2", "a--b"]),
        ({"name": "c--*"}, ["c--a", "c--d"]),
        ({"between": "*", "region": "eu"}, ["a--b", "b--c", "c--a"]),
        ({"between": ["d", "c"]}, ["c--d"]),
        ({"between": ["f", "h"]}, ["f--h", "f--h.2"]),
        ({"between": [{"region": "us"}, {"region": "ap"}]}, ["e--f", "g1--e"]),
        ({"between": [{"region": "ap"}, {"region": "us"}], "not": ["g1--e"]}, ["e--f"]),
        ({"graph": "bridge"}, ["c--d", "d--e"]),
        ({"graph": "not-bridge", "name": "f--*"}, ["f--g1", "f--h", "f--h.2"]),
        ({"graph": "highest-betweenness"}, ["d--e"]),
        ({"graph": "highest-betweenness", "pick": 2}, ["d--e", "c--d"]),
    ],
)
def test_links_by_value(barbell: Topology, selector: Any, expected: list[str]) -> None:
    assert links(barbell, selector) == expected


def test_every_link(barbell: Topology) -> None:
    assert links(barbell, "*") == links(barbell, {"between": "*"}) == list(barbell.links)


def test_groups_and_the_rest(barbell: Topology) -> None:
    chosen = [GROUP.validate_python(one) for one in ({"region": "ap"}, "rest")]
    assert resolve_groups(chosen, barbell, draw()) == (
        ("f", "g1", "h"),
        ("a", "b", "c", "d", "e"),
    )
    # A protected node is not picked, but it stands on one side of a partition nevertheless.
    assert resolve_groups(chosen, barbell, draw(), never=["a", "h"]) == (
        ("f", "g1"),
        ("a", "b", "c", "d", "e", "h"),
    )


def test_groups_that_make_no_sense(barbell: Topology) -> None:
    with pytest.raises(SelectorError, match="can stand once"):
        resolve_groups(["rest", "rest"], barbell, draw())
    with pytest.raises(SelectorError, match="hold every node"):
        resolve_groups(["*", "rest"], barbell, draw())
    with pytest.raises(SelectorError, match="among groups only"):
        nodes(barbell, "rest")


def test_bindings(barbell: Topology) -> None:
    assert nodes(barbell, "@traitor", bindings={"traitor": ("b", "h")}) == ["b", "h"]
    assert links(barbell, "@cut", bindings={"cut": ("c--d",)}) == ["c--d"]
    assert nodes(barbell, ["@traitor", "a"], bindings={"traitor": ("b",)}) == ["b", "a"]
    with pytest.raises(
        SelectorError, match="nothing is bound as '@traitr'; did you mean 'traitor'"
    ):
        nodes(barbell, "@traitr", bindings={"traitor": ("b",)})
    with pytest.raises(SelectorError, match="'c--d', which is no node"):
        nodes(barbell, "@cut", bindings={"cut": ("c--d",)})


def test_protected_nodes_are_chosen_only_when_named_outright(barbell: Topology) -> None:
    never = ["e", "h"]
    assert nodes(barbell, "*", never=never) == ["a", "b", "c", "d", "f", "g1"]
    assert nodes(barbell, {"graph": "highest-betweenness"}, never=["d", "e"]) == ["c"]
    assert nodes(barbell, "e", never=never) == ["e"]
    assert nodes(barbell, {"name": "e"}, never=never) == ["e"]
    assert nodes(barbell, ["a", "h"], never=never) == ["a", "h"]
    with pytest.raises(SelectorError, match=r"safety\.never"):
        nodes(barbell, {"name": "[eh]"}, never=never)


def test_pick_is_drawn_from_the_seed_and_evenly(barbell: Topology) -> None:
    counted: Counter[str] = Counter()
    for seed in range(400):
        (chosen,) = nodes(barbell, {"pick": 1}, seed)
        assert nodes(barbell, {"pick": 1}, seed) == [chosen]
        counted[chosen] += 1
    assert len(counted) == 8
    assert all(20 <= count <= 85 for count in counted.values())


@pytest.mark.parametrize(("share", "count"), [("50%", 4), ("1%", 1), ("30%", 2), ("94%", 8)])
def test_a_percentage_picks_the_nearest_whole_number_but_never_none(
    barbell: Topology, share: str, count: int
) -> None:
    assert len(nodes(barbell, {"pick": share})) == count


@settings(derandomize=True, max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 30), wanted=st.integers(1, 30))
def test_picked_nodes_are_different_and_in_topology_order(
    seed: int, size: int, wanted: int
) -> None:
    topology = GENERATORS["line"](nodes=size).build(draw())
    if wanted > size:
        with pytest.raises(SelectorError, match=f"only {size} nodes match"):
            nodes(topology, {"pick": wanted}, seed)
        return
    chosen = nodes(topology, {"pick": wanted}, seed)
    assert len(set(chosen)) == wanted
    assert chosen == [name for name in topology.nodes if name in chosen]


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("gg1", "unknown node 'gg1'; did you mean 'g1'"),
        ("zebra", r"unknown node 'zebra' \(there are a, b, c, d, e, ...\)"),
        ("g*", r"for a pattern write \{name: 'g\*'\}"),
        (["a", {"region": "eux"}], "no node has region 'eux'; did you mean 'eu'"),
        ({"role": "gatway"}, "no node has role 'gatway'; did you mean 'gateway'"),
        ({"label": {"rak": "r1"}}, "no node has label 'rak'; did you mean 'rack'"),
        ({"name": "zz"}, "matches no node 'zz'"),
        ({"region": "eu", "role": "gateway"}, "matches no node"),
        ({"region": "us", "graph": "leaf"}, "none has graph: leaf"),
        ({"region": "us", "pick": 3}, "pick: 3 wanted, but only 2 nodes match"),
        ({"not": ["zz"]}, "unknown node 'zz'"),
    ],
)
def test_a_selector_that_matches_nothing_says_why(
    barbell: Topology, selector: Any, words: str
) -> None:
    with pytest.raises(SelectorError, match=words):
        nodes(barbell, selector)


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("c-d", "unknown link 'c-d'; did you mean 'c--d'"),
        ({"between": ["a", "h"]}, "matches no link"),
        ({"between": ["a", "zz"]}, "unknown node 'zz'"),
        ({"region": "e"}, "no node has region 'e'"),
        ({"name": "zz"}, "matches no link 'zz'"),
    ],
)
def test_a_link_selector_that_matches_nothing_says_why(
    barbell: Topology, selector: Any, words: str
) -> None:
    with pytest.raises(SelectorError, match=words):
        links(barbell, selector)


@pytest.mark.parametrize(
    "selector",
    [
        {"pick": 0},
        {"pick": -1},
        {"pick": True},
        {"pick": "0%"},
        {"pick": "150%"},
        {"pick": "some"},
        {"grap": "leaf"},
        {"graph": "center"},
        {"between": ["a"]},
        5,
    ],
)
def test_malformed_selectors_are_refused(selector: Any) -> None:
    with pytest.raises(ValidationError):
        NODES.validate_python(selector)
    with pytest.raises(ValidationError):
        LINKS.validate_python(selector if selector != {"graph": "center"} else {"graph": "leaf"})


@settings(derandomize=True, max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(2, 40), attach=st.integers(1, 3))
def test_graph_properties_agree_with_networkx(seed: int, size: int, attach: int) -> None:
    attach = min(attach, size - 1)
    topology = GENERATORS["barabasi-albert"](nodes=size, attach=attach).build(draw(seed))
    graph = graph_properties.graph_of(topology)
    known = nx.Graph(topology.graph())
    scores = graph_properties.betweenness(graph)
    of_nodes = nx.betweenness_centrality(known, normalized=False)
    of_links = nx.edge_betweenness_centrality(known, normalized=False)
    assert list(scores.nodes) == pytest.approx([of_nodes[n] for n in topology.nodes], abs=1e-5)
    assert list(scores.links) == pytest.approx(
        [
            of_links.get((link.a, link.b), of_links.get((link.b, link.a)))
            for link in topology.links.values()
        ],
        abs=1e-5,
    )
    hops = nx.eccentricity(known)
    far = graph_properties.eccentricities(graph)
    assert list(far.nodes) == [hops[name] for name in topology.nodes]
    names = list(topology.nodes)
    assert {names[i] for i in graph_properties.cut_vertices(graph)} == set(
        nx.articulation_points(known)
    )


def test_a_large_graph_is_estimated_and_says_so() -> None:
    topology = GENERATORS["barabasi-albert"](nodes=4000, attach=2).build(draw())
    notes: list[str] = []
    (top,) = nodes(topology, {"graph": "highest-betweenness"}, notes=notes)
    again = nodes(topology, {"graph": "highest-betweenness"}, notes=notes)
    assert again == [top]
    assert len(notes) == 1
    assert notes[0].startswith("betweenness is estimated from the paths of ")
    assert notes[0].endswith(" of 4000 nodes")
    degree = dict(topology.graph().degree())
    assert degree[top] >= sorted(degree.values())[-3]


def test_an_exact_result_makes_no_note(barbell: Topology) -> None:
    notes: list[str] = []
    nodes(barbell, {"graph": "highest-betweenness"}, notes=notes)
    nodes(barbell, {"graph": "farthest"}, notes=notes)
    assert notes == []


def test_parallel_links_share_their_betweenness(barbell: Topology) -> None:
    scores = graph_properties.betweenness(graph_properties.graph_of(barbell))
    value = dict(zip(barbell.links, scores.links, strict=True))
    assert value["f--h"] == value["f--h.2"] == 3.5  # seven pairs cross from h
