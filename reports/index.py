"""Several scenarios or a sweep side by side: index.html for people, summary.json for machines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from x0mesh.reports.files import write_text
from x0mesh.reports.html import asset, templates
from x0mesh.reports.result import strictly, to_text
from x0mesh.reports.verdict import EXIT_CODES, Judgement, exit_code
from x0mesh.reports.words import figure
from x0mesh.scenarios.metrics import METRICS

SCHEMA: Final = "x0mesh.summary/1"
SHOWN: Final = ("heal.time", "detect.time", "traffic.delivered_ratio", "traffic.outage")

Outcome = tuple[str, Path, Judgement]
"""Label, run folder, judgement."""


def write_index(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Both files into `folder`; the run folders lie below it."""
    found = {outcome[2].verdict for outcome in outcomes}
    worst = exit_code([outcome[2].verdict for outcome in outcomes])
    ranked = {code: verdict for verdict, code in EXIT_CODES.items() if verdict in found}
    verdict = ranked.get(worst, "inconclusive")
    metrics = [m for m in SHOWN if any(m in judged.metrics for _, _, judged in outcomes)]
    words = [f"{sum(o[2].verdict == v for o in outcomes)} {v}" for v in EXIT_CODES if v in found]
    page = (
        templates()
        .get_template("index.html.j2")
        .render(
            verdict=verdict,
            summary=", ".join(words) or "nothing ran",
            metrics=metrics,
            rows=[_row(outcome, folder, metrics) for outcome in outcomes],
            style=asset("style.css"),
        )
    )
    write_text(folder / "index.html", page)
    document = {
        "schema": SCHEMA,
        "verdict": verdict,
        "exit_code": exit_code([outcome[2].exit_code for outcome in outcomes]),
        "runs": [_summary(outcome, folder) for outcome in outcomes],
    }
    write_text(folder / "summary.json", to_text(strictly(document)))


def _summary(outcome: Outcome, folder: Path) -> dict[str, Any]:
    label, path, judged = outcome
    return {
        "name": label,
        "path": _relative(path, folder),
        "verdict": judged.verdict,
        "exit_code": judged.exit_code,
        "replications": len(judged.runs),
        "reasons": judged.reasons,
        "checks": [
            {"id": c.id, "kind": c.kind, "engine": c.engine, "verdict": c.verdict}
            for c in judged.checks
        ],
        "metrics": {
            name: {engine: asdict(found) for engine, found in by_engine.items()}
            for name, by_engine in judged.metrics.items()
        },
    }


def _row(outcome: Outcome, folder: Path, metrics: Sequence[str]) -> dict[str, Any]:
    label, path, judged = outcome
    figures = []
    for metric in metrics:
        medians = [
            figure(s.median, METRICS[metric].unit) for s in judged.metrics.get(metric, {}).values()
        ]
        figures.append(" / ".join(medians) or "–")
    return {
        "label": label,
        "href": quote(f"{_relative(path, folder)}/report.html"),
        "verdict": judged.verdict,
        "n": len(judged.runs),
        "figures": figures,
        "why": "; ".join(judged.reasons[:2]),
    }


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
