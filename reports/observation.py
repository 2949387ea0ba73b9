"""One replication made ready for measuring: its events by kind, its faults' real times, and the
part of its time that is judged. Everything is derived from a Plan and a Record, nothing added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from x0mesh.scenarios.actions import (
    Action,
    LinkBlock,
    LinkDown,
    LinkImpair,
    NodeDrain,
    NodePause,
    NodeSlow,
    NodeStop,
)
from x0mesh.scenarios.plan import FaultPlan, LinkPlan, Plan
from x0mesh.scenarios.record import Event, EvidenceStatus, FaultRecord, Record

Span = tuple[int, int]
"""[from, to) in ns."""

AFTERMATH_NS = 1_000_000_000
"""What a lost session is still blamed on: leases run out, and channels break, a little after
the action that starved them was taken back."""


def without(spans: Iterable[Span], holes: Sequence[Span]) -> list[Span]:
    """The spans less the holes; empty ones are dropped."""
    left = [s for s in spans if s[0] < s[1]]
    for hole_from, hole_to in holes:
        cut: list[Span] = []
        for start, end in left:
            cut.append((start, min(end, hole_from)))
            cut.append((max(start, hole_to), end))
        left = [s for s in cut if s[0] < s[1]]
    return sorted(left)


def common(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    """Where both lists of spans overlap."""
    both = [(max(a, c), min(b, d)) for a, b in first for c, d in second]
    return sorted(s for s in both if s[0] < s[1])


@dataclass(frozen=True, slots=True)
class Strike:
    """One action of a fault as it really ran, in absolute time."""

    t_ns: int
    until_ns: int
    action: Action


@dataclass(frozen=True, slots=True)
class Cut:
    """A link whose keep-alives stop, and the ends that have to notice."""

    link: str
    ends: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class FaultLife:
    """A fault that took effect. `ended_ns` None: it lasts beyond the replication."""

    record: FaultRecord
    started_ns: int
    ended_ns: int | None
    strikes: tuple[Strike, ...]

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def instants(self) -> tuple[int, ...]:
        """When it acted, ascending, each once."""
        return tuple(sorted({s.t_ns for s in self.strikes})) or (self.started_ns,)


class Observation:
    """A Plan and the Record of its run, indexed. Treat both as read-only."""

    def __init__(self, plan: Plan, record: Record) -> None:
        if plan.seed != record.seed:
            raise ValueError(f"the plan's seed is {plan.seed}, the record's {record.seed}")
        self.plan = plan
        self.record = record

    @cached_property
    def _by_kind(self) -> dict[str, list[Event]]:
        by_kind: dict[str, list[Event]] = {}
        for event in self.record.events:
            by_kind.setdefault(event.kind, []).append(event)
        return by_kind

    def events(self, *kinds: str) -> list[Event]:
        """Events of these kinds in time order."""
        found = [e for kind in kinds for e in self._by_kind.get(kind, [])]
        return found if len(kinds) == 1 else sorted(found, key=lambda e: e.t_ns)

    @cached_property
    def links(self) -> dict[str, LinkPlan]:
        return {link.name: link for link in self.plan.links}

    @cached_property
    def links_of(self) -> dict[str, list[LinkPlan]]:
        links: dict[str, list[LinkPlan]] = {node.name: [] for node in self.plan.nodes}
        for link in self.plan.links:
            links[link.a].append(link)
            links[link.b].append(link)
        return links

    @cached_property
    def planned(self) -> dict[str, FaultPlan]:
        return {fault.name: fault for fault in self.plan.faults}

    def status(self, fault: FaultPlan) -> tuple[EvidenceStatus, str]:
        """What became of a planned fault, and why in words."""
        if not fault.armed:
            return "not-armed", "left out by this seed's draw"
        for engine, why in fault.skip:
            if engine == self.record.engine:
                return "skipped", why
        for found in self.record.faults:
            if found.name == fault.name:
                status = found.status
                bad = [e for e in found.evidence if e.status == status]
                if bad:
                    return status, f"{bad[0].action} on {bad[0].target}: {bad[0].observed}"
                return status, "" if status == "confirmed" else "no evidence was recorded"
        return "mismatch", "the engine kept no record of it"

    @cached_property
    def lives(self) -> list[FaultLife]:
        """Faults that started, by start time."""
        lives = []
        for found in self.record.faults:
            if found.started_ns is None:
                continue
            end_ns = self.record.end_ns if found.ended_ns is None else found.ended_ns
            planned = self.planned.get(found.name)
            strikes = []
            for step in planned.steps if planned else ():
                start_ns = found.started_ns + step.offset_ns
                if start_ns > end_ns:
                    continue
                until_ns = end_ns
                if step.until_ns is not None:
                    until_ns = min(end_ns, found.started_ns + step.until_ns)
                if isinstance(step.action, NodeStop) and step.action.restart == "never":
                    until_ns = self.record.end_ns
                strikes.append(Strike(start_ns, until_ns, step.action))
            lives.append(FaultLife(found, found.started_ns, found.ended_ns, tuple(strikes)))
        return sorted(lives, key=lambda life: life.started_ns)

    def window(self, fault: str) -> Span | None:
        """While the fault lasted; None if it never started."""
        for life in self.lives:
            if life.name == fault:
                return life.started_ns, self.end_of(life)
        return None

    def end_of(self, life: FaultLife) -> int:
        return self.record.end_ns if life.ended_ns is None else life.ended_ns

    def next_strike(self, after_ns: int, other_than: str) -> int:
        """When another fault acts next, or the replication's end."""
        later = [
            t
            for life in self.lives
            if life.name != other_than
            for t in life.instants
            if t > after_ns
        ]
        return min(later, default=self.record.end_ns)

    def cuts(self, life: FaultLife) -> list[Cut]:
        """Links that fell silent, in the order of its steps."""
        return [cut for strike in life.strikes for cut in self._cuts_of(strike)]

    def _cuts_of(self, strike: Strike) -> list[Cut]:
        span = (strike.t_ns, strike.until_ns)
        match strike.action:
            case LinkDown(link=name) | LinkBlock(link=name):
                link = self.links[name]
                return [Cut(name, (link.a, link.b), span)]
            case LinkImpair(link=name, impairment=added) if added.loss >= 1.0:
                link = self.links[name]
                return [Cut(name, (link.a, link.b), span)]
            case NodeStop(node=node) | NodePause(node=node):
                links = self.links_of.get(node, [])
                return [Cut(li.name, (li.b if li.a == node else li.a,), span) for li in links]
            case _:
                return []

    @cached_property
    def disturbed(self) -> dict[str, list[Span]]:
        """When each link's sessions may fail without being blamed: some fault acted on the link
        or on a node at its end, or did until `AFTERMATH_NS` ago."""
        spans: dict[str, list[Span]] = {}
        for life in self.lives:
            for strike in life.strikes:
                for link in self._touched_by(strike.action):
                    spans.setdefault(link, []).append((strike.t_ns, strike.until_ns + AFTERMATH_NS))
        return spans

    def _touched_by(self, action: Action) -> list[str]:
        match action:
            case LinkDown(link=name) | LinkBlock(link=name) | LinkImpair(link=name):
                return [name]
            case NodeStop(node=node) | NodePause(node=node) | NodeSlow(node=node):
                return [link.name for link in self.links_of.get(node, [])]
            case NodeDrain():
                return []


