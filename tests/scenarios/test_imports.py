"""Topologies of others: what a file says is what the mesh has, and damage is named."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from x0mesh.scenarios.imports import FORMATS, TopologyFileError, read_topology, topohub
from x0mesh.scenarios.imports.mesh import fibre_delay_ns, great_circle_km
from x0mesh.scenarios.imports.names import clean, unique_names
from x0mesh.scenarios.topology import Topology

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "topologies"
MS = 1_000_000

Reader = Callable[..., Topology]

GRAPHML = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="label" attr.type="string" for="node" id="d0" />
  <key attr.name="Latitude" attr.type="double" for="node" id="d1" />
  <key attr.name="Longitude" attr.type="double" for="node" id="d2" />
  <key attr.name="Country" attr.type="string" for="node" id="d3"><default>Sweden</default></key>
  <key attr.name="LinkSpeedRaw" attr.type="double" for="edge" id="d4" />
  <key attr.name="LinkSpeed" attr.type="string" for="edge" id="d5" />
  <key attr.name="LinkSpeedUnits" attr.type="string" for="edge" id="d6" />
  <key attr.name="LinkLabel" attr.type="string" for="edge" id="d7" />
  <graph edgedefault="undirected">
    <data key="d0">a network</data>
    <node id="0"><data key="d0">Malmö</data><data key="d1">55.6</data><data key="d2">13.0</data>
    </node>
    <node id="1"><data key="d0">New York</data><data key="d1">40.7</data><data key="d2">-74.0</data>
      <data key="d3">United States</data></node>
    <node id="2"><data key="d0">New York</data></node>
    <edge source="0" target="1"><data key="d4">10000000000.0</data><data key="d7">10 G</data></edge>
    <edge source="1" target="0"><data key="d5">2.5</data><data key="d6">G</data></edge>
    <edge source="1" target="2" />
    <edge source="2" target="2" />
  </graph>
</graphml>
"""

NODE_LINK: dict[str, Any] = {
    "directed": False,
    "multigraph": True,
    "graph": {},
    "nodes": [
        {"id": 1, "name": "a", "pos": [0.5, 1], "tier": 2},
        {"id": "2", "name": "b"},
        {"id": [3, 4]},
    ],
    "edges": [
        {"source": 1, "target": 2, "key": 0, "delay": "5ms", "rate": "10mbit", "weight": 7},
        {"source": 2, "target": [3, 4], "key": 0, "cost": 3, "loss": "1%"},
    ],
}

NETJSON: dict[str, Any] = {
    "type": "NetworkGraph",
    "protocol": "OLSR",
    "version": "0.8",
    "metric": "ETX",
    "nodes": [
        {"id": "10.0.0.1", "label": "roof", "properties": {"lat": 41.9, "lng": 12.5, "os": "x"}},
        {"id": "10.0.0.2", "properties": {"hostname": "cellar"}},
        {"id": "10.0.0.3"},
    ],
    "links": [
        {
            "source": "10.0.0.1",
            "target": "10.0.0.2",
            "cost": 1.5,
            "properties": {"lq": 0.9, "nlq": 0.75},
        },
        {"source": "10.0.0.2", "target": "10.0.0.1", "cost": 2.0},
        {"source": "10.0.0.2", "target": "10.0.0.3", "cost": 1.0},
    ],
}

MESHNET: dict[str, Any] = {
    "nodes": [{"id": 0, "name": "Dach", "x": 51.3, "y": 12.4}, {"id": 1, "name": "Hof"}],
    "links": [
        {"source": 0, "target": 1, "source_tq": 0.9, "target_tq": 0.6, "type": "wifi"},
        {"source": 1, "target": "hub", "type": "vpn"},
    ],
}

MESHVIEWER: dict[str, Any] = {
    "timestamp": "2024-01-01T00:00:00+0000",
    "nodes": [
        {"node_id": "aa", "hostname": "Dach", "location": {"latitude": 51.3, "longitude": 12.4}},
        {"node_id": "bb", "hostname": "Hof"},
    ],
    "links": [{"source": "aa", "target": "bb", "source_tq": 1, "target_tq": 0.5}],
}

