"""The documentation does what it says: commands run, snippets load, tables are complete."""

from __future__ import annotations

import dataclasses
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from x0mesh.mesh import config
from x0mesh.scenarios import checks, claims, model, timeline
from x0mesh.scenarios.loader import loads
from x0mesh.scenarios.protocol_section import Protocol
from x0mesh.scenarios.units import format_duration

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.name for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    return [shlex.split(line) for block in blocks(page, "sh") for line in block.splitlines()]


@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda page: page.name)
def test_every_command_works(page: Path, tmp_path: Path) -> None:
    """In the order of the page and one folder; `make` targets must exist."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands(page):
        if words[0] == "make":
            assert words[1] in targets
            continue
        assert words[0] == "x0mesh"
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"


def test_generated_parts_are_up_to_date() -> None:
    generate = runpy.run_path(str(ROOT / "scripts" / "docs.py"))
    for path, text in generate["wanted"]().items():
        assert path.read_text("utf-8") == text, f"{path.name} is stale; run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in known, target


HEAD = {
    "schema": "schema: x0mesh.scenario/1\n",
    "name": "name: snippet\n",
    "topology": "topology: {generator: {kind: random-geometric, nodes: 8, seed: 1}}\n",
}


@pytest.mark.parametrize(
    "snippet", [b for n in ("README.md", "docs/scenarios.md") for b in blocks(ROOT / n, "yaml")]
)
def test_every_snippet_of_the_language_is_valid(snippet: str) -> None:
    head = "".join(text for key, text in HEAD.items() if f"{key}:" not in snippet)
    loads(head + snippet, "snippet")


SECTIONS: list[type[BaseModel]] = [
    model.Scenario,
    model.Run,
    model.Seeds,
    model.TimeLimit,
    model.Identity,
    model.Authority,
    model.Svid,
    model.Revocation,
    model.DataPlane,
    model.Safety,
    model.MaxBlast,
    model.Report,
    timeline.TimelineEntry,
    timeline.Target,
    timeline.AfterEvent,
    timeline.WhenState,
    checks.State,
    checks.Scope,
    checks.From,
    checks.Within,
    checks.Sometimes,
    checks.Slo,
    checks.Agree,
    claims.Claim,
    claims.RateClaim,
    *(field.annotation for field in Protocol.model_fields.values() if field.annotation is not bool),  # type: ignore[misc]
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_of_the_language_is_explained(section: type[BaseModel]) -> None:
    page = (ROOT / "docs" / "scenarios.md").read_text("utf-8")
    for name, field in section.model_fields.items():
        assert re.search(rf"\b{field.alias or name}\b", page), f"{section.__name__}.{name}"


def test_the_protocol_page_has_the_defaults_in_force() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (\S+) \|", page, re.MULTILINE))
    parts: dict[str, Any] = {
        "liveness": config.LivenessConfig(),
        "spf": config.SpfConfig(),
        "flooding": config.FloodingConfig(),
        "damping": config.DampingConfig(),
    }
    wanted = {}
    for part, values in parts.items():
        for field in dataclasses.fields(values):
            value = getattr(values, field.name)
            text = format_duration(value) if field.name.endswith("_ns") else f"{value:g}"
            if isinstance(value, bool):
                text = str(value).lower()
            wanted[f"{part}.{field.name.removesuffix('_ns')}"] = text
    assert rows == wanted


def test_exit_codes_are_the_same_everywhere() -> None:
    from x0mesh import cli

    help_text = cli.cli.help or ""
    for page in (ROOT / "README.md", ROOT / "docs" / "results.md"):
        codes = re.findall(r"^\| (\d+)(?:, (\d+))? \|", page.read_text("utf-8"), re.MULTILINE)
        assert [code for pair in codes for code in pair if code] == [
            "0", "1", "2", "3", "4", "5", "6", "7", "70", "130", "143",
        ]  # fmt: skip
        assert all(re.search(rf"\b{code}\b", help_text) for pair in codes for code in pair if code)


def test_the_report_in_the_readme_is_a_small_picture() -> None:
    (named,) = re.findall(r"!\[[^]]+\]\((\S+)\)", (ROOT / "README.md").read_text("utf-8"))
    picture = (ROOT / named).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 300_000
