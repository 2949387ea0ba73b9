"""The commands that look and do not run: list, plan, validate, schema, doctor, help, analyze."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from x0mesh import library

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("X0MESH_SHARED", ROOT.parent / "shared"))

LISTS = {
    "scenarios": "quickstart",
    "faults": "link.blackhole",
    "checks": "within",
    "metrics": "heal.time",
    "live-metrics": "reachability.ratio",
    "events": "healing.decision",
    "topologies": "random-geometric",
    "imports": "graphml",
    "traffic": "cbr",
}


@pytest.mark.parametrize("what", LISTS)
def test_a_list_is_aligned_and_its_items_have_a_page(what: str, here: Any) -> None:
    done = here("list", what)
    lines = done.out.splitlines()
    assert done.code == 0
    assert all(line == line.rstrip() and "\t" not in line for line in lines)
    # The second column starts at one place.
    assert len({re.match(r"\S+ +", line).end() for line in lines}) == 1  # type: ignore[union-attr]
    assert any(line.startswith(f"{LISTS[what]} ") for line in lines)
    assert here("list", what, LISTS[what]).code == 0


def test_a_fault_has_its_parameters_and_target(here: Any) -> None:
    page = here("list", "faults", "link.flap").out
    assert "target: links" in page
    assert re.search(r"^  up +duration, like 250ms +required$", page, re.MULTILINE)
    assert re.search(r"^  jitter +duration, like 250ms +default 0s$", page, re.MULTILINE)


def test_a_fault_that_is_not_here_yet_says_so(here: Any) -> None:
    assert re.search(r"^identity\.revoke +nodes +not yet ", here("list", "faults").out, re.M)
    assert "not yet: " in here("list", "faults", "identity.revoke").out


@pytest.mark.parametrize("name", library.names())
def test_every_scenario_of_the_library_is_valid(name: str, here: Any) -> None:
    done = here("validate", name)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{name}: ok: ")
    assert "no engine" not in done.out


def test_the_readme_lists_the_library() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    listed = re.findall(r"^\| `([a-z-]+)` \| .+\? \| .+ \|$", readme, re.MULTILINE)
    assert listed == library.names()
    assert len(listed) >= 10


def test_validate_goes_through_all_files(small: Path, here: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("schema: x0mesh.scenario/1\nname: bad\n")
    done = here("validate", "bad.yaml", "small.yaml")
    assert done.code == 2
    assert done.out == "small.yaml: ok: 4 nodes, 4 links, 1 flow, 1 fault, 1 check\n"
    assert done.err == "bad.yaml:1:1: topology: topology is missing\n"


@pytest.mark.skipif(
    not (SHARED / "scenario-example.yaml").exists(), reason="no worked example beside the checkout"
)
def test_the_worked_example_validates_and_its_plan_prints(here: Any) -> None:
    path = str(SHARED / "scenario-example.yaml")
    done = here("validate", path)
    assert done.code == 0
    assert "no engine of this version runs identity.revoke" in done.out
    plan = here("plan", path)
    assert plan.code == 0
    for name in ("bad-wan", "cut-ap", "revoke-one", "traitor-keeps-talking", "kill-cut-vertex"):
        assert re.search(rf"^{name} ", plan.out, re.MULTILINE)
    assert "skipped by sim: replays captured bytes; the simulator has none" in plan.out
    refused = here("run", path, "--out", "out")
    assert refused.code == 4
    assert "no engine of this version runs identity.revoke" in refused.err


def test_a_plan_is_text_or_json_for_one_seed(small: Path, here: Any) -> None:
    text = here("plan", "small.yaml", "--seed", "9").out
    assert text.startswith("small  seed 9 ")
    assert re.search(r"^cut +link\.blackhole +500ms to 2500ms$", text, re.MULTILINE)
    plan = json.loads(here("plan", "small.yaml", "--seed", "9", "--json").out)
    assert plan["seed"] == 9
    assert [node["name"] for node in plan["nodes"]] == ["n0", "n1", "n2", "n3"]


def test_the_schema_is_json_and_can_be_written(here: Any, tmp_path: Path) -> None:
    schema = json.loads(here("schema").out)
    assert schema["title"] == "x0mesh scenario"
    assert here("schema", "--out", "s.json").out == "wrote s.json\n"
    assert json.loads((tmp_path / "s.json").read_text()) == schema


def test_doctor_says_what_is_found_and_what_is_missing(here: Any) -> None:
    done = here("doctor")
    assert done.code == 0
    assert re.search(r"^found +simpy +\d", done.out, re.MULTILINE)
    assert re.search(r"^missing +emulation +", done.out, re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    ["init", "validate", "schema", "plan", "run", "report", "analyze", "list", "doctor", "clean"],
)
def test_every_command_has_help(command: str, here: Any) -> None:
    assert re.search(rf"^  {command} +[A-Z]", here("--help").out, re.MULTILINE)
    done = here(command, "--help")
    assert done.code == 0
    assert len(done.out.splitlines()) > 5


def test_a_stored_run_is_judged_again_by_other_checks(
    passed: Any, here: Any, tmp_path: Path
) -> None:
    run = str(passed.folder)
    own = here("analyze", run)
    assert own.code == 0
    assert "small: pass (2 of 2 replications passed)" in own.out
    (tmp_path / "strict.yaml").write_text(
        "checks:\n  - {id: at-once, kind: within, metric: heal.time, limit: 10ms}\n"
    )
    strict = here("analyze", run, "--checks", "strict.yaml")
    assert strict.code == 1
    assert re.search(r"^replay at-once: x0mesh run small\.yaml --engine sim --seed \d$",
                     strict.out, re.MULTILINE)  # fmt: skip
    (tmp_path / "wrong.yaml").write_text("checks:\n  - {id: a, kind: withn}\n")
    wrong = here("analyze", run, "--checks", "wrong.yaml")
    assert wrong.code == 2
    assert wrong.err.startswith("wrong.yaml:2:")
    assert "did you mean 'within'?" in wrong.err


def test_a_report_is_written_again(passed: Any, here: Any, tmp_path: Path) -> None:
    done = here("report", str(passed.folder), "--out", "page.html")
    assert done.out == "wrote page.html\n"
    page = (tmp_path / "page.html").read_text()
    assert page == (passed.folder / "report.html").read_text()
    refused = here("report", str(passed.folder), "--out", "no/such/page.html")
    assert (refused.code, "No such file" in refused.err) == (2, True)


def test_a_reader_that_is_gone_is_no_failed_check(start: Any, tmp_path: Path) -> None:
    process = start("list", "faults", cwd=tmp_path)
    process.stdout.close()
    assert process.wait() == 141
    process.stderr.close()


def test_a_folder_called_like_a_scenario_does_not_hide_it(here: Any, tmp_path: Path) -> None:
    (tmp_path / "quickstart").mkdir()
    assert here("validate", "quickstart").out.startswith("quickstart: ok")