CLAB = """
name: triangle
topology:
  kinds: {linux: {image: alpine}}
  nodes:
    a: {kind: linux, image: alpine, labels: {site: north}}
    b: {kind: linux, group: edge}
    c:
  links:
    - endpoints: ["a:eth1", "b:eth1"]
    - endpoints: ["a:eth2", "b:eth2"]
      mtu: 1500
    - type: veth
      endpoints: [{node: b, interface: eth3}, {node: c, interface: eth1}]
    - endpoints: ["c:eth9", "host:veth0"]
    - type: mgmt-net
      endpoint: {node: a, interface: eth8}
"""


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """`read(content, name)` writes a file and reads it."""

    def read(content: object, name: str = "mesh.json", form: str | None = None) -> Topology:
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name).write_text(text, "utf-8")
        return read_topology(name, tmp_path, form)

    return read


def noted(topology: Topology, words: str) -> bool:
    return any(words in note for note in topology.notes)


def test_graphml_keeps_parallel_links_and_makes_delay_and_rate(read: Reader) -> None:
    topology = read(GRAPHML, "zoo.graphml")
    assert (
        topology.notes[0]
        == "zoo.graphml: 3 nodes, 4 links in the file; 3 nodes, 3 links in the mesh"
    )
    assert noted(topology, "1 links from a node to itself left out")
    assert noted(topology, "not used: link LinkLabel")
    assert noted(topology, "1 links without a length get the plain delay of 1 ms")
    assert list(topology.nodes) == ["Malmo", "New-York", "New-York-2"]
    assert dict(topology.nodes["Malmo"].labels) == {
        "id": "0",
        "label": "Malmö",
        "Country": "Sweden",
    }
    assert dict(topology.nodes["New-York"].labels)["Country"] == "United States"
    assert topology.nodes["Malmo"].position == (13.0, 55.6)
    assert topology.nodes["New-York-2"].position is None
    first, second, third = topology.links.values()
    assert [first.name, second.name] == ["Malmo--New-York", "New-York--Malmo.2"]
    # 6,180 km of great circle at 199,862 km/s.
    assert first.forward.delay_ns == first.backward.delay_ns == pytest.approx(30.9 * MS, rel=0.01)
    assert first.cost_forward == round(first.forward.delay_ns / 100_000)
    assert [first.forward.rate_bps, second.backward.rate_bps] == [10_000_000_000, 2_500_000_000]
    assert (third.forward.delay_ns, third.forward.rate_bps) == (MS, 0)


def test_distance_and_delay() -> None:
    assert great_circle_km((0, 0), (0, 90)) == pytest.approx(10_007.5, abs=1)
    assert great_circle_km((179.5, 0), (-179.5, 0)) == pytest.approx(111.2, abs=0.1)
    assert fibre_delay_ns(1998.6) == pytest.approx(10 * MS, rel=1e-4)
    assert fibre_delay_ns(0) == 100_000


def test_node_link_reads_our_own_words_and_says_what_it_does_not_use(read: Reader) -> None:
    topology = read(NODE_LINK)
    assert list(topology.nodes) == ["a", "b", "3-4"]
    assert topology.nodes["a"].position == (0.5, 1)
    assert ("tier", "2") in topology.nodes["a"].labels
    one, two = topology.links.values()
    assert (one.forward.delay_ns, one.backward.rate_bps) == (5 * MS, 10_000_000)
    assert (one.cost_forward, two.cost_forward, two.cost_backward) == (50, 3, 3)
    assert two.backward.loss == 0.01
    assert noted(topology, "not used: link weight")


def test_node_link_of_networkx_itself(read: Reader) -> None:
    graph = nx.gnm_random_graph(20, 40, seed=3)
    largest = max(nx.connected_components(graph), key=len)
    for key in ("edges", "links"):
        topology = read(nx.node_link_data(graph, edges=key))
        assert len(topology.nodes) == len(largest)
        assert len(topology.links) == graph.subgraph(largest).number_of_edges()


def test_directed_edges_and_their_opposites_are_one_link(read: Reader) -> None:
    graph = nx.DiGraph([("a", "b"), ("b", "a"), ("b", "c")])
    topology = read(nx.node_link_data(graph, edges="edges"))
    assert [(link.a, link.b) for link in topology.links.values()] == [("a", "b"), ("b", "c")]
    assert noted(topology, "1 pairs of opposite edges are one link each")
    assert noted(topology, "1 edges without an opposite are links both ways")
    assert topology.notes[0].startswith("mesh.json: 3 nodes, 3 links in the file; 3 nodes, 2 links")


