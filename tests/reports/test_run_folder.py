from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from x0mesh.reports import Environment, RunFolderError, judge, load_run, write_run
from x0mesh.reports.files import write_text
from x0mesh.reports.junit import junit
from x0mesh.scenarios.record import Evidence

CHECKS = [
    {"id": "heals", "kind": "within", "metric": "heal.time", "limit": "500ms"},
    {"id": "steady", "kind": "always", "metric": "reachability.ratio", "op": ">", "value": "0%"},
    {"id": "same", "kind": "agree", "metric": "heal.time", "margin": "20ms"},
    {"id": "quiet", "kind": "never", "event": "packet.accepted"},
]


def written(folder: Path, scenario: Any, builts: list[Any]) -> Any:
    plans, records = [b.plan for b in builts], [b.record for b in builts]
    judgement = judge(scenario, plans, records)
    write_run(folder, scenario, plans, records, judgement, Environment({"x0mesh": "0"}))
    return judgement


@pytest.fixture(scope="module")
def builts(bench: Any) -> list[Any]:
    found = [bench.healed_cut(1), bench.healed_cut(2, heal_ms=900), bench.healed_cut(3)]
    found[2].lose(bench.cut, bench.end)
    found[1].record.events.append(found[1].record.events[-1]._replace(value=None, reason="é\x01<"))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, scenario_of: Any, builts: list[Any]) -> Path:
    """A run of three replications, written once."""
    path = tmp_path_factory.mktemp("run")
    written(path, scenario_of(checks=CHECKS), builts)
    return path


def test_a_stored_run_is_judged_the_same_again(
    folder: Path, scenario_of: Any, builts: list[Any]
) -> None:
    first = judge(scenario_of(checks=CHECKS), [b.plan for b in builts], [b.record for b in builts])
    scenario, plans, records = load_run(folder)
    assert judge(scenario, plans, records) == first
    assert plans == [b.plan for b in builts]
    for record, built in zip(records, builts, strict=True):
        assert record.fingerprint == built.record.fingerprint
        assert record.events == built.record.events
        assert record.faults == built.record.faults
        assert record.counters == built.record.counters
        np.testing.assert_array_equal(record.series[0].values, built.record.series[0].values)


def test_other_checks_can_be_asked_of_a_stored_run(folder: Path, scenario_of: Any) -> None:
    _, plans, records = load_run(folder)
    lenient = scenario_of(checks=[{**CHECKS[0], "limit": "60s"}])
    assert judge(lenient, plans[:2], records[:2]).verdict == "pass"


def test_writing_a_run_again_gives_the_same_bytes(
    tmp_path: Path, folder: Path, scenario_of: Any, builts: list[Any]
) -> None:
    written(tmp_path, scenario_of(checks=CHECKS), builts)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "events.parquet",
        "junit.xml",
        "probes.parquet",
        "replications.json.gz",
        "report.html",
        "result.json",
        "series.parquet",
    ]
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_events_have_exactly_the_published_columns(folder: Path, builts: list[Any]) -> None:
    table = pq.read_table(folder / "events.parquet")
    assert table.column_names == (
        [
            "engine",
            "seed",
            "t_ns",
            "node",
            "kind",
            "fault",
            "link",
            "peer",
            "flow",
            "value",
            "reason",
        ]
    )
    assert table.num_rows == sum(len(b.record.events) for b in builts)
    assert set(table["seed"].to_pylist()) == {1, 2, 3}


def test_the_result_has_the_published_keys_and_is_strict_json(folder: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads((folder / "result.json").read_text(), parse_constant=refuse)
    assert found["schema"] == "x0mesh.result/1"
    assert found["verdict"] == "fail"
    assert list(found["runs"][0]) == ["engine", "seed", "fingerprint", "verdict", "reason"]
    summary = found["metrics"]["heal.time"]["sim"]
    assert list(summary) == ["n", "censored", "median", "p95", "mean", "min", "max"]
    assert summary["max"] is None
    asked = ["id", "kind", "engine", "n", "statistic", "interval", "limit", "verdict"]
    asked += ["relation", "worst_seed", "replay"]
    assert list(found["checks"][0])[: len(asked)] == asked
    fault = found["faults"][0]
    for key in ("id", "kind", "planned", "started", "ended", "targets", "evidence", "undo"):
        assert key in fault
    assert fault["targets"] == ["n0-n1"]
    assert found["seeds"] == {"sim": [1, 2, 3]}
    assert found["scenario"]["as_run"]["name"] == "ring"
    assert found["backends"] == {"sim": {"clock": "simpy"}}


def test_without_events_to_keep_the_result_still_stands_and_analysis_says_why_not(
    tmp_path: Path, scenario_of: Any, builts: list[Any]
) -> None:
    written(tmp_path, scenario_of(report={"keep": []}), builts)
    assert not (tmp_path / "events.parquet").exists()
    with pytest.raises(RunFolderError, match="replications"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["result.json", "replications.json.gz", "events.parquet", "probes.parquet", "series.parquet"],
)
@pytest.mark.parametrize("damage", ["absent", "truncated", "garbage"])
def test_a_damaged_folder_is_one_typed_error(
    tmp_path: Path, folder: Path, name: str, damage: str
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / name
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"\xff{]")
    with pytest.raises(RunFolderError, match=str(tmp_path)):
        load_run(tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_junit_parses_and_doubt_is_not_green(bench: Any, scenario_of: Any) -> None:
    builts = [bench.healed_cut(1), bench.healed_cut(2, heal_ms=900), bench.healed_cut(3)]
    builts[2].lose(bench.cut, bench.end)
    builts[0].record.faults[0].evidence = [Evidence("a", "b", "mismatch", "tail \x00 <&>")]
    scenario = scenario_of(checks=CHECKS)
    judgement = judge(scenario, [b.plan for b in builts], [b.record for b in builts])
    [suite] = ET.fromstring(junit(scenario, judgement))
    assert suite.get("name") == "ring.sim"
    cases = {case.get("name"): list(case) for case in suite}
    assert [e.tag for e in cases["heals"]] == ["failure"]
    text = cases["heals"][0].text or ""
    assert "seed: 3" in text
    assert "replay: x0mesh run ring.yaml --engine sim --seed 3" in text
    assert cases["steady"] == []
    assert [e.tag for e in cases["same"]] == ["skipped"]
    assert cases["same"][0].get("message") == "only one engine ran"
    assert (cases["quiet"][0].tag, cases["quiet"][0].get("type")) == ("error", "inconclusive")
    assert cases["replications"][0].get("type") == "inconclusive"
    counts = [suite.get(key) for key in ("tests", "failures", "errors", "skipped")]
    assert counts == ["5", "1", "2", "1"]


def test_junit_of_a_pass_has_no_complaints(bench: Any, scenario_of: Any) -> None:
    built = bench.healed_cut()
    scenario = scenario_of(checks=CHECKS[:2])
    page = junit(scenario, judge(scenario, [built.plan], [built.record]))
    [suite] = ET.fromstring(page)
    assert [len(case) for case in suite] == [0, 0, 0]
