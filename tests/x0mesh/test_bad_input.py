"""Every planted mistake ends with exit code 2, its place and a hint, and nothing written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

HEAD = "schema: x0mesh.scenario/1\nname: bad\n"
RING = "topology: {generator: {kind: ring, nodes: 6}}\n"


def cut(extra: str = "at: 1s, for: 1s", target: str = "{links: {pick: 1}}") -> str:
    return f"timeline:\n  - {{id: cut, {extra}, fault: link.down, target: {target}}}\n"


MISTAKES = {
    "unknown key": (
        HEAD + RING + "trafic: []\n",
        ["4:1: trafic: unknown key 'trafic'; did you mean 'traffic'?"],
    ),
    "unknown fault": (
        HEAD + RING + cut().replace("link.down", "link.dwn"),
        ["5:39: timeline.0.fault: unknown fault 'link.dwn'; did you mean 'link.down'?"],
    ),
    "wrong unit": (
        HEAD + RING + "run: {warmup: 5mbit}\n",
        ["4:15: run.warmup: expected a duration such as '250ms' or '5s', got '5mbit'"],
    ),
    "missing unit": (
        HEAD + RING + "run: {warmup: 5}\n",
        ["4:15: run.warmup: expected a duration"],
    ),
    "missing field": ("schema: x0mesh.scenario/1\nname: bad\n", ["topology is missing"]),
    "negative time": (
        HEAD + RING + cut("at: -1s, for: 1s"),
        ["timeline.0.at: duration cannot be negative, got '-1s'"],
    ),
    "cyclic after": (
        HEAD
        + RING
        + "timeline:\n"
        + "  - {id: a, after: {event: b.ended}, for: 1s, fault: link.down, target: {links: '*'}}\n"
        + "  - {id: b, after: {event: a.ended}, for: 1s, fault: link.down, target: {links: '*'}}\n",
        ["a", "b"],
    ),
    "selector without match": (
        HEAD + RING + cut(target="{links: {between: [n0, n3]}}"),
        ["5:66: timeline.0.target.links: matches no link"],
    ),
    "unknown node": (
        HEAD + RING + cut(target="{links: {between: [n0, n77]}}"),
        ["timeline.0.target.links", "n77"],
    ),
    "keep-alives without a pause": (
        HEAD + RING + "protocol: {liveness: {interval: 1ns}}\n",
        ["4:33: protocol.liveness.interval: keep-alives are at least 1ms apart"],
    ),
    "zero nodes": (
        HEAD + "topology: {generator: {kind: ring, nodes: 0}}\n",
        ["3:43: topology.generator.nodes: a topology needs at least one node, got 0"],
    ),
    "too many nodes": (
        HEAD + "topology: {generator: {kind: ring, nodes: 100001}}\n",
        ["at most 100000 nodes, got 100001"],
    ),
    "fault beyond chaos": (
        HEAD + RING + "run: {chaos: 5s}\n" + cut("at: 9s, for: 1s"),
        ["timeline.0", "chaos"],
    ),
    "unknown metric": (
        HEAD + RING + "checks: [{id: h, kind: within, metric: heal.tme, limit: 1s}]\n",
        ["4:40: checks.0.metric: unknown metric 'heal.tme'; did you mean 'heal.time'?"],
    ),
    "claim beyond the samples": (
        HEAD
        + RING
        + cut()
        + "checks: [{id: h, kind: within, metric: heal.time, limit: 1s, "
        + "across: {stat: p95, confidence: 95%}}]\n",
        ["checks.0", "59"],
    ),
    "duplicate key": (HEAD + RING + "name: twice\n", ["4:1: "]),
    "not YAML": (HEAD + "topology: {generator: [\n", ["bad.yaml:"]),
    "not a mapping": ("- a\n- b\n", ["1:1: a scenario is a mapping"]),
    "empty": ("", ["1:1: the file is empty"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_mistake_is_named_with_its_place(
    command: str, mistake: str, here: Any, tmp_path: Path
) -> None:
    text, wanted = MISTAKES[mistake]
    (tmp_path / "bad.yaml").write_text(text)
    out = ("--out", "out") if command == "run" else ()
    done = here(command, "bad.yaml", *out)
    assert done.code == 2
    assert done.out == ""
    assert re.match(r"bad\.yaml:\d+:\d+: ", done.err)
    assert all(line.startswith("bad.yaml:") for line in done.err.splitlines())
    assert all(text in done.err for text in wanted), done.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_all_mistakes_are_told_at_once(here: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        HEAD + RING + "trafic: []\nrun: {warmup: 5}\n" + cut("at: -1s") + "checks: [{id: a}]\n"
    )
    lines = here("validate", "bad.yaml").err.splitlines()
    assert [int(line.split(":")[1]) for line in lines] == [4, 5, 7, 8]


TOPOLOGIES = {
    "absent.graphml": (None, "no such file"),
    "empty.graphml": (b"", "empty"),
    "truncated.graphml": (b"<graphml><graph><node id='a'/>", "3:"),
    "binary.json": (bytes(range(256)) * 4, "3:"),
    "huge.json": (b" " * (32 * 2**20 + 1), "larger than 32 MiB"),
    "no-nodes.json": (b'{"nodes": [], "links": []}', "node"),
    "strange.json": (b'{"a": 1}', "3:"),
}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_topology_file_that_cannot_be_used_is_a_mistake_of_its_line(
    name: str, here: Any, tmp_path: Path
) -> None:
    content, wanted = TOPOLOGIES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "bad.yaml").write_text(HEAD + f"topology: {{import: {name}}}\n")
    before = {path.name for path in tmp_path.iterdir()}
    done = here("run", "bad.yaml", "--out", "out")
    assert done.code == 2
    assert done.err.startswith("bad.yaml:3:")
    assert len(done.err.splitlines()) == 1
    assert wanted in done.err
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_disconnected_topology_is_cut_to_its_largest_piece_aloud(
    here: Any, tmp_path: Path
) -> None:
    (tmp_path / "two.json").write_text(
        '{"nodes": [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d"}, {"id": "e"}],'
        ' "links": [{"source": "a", "target": "b"}, {"source": "b", "target": "c"},'
        ' {"source": "d", "target": "e"}]}'
    )
    (tmp_path / "ok.yaml").write_text(HEAD + "topology: {import: two.json}\n")
    done = here("plan", "ok.yaml")
    assert done.code == 0
    assert "5 nodes, 3 links in the file; 3 nodes, 2 links in the mesh" in done.out


WRONG_USE = [
    (("run", "quickstrat"), "did you mean 'quickstart'?"),
    (("run", "smal.yaml"), "there is no file 'smal.yaml'; did you mean 'small.yaml'?"),
    (("run", "small.yaml", "--seeds", "0"), "--seeds"),
    (("run", "small.yaml", "--seed", "-1"), "--seed"),
    (("run", "small.yaml", "--seed", str(2**63)), "--seed"),
    (("run", "small.yaml", "-j", "0"), "-j"),
    (("run", "small.yaml", "--seed", "1", "--seeds", "2"), "give one"),
    (("run", "small.yaml", "--engine", "ns3"), "'ns3' is not one of"),
    (("run", "small.yaml", "--out", "full"), "full is not empty"),
    (("run", "small.yaml", "--out", "small.yaml"), "small.yaml is a file"),
    (("run", "small.yaml", "--set", "nonsense"), "expected key=value"),
    (("run", "small.yaml", "--set", "checks.heal.limit=1s"), "did you mean 'heals'?"),
    (("run", "small.yaml", "--sweep", "run.settle"), "expected key=value,value"),
    (("run", "small.yaml", "--set", "run.settle=4s", "--sweep", "run.settle=5s,6s"), "keep one"),
    (("run", "full"), "cannot be read: Is a directory"),
    (("run",), "Missing argument"),
    (("plan", "small.yaml", "--seed", "-1"), "--seed"),
    (("validate", "small.yaml", "nowhere.yaml"), "there is no file 'nowhere.yaml'"),
    (("analyze", "full"), "full is no run folder: it has no result.json"),
    (("analyze", "small.yaml"), "small.yaml is no run folder"),
    (("analyze", "nowhere"), "nowhere"),
    (("report", "full"), "full is no run folder"),
    (("list", "fault"), "'fault' is not one of"),
    (("list", "faults", "link.dwn"), "did you mean 'link.down'?"),
    (("list", "checks", "--markdown"), "--markdown makes the pages"),
    (("schema", "--out", "no/such/folder"), "No such file"),
    (("init", "no/such/folder"), "No such file"),
    (("frobnicate",), "No such command 'frobnicate'"),
]


@pytest.mark.parametrize(("words", "wanted"), WRONG_USE, ids=[" ".join(w) for w, _ in WRONG_USE])
def test_wrong_use_says_what_is_wrong_and_writes_nothing(
    words: tuple[str, ...], wanted: str, small: Path, here: Any, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = here(*words)
    assert done.code == 2
    assert wanted in done.err
    assert "Traceback" not in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_broken_result_is_said_to_be_broken(passed: Any, here: Any, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{")
    done = here("analyze", str(tmp_path))
    assert done.code == 2
    assert "result.json: cannot be read" in done.err
