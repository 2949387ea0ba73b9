"""Conditions on links that follow a recorded trace."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from x0mesh.scenarios.actions import Action, Direction, LinkBlock, LinkDown, LinkImpair
from x0mesh.scenarios.faults.base import Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.faults.conditions import own_queue
from x0mesh.scenarios.faults.limits import MAX_STEPS, bounded
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import Step
from x0mesh.scenarios.registry import did_you_mean
from x0mesh.scenarios.units import (
    parse_bit_rate,
    parse_duration,
    parse_ratio,
    parse_size,
)

MAX_BYTES: Final = 4 * 2**20
MAX_ROWS: Final = 20_000


def _packets(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:8]) <= 1_000_000:
        raise ValueError(f"expected a number of packets from 1 to 1000000, got {text!r}")
    return int(text)


def _state(text: str) -> str:
    if text not in ("up", "down", "blackhole"):
        raise ValueError(f"expected up, down or blackhole, got {text!r}")
    return text


_COLUMNS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "time": ("", parse_duration),
    "state": ("", _state),
    "delay": ("delay_ns", parse_duration),
    "jitter": ("jitter_ns", parse_duration),
    "loss": ("loss", parse_ratio),
    "rate": ("rate_bps", parse_bit_rate),
    "queue": ("queue", _packets),
    "reorder": ("reorder", parse_ratio),
    "duplicate": ("duplicate", parse_ratio),
    "corrupt": ("corrupt", parse_ratio),
    "mtu": ("mtu", parse_size),
}


@dataclass(frozen=True, slots=True)
class TraceRow:
    """From `at_ns` until the next row. `added` are fields of `Impairment`."""

    at_ns: int
    state: str
    added: tuple[tuple[str, Any], ...]


def read_trace(path: Path, name: str) -> list[TraceRow]:
    """Rows of a trace; ValueError `name:line: what is wrong`, `name` as the user wrote it."""

    def wrong(line: int, message: str) -> ValueError:
        return ValueError(f"{name}:{line}: {message}")

    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{name}: not a file")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{name}: larger than {MAX_BYTES // 2**20} MiB")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name}: not a text file in UTF-8") from None
    reader = csv.reader(text.splitlines(), strict=True)
    header: list[str] | None = None
    rows: list[TraceRow] = []
    try:
        for cells in reader:
            line = reader.line_num
            cells = [cell.strip() for cell in cells]
            if not any(cells) or cells[0].startswith("#"):
                continue
            if header is None:
                header = cells
                for column in header:
                    if column not in _COLUMNS:
                        hint = did_you_mean(column, list(_COLUMNS))
                        raise wrong(line, f"unknown column {column!r}{hint}")
                if len(set(header)) != len(header):
                    raise wrong(line, "the same column twice")
                if "time" not in header or len(header) < 2:
                    raise wrong(line, "needs a column 'time' and at least one other")
                continue
            if len(cells) != len(header):
                raise wrong(line, f"{len(cells)} cells under {len(header)} columns")
            try:
                rows.append(_row(dict(zip(header, cells, strict=True))))
            except ValueError as error:
                raise wrong(line, str(error)) from None
            if len(rows) > 1 and rows[-1].at_ns <= rows[-2].at_ns:
                raise wrong(line, "time does not rise")
            if len(rows) > MAX_ROWS:
                raise wrong(line, f"more than {MAX_ROWS} rows")
    except csv.Error as error:
        raise wrong(reader.line_num, f"not CSV: {error}") from None
    if not rows:
        raise wrong(1, "no rows")
    return rows


def _row(cells: dict[str, str]) -> TraceRow:
    values: dict[str, Any] = {}
    for column, text in cells.items():
        if text == "":
            if column == "time":
                raise ValueError("time: empty")
            continue
        try:
            values[column] = _COLUMNS[column][1](text)
        except ValueError as error:
            raise ValueError(f"{column}: {error}") from None
    added = {_COLUMNS[c][0]: v for c, v in values.items() if c not in ("time", "state")}
    return TraceRow(values["time"], values.get("state", "up"), tuple(added.items()))


@fault
class NetTrace(Fault):
    """The links' conditions follow a CSV file, as recorded on a real link.

    The first line names the columns: `time` (from the fault's start, rising) and any of state
    (up, down: no carrier, blackhole: silent), delay, jitter, loss, rate, queue, reorder,
    duplicate, corrupt, mtu. Cells carry units as scenarios do (1.5s, 20ms, 2%, 5mbit, 1400B;
    queue in packets); an empty cell adds nothing. A row holds until the next, the last until
    the fault ends; rows after its end are not reached. Lines that start with # are comments.
    At most 4 MiB and 20000 rows. `file` is relative to the scenario.
    """

    kind: ClassVar[str] = "net.trace"
    target: ClassVar[TargetKind] = "links"

    file: str
    direction: Direction = "both"

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        rows = read_trace(Path(context.base_dir) / self.file, self.file)
        if rows[0].at_ns >= context.duration_ns:
            raise ValueError(f"{self.file}: the first row lies beyond the fault's end")
        if len(rows) * len(context.links) > MAX_STEPS:
            raise ValueError(f"{self.file}: rows times links is more than {MAX_STEPS}")
        steps: list[Step] = []
        for link in context.links:
            # What goes on is not taken back for an instant between two rows.
            since: dict[Action, int] = {}
            queue = own_queue(context.topology, link)
            for row in rows:
                if row.at_ns >= context.duration_ns:
                    break
                wanted = self._actions(row, link, queue)
                over = [action for action in since if action not in wanted]
                steps += [Step(since.pop(action), action, row.at_ns) for action in over]
                for action in wanted:
                    since.setdefault(action, row.at_ns)
            steps += [Step(at_ns, action) for action, at_ns in since.items()]
        if not steps:
            raise ValueError(f"{self.file}: no row before the fault's end changes anything")
        return bounded(steps)

    def _actions(self, row: TraceRow, link: str, queue: int) -> list[Action]:
        actions: list[Action] = []
        if row.state == "down":
            actions.append(LinkDown(link))
        elif row.state == "blackhole":
            actions.append(LinkBlock(link, self.direction, "drop"))
        if row.added:
            impairment = Impairment(**{"queue": queue, **dict(row.added)})
            actions.append(LinkImpair(link, self.direction, impairment))
        return actions