def test_netjson_has_cost_and_loss_per_direction(read: Reader) -> None:
    topology = read(NETJSON)
    assert list(topology.nodes) == ["roof", "cellar", "10.0.0.3"]
    assert topology.nodes["roof"].position == (12.5, 41.9)
    one, two = topology.links.values()
    assert (one.cost_forward, one.cost_backward) == (15, 20)
    assert (one.forward.loss, one.backward.loss) == pytest.approx((0.25, 0.1))
    assert (two.cost_forward, two.cost_backward, two.forward.loss) == (10, 10, 0)
    assert noted(topology, "cost is the file's times 10")
    assert noted(topology, "1 - nlq from source to target, 1 - lq back")


@pytest.mark.parametrize("form", ["netjson", None])
def test_a_collection_of_netjson_is_refused(read: Reader, form: str | None) -> None:
    with pytest.raises(TopologyFileError, match="give one of its NetworkGraphs"):
        read({"type": "NetworkCollection", "collection": [NETJSON]}, form=form)


def test_link_quality_becomes_loss_in_its_own_direction(read: Reader) -> None:
    topology = read(MESHNET)
    assert list(topology.nodes) == ["Dach", "Hof", "hub"]
    assert topology.nodes["Dach"].position == (12.4, 51.3)
    one, two = topology.links.values()
    assert (one.forward.loss, one.backward.loss) == pytest.approx((0.1**7, 0.4**7))
    assert (two.forward.loss, two.backward.loss) == (0, 0)
    assert one.forward.delay_ns == MS
    assert noted(
        topology, "loss = (1 - tq)^7 on radio, 1 - tq on vpn links, each direction its own"
    )
    assert noted(topology, "1 links without a quality lose nothing")
    assert noted(topology, "1 more nodes are named by links only")


def test_meshviewer_as_the_maps_publish_it(read: Reader) -> None:
    topology = read(MESHVIEWER)
    assert list(topology.nodes) == ["Dach", "Hof"]
    assert topology.nodes["Dach"].position == (12.4, 51.3)
    assert topology.links["Dach--Hof"].backward.loss == 0.5**7


def test_a_tunnel_sends_once(read: Reader) -> None:
    file = {"links": [{"source": 0, "target": 1, "source_tq": 0.75, "type": "vpn"}]}
    (link,) = read(file).links.values()
    assert (link.forward.loss, link.backward.loss) == (0.25, 0)


def test_links_of_quality_zero_and_repeated_ids_are_said(read: Reader) -> None:
    file = {
        "nodes": [{"id": 0}, {"id": 1}, {"id": 1, "name": "again"}, {"id": 2}],
        "links": [
            {"source": 0, "target": 1, "source_tq": 1, "target_tq": 0.9},
            {"source": "1", "target": 2, "source_tq": 0, "target_tq": 0.9},
        ],
    }
    topology = read(file)
    assert list(topology.nodes) == ["n0", "n1"]
    assert noted(topology, "1 links with quality 0 in a direction left out")
    assert noted(topology, "1 nodes repeat an id")
    assert topology.notes[0].startswith("mesh.json: 4 nodes, 2 links in the file; 2 nodes, 1 links")


def test_containerlab_nodes_and_links(read: Reader) -> None:
    topology = read(CLAB, "triangle.clab.yml")
    assert list(topology.nodes) == ["a", "b", "c"]
    assert list(topology.links) == ["a--b", "a--b.2", "b--c"]
    assert dict(topology.nodes["a"].labels)["site"] == "north"
    assert dict(topology.nodes["b"].labels)["group"] == "edge"
    assert noted(topology, "2 links to the host or a network outside are left out")
    assert noted(topology, "node image")
    assert noted(topology, "link mtu")


def test_a_disconnected_network_keeps_its_largest_piece_and_says_so(read: Reader) -> None:
    graph = nx.disjoint_union(nx.path_graph(3), nx.cycle_graph(5))
    topology = read(nx.node_link_data(graph, edges="edges"))
    assert len(topology.nodes) == len(topology.links) == 5
    assert noted(
        topology,
        "not connected: the largest of 2 pieces is kept; 3 nodes and 2 links of the others are "
        "left out",
    )
    assert topology.notes[0].startswith("mesh.json: 8 nodes, 7 links in the file; 5 nodes, 5 links")


def test_topohub_by_name() -> None:
    topology = read_topology("topohub:sndlib/germany50")
    assert (len(topology.nodes), len(topology.links)) == (50, 88)
    assert topology.notes[0].startswith("topohub:sndlib/germany50: 50 nodes, 88 links in the file")
    link = topology.links["Aachen--Koeln"]
    assert link.forward.delay_ns == pytest.approx(61.63 / 199_861.6 * 1e9, rel=1e-4)