@dataclass(frozen=True, slots=True)
class View:
    """A replication from `from_ns` on, without the time and samples of the excluded faults;
    `during` limits it to the time of these faults."""

    seen: Observation
    from_ns: int
    excluding: tuple[str, ...] = ()
    during: tuple[str, ...] | None = None

    @classmethod
    def of(cls, seen: Observation, excluding: tuple[str, ...] = ()) -> View:
        """From the end of warmup, which is never judged."""
        return cls(seen, seen.record.warmup_end_ns, excluding)

    @property
    def plan(self) -> Plan:
        return self.seen.plan

    @property
    def record(self) -> Record:
        return self.seen.record

    def _windows(self, faults: tuple[str, ...]) -> list[Span]:
        windows = (self.seen.window(fault) for fault in faults)
        return [w for w in windows if w is not None]

    @property
    def spans(self) -> list[Span]:
        """Judged time, in order and without overlaps."""
        spans = [(self.from_ns, self.record.end_ns)]
        if self.during is not None:
            spans = without(spans, without(spans, self._windows(self.during)))
        return without(spans, self._windows(self.excluding))

    @property
    def lives(self) -> list[FaultLife]:
        """Faults that started in judged time."""
        spans = self.spans
        return [
            life
            for life in self.seen.lives
            if life.name not in self.excluding
            and any(start <= life.started_ns < end for start, end in spans)
        ]
