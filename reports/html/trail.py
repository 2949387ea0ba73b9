"""Why it healed: one replication's events around a fault, in the order they happened, grouped.

Fault, detection, decision, repair, flooding, route computation, and the flow back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from x0mesh.reports.observation import FaultLife, Observation
from x0mesh.reports.words import count, figure, listed
from x0mesh.scenarios.record import Event

MOST_ROWS = 36
GAP_NS = 250_000_000
"""Events alike and closer than this are one row."""

TOLD: Final[dict[str, str]] = {
    "fault.started": "fault",
    "fault.ended": "fault ends",
    "fault.undone": "taken back",
    "path.lost": "no path left",
    "path.offered": "path offered again",
    "flow.lost": "flow lost",
    "liveness.down": "detected",
    "liveness.up": "session up",
    "session.refused": "refused",
    "healing.decision": "decided",
    "route.repaired": "repaired locally",
    "lsa.originated": "told the others",
    "spf.run": "recomputed",
    "route.changed": "new routes",
    "adjacency.full": "adjacency full",
    "flow.restored": "flow back",
}


@dataclass(slots=True)
class Row:
    """Events of one kind, and for most kinds one reason, that happened together."""

    kind: str
    events: list[Event] = field(default_factory=list)

    @property
    def first_ns(self) -> int:
        return self.events[0].t_ns

    @property
    def last_ns(self) -> int:
        return self.events[-1].t_ns


@dataclass(frozen=True, slots=True)
class Line:
    """A row in words: when (after the fault's start), what, where, details."""

    when: str
    what: str
    where: str
    detail: str
    kind: str


@dataclass(frozen=True, slots=True)
class Trail:
    """One fault's story. `left_out` rows did not fit."""

    fault: str
    kind: str
    started: str
    summary: str
    lines: tuple[Line, ...]
    left_out: int


def trail(seen: Observation, life: FaultLife) -> Trail:
    """From the fault's start until a second after its end, or until the next fault."""
    start_ns = life.started_ns
    until_ns = min(seen.end_of(life) + 1_000_000_000, seen.next_strike(start_ns, life.name))
    rows = _rows(
        [
            event
            for event in seen.record.events
            if start_ns <= event.t_ns < until_ns
            and event.kind in TOLD
            and event.fault in ("", life.name)
        ]
    )
    shown = rows[:MOST_ROWS]
    return Trail(
        life.name,
        life.record.kind,
        figure(start_ns / 1e9, "s"),
        _summary(rows, start_ns),
        tuple(_line(row, start_ns) for row in shown),
        len(rows) - len(shown),
    )


def _rows(events: Sequence[Event]) -> list[Row]:
    rows: list[Row] = []
    open_rows: dict[tuple[str, str], Row] = {}
    for event in events:
        key = (event.kind, _likeness(event))
        row = open_rows.get(key)
        if row is None or event.t_ns - row.last_ns > GAP_NS:
            row = Row(event.kind)
            rows.append(row)
            open_rows[key] = row
        row.events.append(event)
    return rows


def _likeness(event: Event) -> str:
    """What events of a row have in common. Decisions and advertisements name links in their
    reasons; the word before the colon is what was decided."""
    if event.kind == "lsa.originated":
        return ""
    return event.reason.partition(":")[0]


def _line(row: Row, start_ns: int) -> Line:
    first, last = (figure((t - start_ns) / 1e9, "s") for t in (row.first_ns, row.last_ns))
    when = f"+{first}" if first == last else f"+{first} … {last}"
    return Line(when, TOLD[row.kind], _where(row), _detail(row), row.kind)


def _where(row: Row) -> str:
    if row.kind.startswith(("flow.", "path.")):
        return listed(_distinct(e.flow for e in row.events))
    places = _distinct(
        f"{e.node} (link {e.link})" if e.link and len(row.events) < 4 else e.node or e.link
        for e in row.events
    )
    if not places:
        return listed(_distinct(e.fault for e in row.events))
    return listed(places) if len(places) <= 4 else f"{len(places)} nodes, first {places[0]}"


def _detail(row: Row) -> str:
    total = sum(e.value for e in row.events if e.value is not None)
    match row.kind:
        case "route.repaired":
            text = f"{count(round(total), 'route')} switched to the repair"
        case "route.changed":
            text = f"{count(round(total), 'route')} installed"
        case "spf.run":
            relabelled = count(round(total), "node")
            text = f"{count(len(row.events), 'computation')}, {relabelled} relabelled"
        case "lsa.originated":
            text = count(len(row.events), "advertisement")
        case _:
            text = ""
    reasons = _distinct(e.reason for e in row.events)
    if len(reasons) > 1:
        reasons = [f"{reasons[0]} (and {len(reasons) - 1} alike)"]
    return ": ".join(part for part in (text, *reasons) if part)


def _summary(rows: Sequence[Row], start_ns: int) -> str:
    """The chain in one sentence, of the steps that happened."""
    steps = (
        ("liveness.down", "detected after {}"),
        ("route.repaired", "repaired after {}"),
        ("lsa.originated", "others told after {}"),
        ("flow.restored", "first flow back after {}"),
    )
    parts = []
    for kind, text in steps:
        row = next((row for row in rows if row.kind == kind), None)
        if row is not None:
            parts.append(text.format(figure((row.first_ns - start_ns) / 1e9, "s")))
    computed = [row for row in rows if row.kind == "route.changed"]
    if computed:
        last = max(row.last_ns for row in computed)
        parts.append(f"last new route after {figure((last - start_ns) / 1e9, 's')}")
    return ", ".join(parts) or "no reaction was recorded"


def _distinct(names: Iterable[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name]