def test_a_topohub_file_is_recognised(read: Reader) -> None:
    stored = topohub.document("topozoo/Abilene")
    topology = read(stored, "saved.json")
    assert list(topology.links.values()) == list(
        read_topology("topohub:topozoo/Abilene").links.values()
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sndlib/germny50", "no such network; did you mean 'sndlib/germany50'"),
        ("germany50", "did you mean 'sndlib/germany50'"),
        ("../../../etc/passwd", "no such network"),
        ("", "no such network"),
    ],
)
def test_unknown_topohub_names(name: str, words: str) -> None:
    with pytest.raises(TopologyFileError, match=re.escape(words)):
        read_topology(f"topohub:{name}")


DAMAGED: list[tuple[str, object, str]] = [
    ("empty.json", "", "is empty"),
    ("blank.graphml", " \n\t\n", "is empty"),
    ("binary.graphml", b"\x00\x01\x02\x03", "is binary"),
    ("packed.graphml", b"\x1f\x8b\x08\x00rest", "is compressed (gzip)"),
    ("latin.json", b'{"nodes": "\xff\xfe"}', "is not UTF-8 text"),
    ("cut.json", json.dumps(NODE_LINK)[:-30], "ends in the middle (truncated?): line 1, column"),
    ("bad.json", '{"nodes": [}', "is not JSON: line 1, column 12"),
    ("cut.graphml", GRAPHML[:900], "ends in the middle (truncated?)"),
    ("bad.graphml", GRAPHML.replace("</node>", "</nod>", 1), "not well-formed XML"),
    ("other.json", {"answer": 42}, "not a graph in a known format (meshviewer, netjson"),
    ("list.json", [1, 2, 3], "not a graph in a known format"),
    ("page.html", "<html><body>404</body></html>", "is XML, but not a graph in a known format"),
    ("prose.txt", "just some words", "is YAML, but not a graph in a known format (containerlab)"),
    ("bad.yml", "topology: {nodes: [", "is neither JSON, XML nor YAML: line 1"),
    ("zero.json", {"nodes": [], "links": []}, "it has no nodes"),
    ("zero.yml", "topology: {nodes: {}}", "it has no nodes"),
    ("zero.graphml", "<graphml><graph></graph></graphml>", "it has no nodes"),
    ("nograph.graphml", "<graphml></graphml>", "there is no <graph> in it"),
    ("lonely.json", {"nodes": [{"id": 1}, {"id": 2}], "links": []}, "no usable link between any"),
    ("twice.json", {"nodes": [{"id": 1}, {"id": "1"}], "links": []}, "'1' stands there twice"),
    ("noid.json", {"nodes": [{"name": "a"}], "links": []}, "nodes[0]: 'id' is missing"),
    ("nan.json", '{"nodes": [{"id": 1, "lat": NaN, "lon": 1}], "links": []}', "finite number"),
    ("deep.json", "[" * 100_000, "nested too deeply"),
    (
        "far.json",
        {"nodes": [{"id": 1, "lat": 91, "lon": 0}], "links": []},
        "nodes[0]: no place on earth",
    ),
    (
        "quality.json",
        {"nodes": [], "links": [{"source": 1, "target": 2, "source_tq": 1.5}]},
        "links[0].source_tq: expected a ratio in 0..1, got 1.5",
    ),
    (
        "unit.json",
        {"nodes": [{"id": 1}], "links": [{"source": 1, "target": 2, "delay": "5"}]},
        "links[0].delay",
    ),
    (
        "end.json",
        {"nodes": [{"id": 1}], "links": [{"source": 1}]},
        "links[0]: 'target' is missing",
    ),
    (
        "stranger.graphml",
        "<graphml><graph><node id='a'/>\n<edge source='a' target='b'/></graph></graphml>",
        "line 2: edge to 'b', which is no node",
    ),
    (
        "twice.graphml",
        "<graphml><graph><node id='a'/><node id='a'/></graph></graphml>",
        "'a' stands there twice",
    ),
    (
        "nested.graphml",
        "<graphml><graph><node id='a'><graph/></node></graph></graphml>",
        "line 1: more than one graph, or nested ones",
    ),
    (
        "hyper.graphml",
        "<graphml><graph><hyperedge/></graph></graphml>",
        "hyperedges are not supported",
    ),
    (
        "speed.graphml",
        GRAPHML.replace("10000000000.0", "fast"),
        "LinkSpeedRaw: expected a number, got 'fast'",
    ),
    (
        "stranger.yml",
        "topology: {nodes: {a: {}}, links: [{endpoints: ['a:1', 'b:1']}]}",
        "topology.links[0]: node 'b' is not among topology.nodes",
    ),
    (
        "three.yml",
        "topology: {nodes: {a: {}}, links: [{endpoints: ['a:1', 'a:2', 'a:3']}]}",
        "topology.links[0].endpoints: expected two",
    ),
    ("yes.yml", "topology: {nodes: {yes: {}}}", "a name must be text, got True"),
]


