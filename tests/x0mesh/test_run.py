"""`x0mesh run`: what it writes, what it says, and the exit code of every outcome."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from x0mesh.cli import cli


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def fingerprints(folder: Path) -> dict[int, str]:
    return {run["seed"]: run["fingerprint"] for run in result(folder)["runs"]}


def changed(small: Path, old: str, new: str) -> str:
    text = small.read_text()
    assert old in text
    small.write_text(text.replace(old, new))
    return small.name


def test_a_passing_run_writes_its_folder_and_says_so(passed: Any) -> None:
    names = {path.name for path in passed.folder.iterdir()}
    assert {"result.json", "events.parquet", "report.html", "junit.xml"} <= names
    assert not [name for name in names if name.startswith(".")]
    lines = passed.done.out.splitlines()
    assert "small: pass (2 of 2 replications passed)" in lines
    assert lines[-1] == "report: out/report.html"
    assert any(re.match(r"check +heals +sim +pass +max of heal.time is \d+ ms", x) for x in lines)
    assert any(re.match(r"fault +cut +sim +confirmed +in 2 of 2 replications", x) for x in lines)
    assert passed.done.err == ""


def test_result_json_has_the_keys_others_rely_on(passed: Any) -> None:
    found = passed.result
    assert found["schema"] == "x0mesh.result/1"
    assert found["verdict"] == "pass"
    assert found["scenario"]["name"] == "small"
    assert re.fullmatch("[0-9a-f]{64}", found["scenario"]["sha256"])
    assert found["scenario"]["as_run"]["topology"] == {"generator": {"kind": "ring", "nodes": 4}}
    assert found["seeds"] == {"sim": [1, 2]}
    assert {"x0mesh", "python", "simpy"} <= set(found["versions"])
    assert found["capabilities"]["simulator"] is True
    assert "backends" in found
    for run in found["runs"]:
        assert {"engine", "seed", "fingerprint", "verdict", "reason"} <= set(run)
    heal = found["metrics"]["heal.time"]["sim"]
    assert {"n", "censored", "median", "p95", "mean", "min", "max"} <= set(heal)
    assert 0.1 < heal["median"] < 0.5
    (check,) = (c for c in found["checks"] if c["id"] == "heals")
    assert {"id", "kind", "engine", "n", "statistic", "interval", "limit"} <= set(check)
    assert {"verdict", "relation", "worst_seed", "replay"} <= set(check)
    assert check["limit"] == 0.5
    (fault,) = found["faults"]
    assert {"id", "kind", "planned", "started", "ended", "targets", "evidence", "undo"} <= set(
        fault
    )
    assert (fault["planned"], fault["started"], fault["ended"]) == (4.5, 4.5, 6.5)
    assert fault["targets"] == ["n0--n1"]
    assert (fault["evidence"], fault["undo"]) == ("confirmed", "verified")


def test_events_parquet_has_one_row_per_event(passed: Any) -> None:
    table = pq.read_table(passed.folder / "events.parquet")
    columns = "engine, seed, t_ns, node, kind, fault, link, peer, flow, value, reason"
    assert table.column_names == columns.split(", ")
    kinds = set(table["kind"].to_pylist())
    assert {"fault.started", "fault.ended", "liveness.down", "route.repaired"} <= kinds
    assert set(table["seed"].to_pylist()) == {1, 2}


def test_junit_has_a_case_per_check(passed: Any) -> None:
    text = (passed.folder / "junit.xml").read_text()
    assert 'name="heals"' in text
    assert 'failures="0" errors="0"' in text


def test_one_seed_is_one_replication_with_the_same_trace(
    passed: Any, small: Path, here: Any, tmp_path: Path
) -> None:
    done = here("run", "small.yaml", "--seed", "2", "--out", "one")
    assert done.code == 0
    assert fingerprints(tmp_path / "one") == {2: fingerprints(passed.folder)[2]}


def test_neither_processes_nor_hash_seed_change_a_result(
    passed: Any, small: Path, x0mesh: Any, tmp_path: Path
) -> None:
    done = x0mesh(
        "run", "small.yaml", "-j", "1", "--out", "one", cwd=tmp_path, env={"PYTHONHASHSEED": "77"}
    )
    assert done.code == 0
    assert fingerprints(tmp_path / "one") == fingerprints(passed.folder)
    assert result(tmp_path / "one")["metrics"] == passed.result["metrics"]


def test_another_seed_gives_another_trace(passed: Any) -> None:
    first, second = fingerprints(passed.folder).values()
    assert first != second


def test_a_mesh_that_cannot_heal_in_time_fails_and_can_be_replayed(
    small: Path, here: Any, tmp_path: Path
) -> None:
    name = changed(small, "limit: 500ms", "limit: 100ms")
    done = here("run", name, "--set", "run.settle=2s", "--out", "out")
    assert done.code == 1
    (replay,) = re.findall(r"^replay heals: x0mesh (.*)$", done.out, re.MULTILINE)
    (reason,) = re.findall(r"^because: heals .*asked <= 100 ms \(seed (\d+)\)$", done.out, re.M)
    assert "small: fail (0 of 2 replications passed)" in done.out
    (check,) = (c for c in result(tmp_path / "out")["checks"] if c["id"] == "heals")
    assert (check["verdict"], check["worst_seed"]) == ("fail", int(reason))
    again = here(*shlex.split(replay), "--out", "again")
    assert again.code == 1
    seed = check["worst_seed"]
    assert fingerprints(tmp_path / "again") == {seed: fingerprints(tmp_path / "out")[seed]}


def test_a_fault_without_effect_is_inconclusive(small: Path, here: Any) -> None:
    text = small.read_text().replace("fault: link.blackhole", "fault: link.down")
    second = "{id: again, at: 1s, for: 1s, fault: link.down, target: {links: {between: [n0, n1]}}}"
    small.write_text(text.replace("timeline: [", f"timeline: [{second}, "))
    done = here("run", "small.yaml", "--out", "out")
    assert done.code == 3
    assert re.search(r"^because: fault again mismatch .*seed 1, 2", done.out, re.MULTILINE)
    assert re.search(r"^fault +again +sim +mismatch +in 2 of 2", done.out, re.MULTILINE)
    assert "small: inconclusive" in done.out


def test_a_fault_that_waited_in_vain_is_inconclusive(small: Path, here: Any) -> None:
    when = '{metric: reachability.ratio, op: "<", value: 10%, give_up: 1s}'
    changed(small, "at: 500ms", f"when: {when}")
    done = here("run", "small.yaml", "--out", "out")
    assert done.code == 3
    assert re.search(r"^because: fault cut not-fired", done.out, re.MULTILINE)


def test_a_mesh_that_is_not_steady_before_the_faults_is_inconclusive(
    small: Path, here: Any
) -> None:
    changed(small, "warmup: 4s", "warmup: 100ms")
    done = here("run", "small.yaml", "--out", "out")
    assert done.code == 3
    assert "the mesh was not steady before the faults" in done.out


def test_a_safety_rule_aborts(small: Path, here: Any, tmp_path: Path) -> None:
    rule = '{metric: reachability.ratio, op: "<", value: 100%}'
    small.write_text(small.read_text() + f"safety: {{abort_if: [{rule}]}}\n")
    done = here("run", "small.yaml", "--out", "out")
    assert done.code == 7
    assert result(tmp_path / "out")["verdict"] == "aborted"


def test_an_engine_that_is_not_here_writes_nothing(small: Path, here: Any, tmp_path: Path) -> None:
    for engine in ("emulation", "both"):
        done = here("run", "small.yaml", "--engine", engine, "--out", "out")
        assert done.code == 4
        assert done.err.startswith("cannot run: the emulation")
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize("kind", ["identity.revoke", "attack.blackhole", "xdp.detach"])
def test_a_fault_that_no_engine_runs_yet_is_named(
    kind: str, small: Path, here: Any, tmp_path: Path
) -> None:
    entry = f"{{id: later, at: 1s, fault: {kind}, target: {{nodes: n2}}}}"
    text = small.read_text().replace("engines: [sim]\n", "")
    small.write_text(text.replace("timeline: [", f"timeline: [{entry}, "))
    done = here("run", "small.yaml", "--out", "out")
    assert done.code == 4
    assert done.err == f"cannot run: small.yaml: no engine of this version runs {kind}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]
    checked = here("validate", "small.yaml")
    assert checked.code == 0
    assert f"no engine of this version runs {kind}" in checked.out


def test_several_engines_run_what_is_here_and_say_what_was_skipped(small: Path, here: Any) -> None:
    changed(small, "engines: [sim]\n", "")
    done = here("run", "small.yaml", "--seed", "1", "--out", "out")
    assert done.code == 0
    assert "note: emulation skipped: not part of this version" in done.out


def test_a_sweep_has_a_folder_per_value_and_an_index(
    small: Path, here: Any, tmp_path: Path
) -> None:
    done = here("run", "small.yaml", "--sweep", "checks.heals.limit=500ms,100ms", "--out", "out")
    assert done.code == 1
    out = tmp_path / "out"
    folders = [f"small/checks.heals.limit={limit}" for limit in ("500ms", "100ms")]
    assert [result(out / folder)["verdict"] for folder in folders] == ["pass", "fail"]
    summary = json.loads((out / "summary.json").read_text())
    assert [run["path"] for run in summary["runs"]] == folders
    assert summary["exit_code"] == 1
    page = (out / "index.html").read_text()
    assert all(f"{folder.replace('=', '%3D')}/report.html" in page for folder in folders)
    assert f"index: {Path('out/index.html')}" in done.out
    # The same seed meets the same fate: the sweep changed a limit only.
    assert fingerprints(out / folders[0]) == fingerprints(out / folders[1])


def test_without_out_runs_are_kept_by_name_and_time(small: Path, here: Any, tmp_path: Path) -> None:
    assert here("run", "small.yaml", "--seed", "1").code == 0
    home = tmp_path / "x0mesh-runs" / "small"
    (run,) = (path for path in home.iterdir() if path.name != "latest")
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", run.name)
    assert (home / "latest").resolve() == run
    assert here("list", "runs").out == f"x0mesh-runs/small/{run.name}\n"
    (tmp_path / "x0mesh-runs" / "mine").mkdir()
    (tmp_path / "x0mesh-runs" / "mine" / "notes").mkdir()
    refused = here("clean")
    assert refused.code == 2
    assert run.exists()
    assert here("clean", "--keep", "1", "--yes").out == "nothing to remove\n"
    assert here("clean", "--yes").code == 0
    assert [p.name for p in (tmp_path / "x0mesh-runs").iterdir()] == ["mine"]


def test_nothing_to_list_is_exit_5(here: Any) -> None:
    done = here("list", "runs")
    assert (done.code, done.err) == (5, "nothing selected: no runs here\n")


def test_the_smallest_scenario_runs(here: Any, tmp_path: Path) -> None:
    """The five lines of the README, on a smaller network and for one seed."""
    (tmp_path / "five.yaml").write_text(
        "schema: x0mesh.scenario/1\n"
        "name: link-cut\n"
        'topology: {import: "topohub:sndlib/germany50"}\n'
        "timeline: [{id: cut, at: 2s, for: 5s, fault: link.down, target: {links: {pick: 1}}}]\n"
        "checks: [{id: heals, kind: within, metric: heal.time, limit: 500ms}]\n"
    )
    plan = here("plan", "five.yaml")
    assert plan.code == 0
    assert "50 nodes, 88 links" in plan.out
    words = ("--set", "topology.import=topohub:sndlib/abilene", "--set", "run.seeds.sim=4")
    done = here("run", "five.yaml", *words, "--out", "out")
    assert done.code in (0, 3), done.out
    assert re.search(r"check +heals", done.out)
    assert re.search(r"fault +cut +sim +confirmed +in 4 of 4 replications", done.out)


def test_the_file_that_init_writes_passes(here: Any, tmp_path: Path) -> None:
    done = here("init")
    assert done.out == "wrote scenario.yaml; now: x0mesh run scenario.yaml\n"
    assert here("run", "scenario.yaml", "--seed", "1", "--out", "out").code == 0
    before = (tmp_path / "scenario.yaml").read_text()
    again = here("init")
    assert (again.code, again.err) == (2, "error: scenario.yaml exists; nothing was written\n")
    assert (tmp_path / "scenario.yaml").read_text() == before


def test_a_full_disk_is_told_in_one_line(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("x0mesh.reports.write_run", full)
    words = ["run", str(small), "--seeds", "1", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 70
    assert done.stderr.startswith("results lost: ")
    assert done.stderr.endswith("out cannot be written: No space left on device\n")
