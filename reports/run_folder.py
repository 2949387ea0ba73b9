"""A run folder: written whole after a run, read again by report, analyze, replay and compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from x0mesh.reports import files
from x0mesh.reports.html import write_html
from x0mesh.reports.junit import junit
from x0mesh.reports.result import Environment, result, to_text
from x0mesh.reports.store import RunFolderError, read_records, read_scenario, write_records
from x0mesh.reports.verdict import Judgement
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.record import Record


def write_run(
    folder: Path,
    scenario: Scenario,
    plans: Sequence[Plan],
    records: Sequence[Record],
    judgement: Judgement,
    environment: Environment,
) -> None:
    """Fill `folder` (made if missing). result.json comes last: where it is, the rest is whole.

    Without `events` in `report: keep`, only result.json, junit.xml and report.html are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if "events" in scenario.report.keep:
        write_records(folder, plans, records)
    files.write_text(folder / "junit.xml", junit(scenario, judgement))
    write_html(folder / "report.html", scenario, plans, records, judgement, environment)
    document = result(scenario, records, judgement, environment)
    files.write_text(folder / "result.json", to_text(document))


def load_run(folder: Path) -> tuple[Scenario, list[Plan], list[Record]]:
    """What `judge` needs to judge the run again. Raises RunFolderError."""
    scenario = read_scenario(folder)
    plans, records = read_records(folder)
    return scenario, plans, records


def load_environment(folder: Path) -> Environment:
    """Where and with what the stored run was made. Raises RunFolderError."""
    path = folder / "result.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Environment(
            versions=dict(kept["versions"]),
            host=dict(kept["host"]),
            capabilities=dict(kept["capabilities"]),
            command=str(kept["command"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as broken:
        raise RunFolderError(f"{path}: cannot be read: {broken}") from broken
