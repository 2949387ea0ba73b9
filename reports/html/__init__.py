"""report.html: the run for people, one file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment as Templates
from jinja2 import PackageLoader, StrictUndefined
from markupsafe import Markup

from x0mesh.reports.files import write_text
from x0mesh.reports.html.page import page
from x0mesh.reports.result import Environment
from x0mesh.reports.verdict import Judgement
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.record import Record


def templates() -> Templates:
    """Templates of this folder; everything put into them is escaped."""
    return Templates(
        loader=PackageLoader("x0mesh.reports", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> Markup:
    """A file of ours that goes in as it is."""
    return Markup((Path(__file__).parent / name).read_text(encoding="utf-8"))  # nosec B704


def render(
    scenario: Scenario,
    plans: Sequence[Plan],
    records: Sequence[Record],
    judgement: Judgement,
    environment: Environment,
) -> str:
    """The page's text; equal runs give equal pages."""
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            page=page(scenario, plans, records, judgement, environment),
            style=asset("style.css"),
            script=asset("script.js"),
        )
    )


def write_html(
    path: Path,
    scenario: Scenario,
    plans: Sequence[Plan],
    records: Sequence[Record],
    judgement: Judgement,
    environment: Environment,
) -> None:
    """Write the page, whole or not at all."""
    write_text(path, render(scenario, plans, records, judgement, environment))