@pytest.mark.parametrize(("name", "content", "words"), DAMAGED, ids=[one[0] for one in DAMAGED])
def test_damage_is_named(read: Reader, name: str, content: object, words: str) -> None:
    with pytest.raises(TopologyFileError, match=re.escape(words)) as caught:
        read(content, name)
    assert str(caught.value).startswith(f"{name}: ")
    assert len(str(caught.value)) < 500


def test_missing_files_and_directories(tmp_path: Path) -> None:
    (tmp_path / "leipzig.json").write_text("{}")
    with pytest.raises(TopologyFileError, match=r"no such file; did you mean 'leipzig\.json'"):
        read_topology("leipzg.json", tmp_path)
    with pytest.raises(TopologyFileError, match="no such directory"):
        read_topology("nowhere/leipzig.json", tmp_path)
    with pytest.raises(TopologyFileError, match="is a directory"):
        read_topology(".", tmp_path)
    with pytest.raises(TopologyFileError, match="no regular file"):
        read_topology("/dev/zero")


def test_limits_are_said(read: Reader) -> None:
    with pytest.raises(TopologyFileError, match="larger than 32 MiB"):
        read(b"{" + b" " * (32 * 2**20), "huge.json")
    with pytest.raises(TopologyFileError, match="larger than 2 MiB, which is the limit for YAML"):
        read("a: " + "b" * (2 * 2**20), "huge.yml")
    many = {"nodes": [{"id": i} for i in range(100_001)], "links": []}
    with pytest.raises(TopologyFileError, match="more than 100000 nodes"):
        read(many, "many.json")


BOMB = """<?xml version="1.0"?>
<!DOCTYPE graphml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<graphml><graph><node id="&b;"/></graph></graphml>
"""
OUTSIDE = """<!DOCTYPE graphml [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<graphml><graph><node id="n"><data key="label">&x;</data></node></graph></graphml>
"""


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, '<!DOCTYPE graphml SYSTEM "x.dtd"><graphml/>'])
def test_entities_and_document_types_are_refused(read: Reader, text: str) -> None:
    with pytest.raises(TopologyFileError, match="document type declaration is refused"):
        read(text, "bomb.graphml")


def test_yaml_that_multiplies_is_refused(read: Reader) -> None:
    lines = ["k0: &k0 {a: 1, b: 2, c: 3, d: 4}"]
    for level in range(1, 12):
        merged = ", ".join([f"*k{level - 1}"] * 9)
        lines.append(f"k{level}: &k{level} {{<<: [{merged}]}}")
    with pytest.raises(TopologyFileError, match="more than 200000 keys"):
        read("\n".join([*lines, "topology: {nodes: {a: {}}}"]), "bomb.clab.yml")


def test_the_format_can_be_said_and_must_fit(read: Reader) -> None:
    plain = {"nodes": [{"id": 0, "x": 3, "y": 4}], "links": []}
    assert read(plain, form="node-link").nodes["n0"].position == (3, 4)
    assert read({**plain, "links": [{"source": 0, "target": 1, "source_tq": 1}]}).nodes[
        "n0"
    ].position == (4, 3)
    with pytest.raises(TopologyFileError, match="unknown format 'graphlm'; did you mean 'graphml'"):
        read(plain, form="graphlm")
    with pytest.raises(TopologyFileError, match="looks like JSON, but graphml is xml"):
        read(plain, form="graphml")
    with pytest.raises(TopologyFileError, match="is not netjson"):
        read(plain, form="netjson")
    with pytest.raises(TopologyFileError, match="is topohub, not netjson"):
        read_topology("topohub:sndlib/germany50", file_format="netjson")


def test_every_format_is_registered() -> None:
    assert sorted(FORMATS) == [
        "containerlab",
        "graphml",
        "meshviewer",
        "netjson",
        "node-link",
        "topohub",
    ]


