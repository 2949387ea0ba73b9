"""What a run says while it lasts and when it ends: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.record import Record

if TYPE_CHECKING:
    from x0mesh.reports import Judgement

_COLOURS = {
    "pass": "green",
    "fail": "red",
    "inconclusive": "yellow",
    "error": "red",
    "aborted": "red",
    "skipped": "dim",
}
PLAIN_WIDTH = 160


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


@contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[Record], None]]:
    """Yields what to call with each finished record."""
    console = _console()
    if not console.is_terminal:
        console.print(f"{name}: {total} replications on sim")
        yield lambda record: None
        return
    bar = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(name, total=total)
    with bar:
        yield lambda record: bar.advance(task)


def _verdict(word: str) -> Text:
    return Text(word, style=_COLOURS.get(word, ""))


def print_verdict(scenario: Scenario, judgement: Judgement, folder: Path) -> None:
    """A line per check and fault, why it is not a pass, the verdict, and where the report is."""
    console = _console()
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in judgement.checks:
        table.add_row(
            "check", check.id, check.engine, _verdict(check.verdict), Text(check.finding.reason)
        )
    for fault in judgement.faults:
        times = f"{len(fault.instances)} replications, undo {fault.undo}"
        table.add_row("fault", fault.id, fault.engine, Text(fault.evidence), Text(times))
    console.print(table)
    for note in judgement.notes:
        console.print(Text(f"note: {note}", style="dim"))
    for reason in judgement.reasons:
        console.print(Text(f"because: {reason}"))
    for check in judgement.checks:
        if check.verdict == "fail" and check.replay:
            console.print(Text(f"replay {check.id}: {check.replay}"), soft_wrap=True)
    runs = len(judgement.runs)
    passed = sum(run.verdict == "pass" for run in judgement.runs)
    line = Text(f"{scenario.name}: ")
    line.append(judgement.verdict, style=f"bold {_COLOURS.get(judgement.verdict, '')}")
    line.append(f" ({passed} of {runs} replications passed)")
    console.print(line)
    console.print(Text(f"report: {folder / 'report.html'}"), soft_wrap=True)
