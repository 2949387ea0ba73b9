"""What a run says while it lasts and when it ends: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from x0mesh.campaign import Progress
from x0mesh.scenarios.record import Record

if TYPE_CHECKING:
    from rich.progress import Progress as RichBar
    from rich.progress import TaskID

    from x0mesh.reports import Judgement
    from x0mesh.reports.verdict import FaultVerdict

_GREEN, _RED, _YELLOW, _GREY = "green", "red", "yellow", "bright_black"
_COLOURS: Final = {
    "pass": _GREEN,
    "fail": _RED,
    "inconclusive": _YELLOW,
    "error": _RED,
    "aborted": _RED,
    "skipped": _GREY,
    "confirmed": _GREEN,
    "mismatch": _YELLOW,
    "not-fired": _YELLOW,
    "not-armed": _YELLOW,
}
PLAIN_EVERY_S: Final = 10.0


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two spaces apart, the last one as long as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


@contextmanager
def progress(name: str, total: int) -> Iterator[Progress]:
    """A bar on a terminal; elsewhere a line at the start and one every ten seconds."""
    if not sys.stdout.isatty():
        click.echo(f"{name}: {_replications(total)} on sim")
        yield _Lines(name, total)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    # No thread of its own: workers are forked while it shows.
    bar = Bar(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        auto_refresh=False,
        transient=True,
    )
    with bar:
        yield _Live(bar, bar.add_task(name, total=total))


class _Lines:
    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = total
        self._finished = 0
        self._said_s = time.monotonic()

    def done(self, record: Record) -> None:
        self._finished += 1
        if self._finished < self._total:
            self.tick()

    def tick(self, share: float = 0.0) -> None:
        if time.monotonic() - self._said_s >= PLAIN_EVERY_S:
            self._said_s = time.monotonic()
            click.echo(f"{self._name}: {self._finished} of {_replications(self._total)} finished")


class _Live:
    def __init__(self, bar: RichBar, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._finished = 0
        self._drawn_s = 0.0

    def done(self, record: Record) -> None:
        self._finished += 1
        self._bar.update(self._task, completed=self._finished, refresh=True)

    def tick(self, share: float = 0.0) -> None:
        if time.monotonic() - self._drawn_s >= 0.1:
            self._drawn_s = time.monotonic()
            self._bar.update(self._task, completed=self._finished + share, refresh=True)


def print_verdict(name: str, judgement: Judgement, folder: Path) -> None:
    """A line per check and fault, why it is not a pass, the verdict, and where the report is."""
    rows: list[tuple[str, ...]] = [
        ("check", check.id, check.engine, check.verdict, " ".join(check.finding.reason.split()))
        for check in judgement.checks
    ]
    rows += [
        ("fault", fault.id, fault.engine, fault.evidence, _lives(fault))
        for fault in judgement.faults
    ]
    if rows:
        for line, row in zip(table(rows).splitlines(), rows, strict=True):
            head, word, tail = line.partition(f"  {row[3]}")
            click.echo(head + click.style(word, fg=_COLOURS.get(row[3])) + tail)
    for note in judgement.notes:
        click.secho(f"note: {note}", fg=_GREY)
    for reason in judgement.reasons:
        click.echo(f"because: {reason}")
    for check in judgement.checks:
        if check.verdict == "fail" and check.replay:
            click.echo(f"replay {check.id}: {check.replay}")
    passed = sum(run.verdict == "pass" for run in judgement.runs)
    verdict = click.style(judgement.verdict, fg=_COLOURS.get(judgement.verdict), bold=True)
    click.echo(f"{name}: {verdict} ({passed} of {_replications(len(judgement.runs))} passed)")
    if (report := folder / "report.html").exists():
        click.echo(f"report: {report}")


def _lives(fault: FaultVerdict) -> str:
    began = sum(instance.started is not None for instance in fault.instances)
    shown = sum(instance.evidence == fault.evidence for instance in fault.instances)
    took_place = f"in {shown} of {_replications(len(fault.instances))}"
    return f"{took_place}, undo {fault.undo}" if began else took_place


def counted(n: int, what: str) -> str:
    """'1 link', '3 links'."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _replications(n: int) -> str:
    return counted(n, "replication")