def test_names_are_plain_unique_and_the_first_keeps_its_own() -> None:
    assert clean("Zürich / HB (Süd)") == "Zurich-HB-Sud"
    assert clean("../../x") == "x"
    assert clean("\u6771\u4eac") == ""
    given = [("1", "A"), ("2", "A-2"), ("3", "A"), ("4", None), ("x y", ""), ("5", "rest")]
    assert unique_names(given) == ["A", "A-2", "A-3", "n4", "x-y", "node-rest"]


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    labels=st.lists(st.one_of(st.none(), st.text(max_size=8), st.sampled_from("AAB")), max_size=12)
)
def test_names_of_any_labels(labels: list[str | None]) -> None:
    names = unique_names([(str(i), label) for i, label in enumerate(labels)])
    assert len(set(names)) == len(labels)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name) for name in names)
    assert names == unique_names([(str(i), label) for i, label in enumerate(labels)])


SAMPLES = [
    GRAPHML.encode(),
    json.dumps(NODE_LINK).encode(),
    json.dumps(NETJSON).encode(),
    json.dumps(MESHNET).encode(),
    CLAB.encode(),
]


@settings(
    derandomize=True,
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sample=st.sampled_from(SAMPLES),
    start=st.floats(0, 1),
    length=st.integers(0, 40),
    patch=st.binary(max_size=6) | st.sampled_from([b"null", b"-1", b"[]", b'"', b"1e999", b"{}"]),
)
def test_any_damage_gives_a_mesh_or_one_typed_error(
    tmp_path: Path, sample: bytes, start: float, length: int, patch: bytes
) -> None:
    cut = int(start * len(sample))
    (tmp_path / "damaged").write_bytes(sample[:cut] + patch + sample[cut + length :])
    try:
        topology = read_topology("damaged", tmp_path)
    except TopologyFileError:
        return
    assert nx.is_connected(topology.graph())


def json_counts(path: Path) -> tuple[int, int, Any]:
    file = json.loads(path.read_text())
    graph: Any = nx.MultiGraph()
    graph.add_nodes_from(str(node["id"]) for node in file["nodes"])
    for link in file["links"]:
        if min(link.get("source_tq", 1), link.get("target_tq", 1)) > 0:
            graph.add_edge(str(link["source"]), str(link["target"]))
        else:
            graph.add_nodes_from((str(link["source"]), str(link["target"])))
    return len(file["nodes"]), len(file["links"]), graph


def xml_counts(path: Path) -> tuple[int, int, Any]:
    root = ET.parse(path).getroot()
    space = "{http://graphml.graphdrawing.org/xmlns}"
    graph: Any = nx.MultiGraph()
    graph.add_nodes_from(node.get("id") for node in root.iter(f"{space}node"))
    edges = list(root.iter(f"{space}edge"))
    graph.add_edges_from((edge.get("source"), edge.get("target")) for edge in edges)
    return graph.number_of_nodes(), len(edges), graph


@pytest.mark.parametrize(
    "name",
    [
        "zoo/Abilene.graphml",
        "zoo/Geant2012.graphml",
        "zoo/Cogentco.graphml",
        "zoo/Kdl.graphml",
        "freifunk/leipzig.json",
        "freifunk/ulm.json",
        "freifunk/berlin.json",
    ],
)
def test_real_networks_have_the_numbers_of_their_files(name: str) -> None:
    path = SHARED / name
    if not path.exists():
        pytest.skip("needs the real topologies of ../shared/topologies")
    listed, drawn, graph = (json_counts if path.suffix == ".json" else xml_counts)(path)
    topology = read_topology(str(path))
    largest = graph.subgraph(max(nx.connected_components(graph), key=len))
    kept = largest.number_of_edges() - nx.number_of_selfloops(largest)
    assert topology.notes[0] == (
        f"{path.name}: {listed} nodes, {drawn} links in the file; "
        f"{largest.number_of_nodes()} nodes, {kept} links in the mesh"
    )
    assert (len(topology.nodes), len(topology.links)) == (largest.number_of_nodes(), kept)
    degrees = sorted(degree for _, degree in topology.graph().degree())
    assert sum(degrees) == 2 * kept
    assert all(link.forward.delay_ns >= 100_000 for link in topology.links.values())
    if largest.number_of_nodes() == listed and not nx.number_of_selfloops(largest):
        assert degrees == sorted(degree for _, degree in largest.degree())


def test_every_network_of_the_package_reads() -> None:
    chosen = topohub.names()[::25]
    assert len(topohub.names()) >= 700
    for name in chosen:
        stored = topohub.document(name)
        topology = read_topology(f"topohub:{name}")
        assert len(topology.nodes) == len(stored["nodes"])
        assert len(topology.links) == len(stored["edges"])
