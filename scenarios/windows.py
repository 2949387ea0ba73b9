"""When each fault of a timeline may start and end, before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from x0mesh.scenarios.fields import edge
from x0mesh.scenarios.registry import did_you_mean
from x0mesh.scenarios.timeline import TimelineEntry
from x0mesh.scenarios.units import format_duration

QUIET_END_NS: Final = 5_000_000_000
"""Chaos of default length goes on this long after the last fault's end."""

Mistake = tuple[tuple[str | int, ...], str]
"""Path inside the scenario, message."""


@dataclass(frozen=True, slots=True)
class Window:
    """A fault's times in ns from the start of chaos.

    `start_ns` and `latest_start_ns` are equal where the start does not depend on the run.
    `end_ns` is the latest end, at most the end of chaos.
    """

    start_ns: int
    latest_start_ns: int
    end_ns: int
    certain: bool


@dataclass(frozen=True, slots=True)
class Windows:
    """`of` has the windows of all faults without mistakes, in the timeline's order."""

    chaos_ns: int
    of: dict[str, Window]
    mistakes: tuple[Mistake, ...]


def windows(timeline: Sequence[TimelineEntry], chaos_ns: int | None) -> Windows:
    """Follows every `after` and `when`; `chaos_ns` None is the default length."""
    starts = _Starts(timeline)
    starts.follow_all()
    found = {
        entry.id: start for entry in timeline if (start := starts.found.get(entry.id)) is not None
    }
    if chaos_ns is None:
        ends = [start[1] + (starts.entry[name].for_ or 0) for name, start in found.items()]
        chaos_ns = max(ends, default=0) + QUIET_END_NS
    of: dict[str, Window] = {}
    mistakes = list(starts.mistakes)
    for name, (first, last, certain) in found.items():
        entry, index = starts.entry[name], starts.index[name]
        if first >= chaos_ns:
            word = next(w for w in ("at", "after", "when") if getattr(entry, w) is not None)
            mistakes.append(
                (
                    ("timeline", index, word),
                    f"'{name}' starts at {format_duration(first)}, beyond the chaos phase "
                    f"({format_duration(chaos_ns)})",
                )
            )
        elif entry.for_ is not None and first + entry.for_ > chaos_ns:
            mistakes.append(
                (
                    ("timeline", index, "for"),
                    f"'{name}' runs past the chaos phase ({format_duration(first + entry.for_)} "
                    f"> {format_duration(chaos_ns)})",
                )
            )
        else:
            end_ns = chaos_ns if entry.for_ is None else min(chaos_ns, last + entry.for_)
            of[name] = Window(first, min(last, chaos_ns), end_ns, certain)
    return Windows(chaos_ns, of, tuple(mistakes))


class _Starts:
    """Earliest and latest start of every fault, following references once each."""

    def __init__(self, timeline: Sequence[TimelineEntry]) -> None:
        self.entry = {entry.id: entry for entry in timeline}
        self.index = {entry.id: index for index, entry in enumerate(timeline)}
        self.found: dict[str, tuple[int, int, bool] | None] = {}
        self.mistakes: list[Mistake] = []

    def follow_all(self) -> None:
        """Iterative, for a chain may be longer than Python's stack."""
        for name in self.entry:
            chain = [name]
            while chain:
                here = chain[-1]
                reference = self._reference(here)
                if here in self.found:
                    chain.pop()
                elif reference is None or reference not in self.entry or reference in self.found:
                    self.found[here] = self._start(here, reference)
                    chain.pop()
                elif reference in chain:
                    circle = [*chain[chain.index(reference) :], reference]
                    self._mistake(here, f"faults wait for each other: {' -> '.join(circle)}")
                    self.found.update(dict.fromkeys(chain))
                    chain.clear()
                else:
                    chain.append(reference)

    def _event(self, name: str) -> str | None:
        entry = self.entry[name]
        if entry.after is not None:
            return entry.after.event
        return entry.when.after if entry.when is not None else None

    def _reference(self, name: str) -> str | None:
        event = self._event(name)
        return None if event is None else edge(event)[0]

    def _mistake(self, name: str, message: str) -> None:
        entry = self.entry[name]
        where = ("after", "event") if entry.after is not None else ("when", "after")
        self.mistakes.append((("timeline", self.index[name], *where), message))

    def _start(self, name: str, reference: str | None) -> tuple[int, int, bool] | None:
        entry = self.entry[name]
        if entry.at is not None:
            return entry.at, entry.at, True
        first, last, certain = 0, 0, True
        if reference is not None:
            if reference not in self.entry:
                hint = did_you_mean(reference, list(self.entry))
                self._mistake(name, f"names no fault: '{reference}'{hint}")
                return None
            start = self.found[reference]
            if start is None:
                return None
            first, last, certain = start
            if self._event(name) == f"{reference}.ended":
                lasts_ns = self.entry[reference].for_
                if lasts_ns is None:
                    self._mistake(
                        name, f"'{reference}' has no for:, so it ends with the chaos phase"
                    )
                    return None
                first, last = first + lasts_ns, last + lasts_ns
        if entry.when is not None:
            return first, last + entry.when.give_up, False
        assert entry.after is not None
        return first + entry.after.delay, last + entry.after.delay, certain
