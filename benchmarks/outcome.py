"""Comparisons as a table on the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import simpy
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import Comparison, Row
from x0mesh.campaign import available_cpus

HEADINGS = ("part", "figure", "median", "min to max", "ratio", "min to max")


def machine() -> str:
    """What the figures were measured on."""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{available_cpus()} cores, {system}, {python}, SimPy {simpy.__version__}"


def show(comparison: Comparison, console: Console) -> None:
    """Print one comparison."""
    table = Table(*HEADINGS, title=_title(comparison), title_justify="left")
    for cells in _cells(comparison):
        table.add_row(*cells)
    console.print(table)
    for miss in comparison.misses:
        console.print(f"[bold red]missed:[/] {miss}")


def write(comparisons: list[Comparison], folder: Path) -> None:
    """Write `results.json` and `results.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "comparisons": [_as_json(each) for each in comparisons]}
    (folder / "results.json").write_text(json.dumps(document, indent=2) + "\n")
    (folder / "results.md").write_text(markdown(comparisons))


def markdown(comparisons: list[Comparison]) -> str:
    """A section with a table per comparison."""
    lines = [f"Machine: {machine()}.", ""]
    for comparison in comparisons:
        lines += [f"## {_title(comparison)}", "", comparison.benchmark.question, ""]
        lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
        lines += ["| " + " | ".join(cells) + " |" for cells in _cells(comparison)]
        lines += ["", *(f"- {note}" for note in comparison.benchmark.notes)]
        lines += [f"- **Missed**: {miss}." for miss in comparison.misses]
        lines.append("")
    return "\n".join(lines)


def _title(comparison: Comparison) -> str:
    benchmark, size = comparison.benchmark, comparison.size
    return (
        f"{benchmark.name}: {size.amount:,} {benchmark.size_unit}, {size.repetitions} repetitions"
    )


def _cells(comparison: Comparison) -> list[tuple[str, ...]]:
    benchmark = comparison.benchmark
    figures = (benchmark.figure, *benchmark.extras)
    rows: list[tuple[str, ...]] = []
    for row in comparison.rows:
        for figure in figures:
            found = row.figures[figure.title]
            ratio = _ratio(row) if figure is figures[0] else ("", "")
            name = row.part if figure is figures[0] else ""
            cells = (name, f"{figure.title}, {figure.unit}", _number(found.median))
            rows.append((*cells, f"{_number(found.low)} to {_number(found.high)}", *ratio))
    return rows


def _ratio(row: Row) -> tuple[str, str]:
    if row.ratio is None:
        return "reference", ""
    return f"{row.ratio.median:.2f}", f"{row.ratio.low:.2f} to {row.ratio.high:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _as_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "name": comparison.benchmark.name,
        "question": comparison.benchmark.question,
        comparison.benchmark.size_unit: comparison.size.amount,
        "repetitions": comparison.size.repetitions,
        "required_ratio": comparison.size.required_ratio,
        "reference": comparison.reference,
        "units": {
            figure.title: figure.unit
            for figure in (comparison.benchmark.figure, *comparison.benchmark.extras)
        },
        "parts": [
            {
                "part": row.part,
                "figures": {name: asdict(spread) for name, spread in row.figures.items()},
                "ratio": None if row.ratio is None else asdict(row.ratio),
                "counts": row.counts,
            }
            for row in comparison.rows
        ],
        "misses": list(comparison.misses),
    }
