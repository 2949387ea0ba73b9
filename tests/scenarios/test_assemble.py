"""From the `topology:` section to nodes and links, with every change laid over its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from pydantic import ValidationError

from x0mesh.scenarios.assemble import TopologyError, assemble
from x0mesh.scenarios.topology import Topology
from x0mesh.scenarios.topology_section import TopologySection

MS = 1_000_000
LINE = {"kind": "line", "nodes": 4}


def made(base_dir: Path | str = ".", seed: int = 1, **section: Any) -> Topology:
    return assemble(TopologySection.model_validate(section), seed, base_dir)


def regions(topology: Topology) -> list[str]:
    return [node.region for node in topology.nodes.values()]


def test_inline_nodes_and_links_with_plain_defaults() -> None:
    topology = made(nodes=["a", "b"], links=[{"endpoints": ["a", "b"]}])
    (link,) = topology.links.values()
    assert (link.name, link.a, link.b, link.cost_forward) == ("a--b", "a", "b", 10)
    assert (link.forward.delay_ns, link.forward.rate_bps, link.forward.loss) == (MS, 0, 0)
    assert [node.role for node in topology.nodes.values()] == ["leaf", "leaf"]


def test_the_seed_serves_generators_without_their_own() -> None:
    free = {"kind": "random-geometric", "nodes": 30}
    fixed = {**free, "seed": 1}
    assert made(generator=free, seed=1) == made(generator=fixed, seed=9)
    assert made(generator=free, seed=1) != made(generator=free, seed=2)


def test_overrides_change_existing_nodes_only() -> None:
    topology = made(
        generator=LINE,
        nodes={"n0": {"role": "gateway", "labels": {"rack": "r1"}, "position": [2, 3]}},
    )
    node = topology.nodes["n0"]
    assert (node.role, node.labels, node.position) == ("gateway", (("rack", "r1"),), (2, 3))
    assert topology.nodes["n1"].role == "leaf"


@pytest.mark.parametrize(
    ("assign", "expected"),
    [
        ("round-robin", ["eu", "us", "eu", "us"]),
        ("blocks", ["eu", "eu", "us", "us"]),
        ("position", ["eu", "eu", "us", "us"]),
    ],
)
def test_regions(assign: str, expected: list[str]) -> None:
    topology = made(generator=LINE, regions={"names": ["eu", "us"], "assign": assign})
    assert regions(topology) == expected


def test_regions_by_position_go_from_west_to_east_and_take_neighbours_along(
    tmp_path: Path,
) -> None:
    nodes = [
        {"id": "east", "lat": 0, "lon": 20},
        {"id": "west", "lat": 0, "lon": -20},
        {"id": "nowhere"},
    ]
    links = [{"source": "east", "target": "west"}, {"source": "nowhere", "target": "east"}]
    (tmp_path / "net.json").write_text(json.dumps({"nodes": nodes, "links": links}))
    split = {"names": ["left", "right"], "assign": "position"}
    topology = made(tmp_path, **{"import": "net.json"}, regions=split)
    assert regions(topology) == ["right", "left", "right"]
    assert any("1 nodes without a position go with" in note for note in topology.notes)


def test_regions_by_label(tmp_path: Path) -> None:
    nodes = [{"id": "a", "land": "se"}, {"id": "b", "land": "no"}, {"id": "c"}]
    links = [{"source": "a", "target": "b"}, {"source": "b", "target": "c"}]
    (tmp_path / "net.json").write_text(json.dumps({"nodes": nodes, "links": links}))
    source = {"import": "net.json"}
    topology = made(tmp_path, **source, regions={"assign": "label", "label": "land"})
    assert regions(topology) == ["se", "no", ""]
    assert "regions: 1 nodes have no land, so no region" in topology.notes
    with pytest.raises(TopologyError, match="no node has the label 'lad'; did you mean 'land'"):
        made(tmp_path, **source, regions={"assign": "label", "label": "lad"})
    with pytest.raises(TopologyError, match="not among names, such as 'b' with 'no'") as caught:
        made(tmp_path, **source, regions={"assign": "label", "label": "land", "names": ["se"]})
    assert caught.value.path == ("regions", "names")


def test_additions_come_with_links() -> None:
    topology = made(
        generator=LINE,
        regions={"names": ["eu"]},
        add={
            "nodes": {"ca": {"region": "us", "role": "ca"}},
            "links": [{"endpoints": ["ca", "n0"]}, {"endpoints": ["n1", "n0"]}],
        },
    )
    assert (topology.nodes["ca"].role, topology.nodes["ca"].region) == ("ca", "us")
    assert list(topology.links)[-2:] == ["ca--n0", "n1--n0.2"]


def test_of_several_rules_the_last_that_matches_counts_alone() -> None:
    topology = made(
        generator=LINE,
        regions={"names": ["eu", "us"], "assign": "blocks"},
        profiles={
            "lan": {"delay": "2ms", "jitter": "100us", "rate": "100mbit"},
            "wan": {"delay": "80ms"},
        },
        link_profiles=[
            {"between": "*", "profile": "lan"},
            {"between": [{"region": "us"}, {"region": "eu"}], "profile": "wan"},
            {"between": ["n2", "n3"], "profile": {"loss": "1%", "cost": 7}},
        ],
    )
    first, second, third = topology.links.values()
    assert (first.forward.delay_ns, first.backward.rate_bps) == (2 * MS, 100_000_000)
    assert (first.forward.jitter_ns, first.cost_forward) == (100_000, 20)
    assert (second.forward.delay_ns, second.forward.rate_bps) == (80 * MS, 0)
    assert (second.forward.jitter_ns, second.cost_backward) == (0, 800)
    assert (third.forward.delay_ns, third.backward.loss, third.cost_forward) == (MS, 0.01, 7)


def test_an_import_keeps_what_a_profile_does_not_say() -> None:
    source = {"import": "topohub:sndlib/germany50"}
    plain, lossy = (
        made(**source),
        made(**source, link_profiles=[{"between": "*", "profile": {"loss": "2%"}}]),
    )
    for name, link in plain.links.items():
        assert lossy.links[name].forward.delay_ns == link.forward.delay_ns
        assert lossy.links[name].cost_forward == link.cost_forward
        assert lossy.links[name].forward.loss == 0.02


def test_a_links_own_words_are_the_strongest_and_directions_differ() -> None:
    topology = made(
        nodes=["a", "b"],
        links=[
            {
                "endpoints": ["a", "b"],
                "name": "cable",
                "profile": "slow",
                "rate": "5mbit",
                "backward": {"delay": "9ms", "loss": "3%", "cost": 2},
            }
        ],
        profiles={"slow": {"delay": "4ms", "rate": "1mbit", "jitter": "1ms"}},
        link_profiles=[{"between": "*", "profile": {"delay": "50ms", "queue": 9}}],
    )
    link = topology.links["cable"]
    assert (link.forward.delay_ns, link.forward.rate_bps, link.forward.queue) == (
        4 * MS,
        5_000_000,
        9,
    )
    assert (link.backward.delay_ns, link.backward.loss, link.forward.loss) == (9 * MS, 0.03, 0)
    assert (link.cost_forward, link.cost_backward) == (40, 2)


def test_what_has_no_effect_is_said() -> None:
    topology = made(
        generator=LINE,
        profiles={"lan": {"delay": "2ms"}},
        link_profiles=[{"between": ["n0", "n3"], "profile": {"delay": "3ms"}}],
    )
    assert topology.notes == ["link_profiles[0] matches no link", "profiles no link uses: lan"]


@pytest.mark.parametrize(
    ("section", "path", "words"),
    [
        (
            {"generator": LINE, "nodes": {"n00": {}}},
            ("nodes", "n00"),
            "'n00' is no node of this topology; did you mean 'n0'",
        ),
        (
            {"generator": LINE, "add": {"nodes": {"n1": {}}}},
            ("add", "nodes", "n1"),
            "'n1' exists already",
        ),
        (
            {"generator": LINE, "add": {"nodes": ["ca"]}},
            ("add", "nodes", "ca"),
            "node 'ca' has no link",
        ),
        (
            {"generator": LINE, "add": {"links": [{"endpoints": ["n0", "gate"]}]}},
            ("add", "links", 0, "endpoints", 1),
            "unknown node 'gate'",
        ),
        (
            {
                "nodes": ["a", "b"],
                "links": [{"endpoints": ["a", "b"], "name": "x"}] * 2,
            },
            ("links", 1, "name"),
            "a link is named 'x' already",
        ),
        (
            {"nodes": ["a", "b", "c", "d"], "links": [{"endpoints": ["a", "b"]}]},
            ("links",),
            "node 'c' (and 1 more) has no link",
        ),
        (
            {
                "nodes": ["a", "b", "c", "d"],
                "links": [{"endpoints": ["a", "b"]}, {"endpoints": ["c", "d"]}],
            },
            ("links",),
            "node 'c' (and 1 more) is not connected with the rest",
        ),
        (
            {
                "generator": LINE,
                "profiles": {"lan": {}},
                "link_profiles": [{"between": "*", "profile": "lam"}],
            },
            ("link_profiles", 0, "profile"),
            "unknown profile 'lam'; did you mean 'lan'",
        ),
        (
            {
                "generator": LINE,
                "link_profiles": [{"between": ["n0", {"region": "eu"}], "profile": {}}],
            },
            ("link_profiles", 0, "between"),
            "no node has a region",
        ),
        (
            {"nodes": ["a", "b"], "links": [{"endpoints": ["a", "b"], "profile": "lan"}]},
            ("links", 0, "profile"),
            "unknown profile 'lan'",
        ),
        (
            {"nodes": ["a"], "regions": {"names": ["eu"], "assign": "position"}},
            ("regions", "assign"),
            "needs nodes with positions",
        ),
        ({"import": "nowhere.json"}, ("import",), "nowhere.json: cannot be read: no such file"),
        (
            {"generator": {"kind": "waxman", "nodes": 20, "degree": 5, "alpha": 0.05}},
            ("generator",),
            "raise alpha",
        ),
    ],
)
def test_mistakes_have_a_place_and_words(
    section: dict[str, Any], path: tuple[str | int, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(TopologyError) as caught:
        made(tmp_path, **section)
    assert caught.value.path == path
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"generator": LINE, "import": "x"},
        {"generator": LINE, "links": [{"endpoints": ["n0", "n2"]}]},
        {"generator": {"kind": "lin", "nodes": 3}},
        {"generator": LINE, "format": "graphml"},
        {"generator": LINE, "regions": {"names": []}},
        {"generator": LINE, "link_profiles": [{"between": "*", "profile": {"delay": "-5ms"}}]},
        {"generator": LINE, "link_profiles": [{"between": "*", "profile": {"delay": 5}}]},
        {"generator": LINE, "link_profiles": [{"between": ["n0"], "profile": {}}]},
    ],
)
def test_impossible_sections_are_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TopologySection.model_validate(section)


def test_assembled_topologies_are_connected_and_unique() -> None:
    topology = made(
        generator={"kind": "waxman", "nodes": 50, "degree": 2},
        add={"nodes": ["x"], "links": [{"endpoints": ["x", "n7"]}]},
    )
    assert nx.is_connected(topology.graph())
    assert all(name == link.name for name, link in topology.links.items())
