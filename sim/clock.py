"""One simulated clock for SimPy processes and for millions of plain entries.

SimPy's queue holds scenario processes (faults, phases); deliveries and timers go into a calendar
queue of tuples beside it. Both are worked off in one order that no insertion order can change.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any, Final

import simpy
from simpy.events import NORMAL, EventPriority

Entry = tuple[int, int, Callable[[Any], None], Any]
"""(time_ns, order, function, argument); `order` from `Clock.order`, unique at its instant."""

DELIVERY: Final = 1
LEASE: Final = 2
TIMER: Final = 3
NODE: Final = 4
"""Classes of entries at one instant: what arrives counts before what times out."""

_BUCKET_BITS: Final = 20  # calendar buckets of 2**20 ns, about 1 ms
_COUNTER_BITS: Final = 40
_RANK_BITS: Final = 24
_NEVER: Final = 2**63


class _Buckets(dict[int, list[Entry]]):
    """Entries by time / 2**20 ns; a new bucket's index also goes into the heap `indices`."""

    def __init__(self, indices: list[int]) -> None:
        super().__init__()
        self._indices = indices

    def __missing__(self, index: int) -> list[Entry]:
        heappush(self._indices, index)
        bucket = self[index] = []
        return bucket


class Clock(simpy.Environment):
    """A SimPy environment in integer nanoseconds with a calendar queue (Brown 1988) beside it.

    Order at one instant: SimPy's events first, by priority, rank of the scheduling process and
    its own counter; then plain entries by class, rank of the entity and its own counter.
    """

    now_ns: int = property(attrgetter("_now"), doc="Simulated time.")  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(0)
        self.entries = 0
        self._indices: list[int] = []  # heap of the buckets there are
        self._buckets = _Buckets(self._indices)
        self._bucket = -1
        self._current: list[Entry] = []  # the bucket being worked off, latest first
        self._late: list[Entry] = []  # heap of what was pushed into it since
        self._horizon = _NEVER
        self._spawning: int | None = None
        self._counters: dict[int, int] = {}

    @staticmethod
    def order(kind: int, rank: int) -> int:
        """First order key of an entity; it adds one for each entry it pushes."""
        assert 0 <= rank < 1 << _RANK_BITS
        return (kind << _RANK_BITS | rank) << _COUNTER_BITS

    def push(
        self, time_ns: int, order: int, function: Callable[[Any], None], argument: Any
    ) -> None:
        """Call `function(argument)` at `time_ns`, which must not be in the past."""
        index = time_ns >> _BUCKET_BITS
        if index > self._bucket:
            self._buckets[index].append((time_ns, order, function, argument))
        else:
            assert time_ns >= self._now, "an entry cannot lie in the past"
            heappush(self._late, (time_ns, order, function, argument))

    def spawn(self, rank: int, generator: Generator[Any, Any, Any]) -> simpy.Process:
        """Start a SimPy process; at equal times the smaller rank goes first."""
        outer, self._spawning = self._spawning, rank
        process = self.process(generator)
        process.rank = rank  # type: ignore[attr-defined]
        self._spawning = outer
        return process

    def schedule(
        self,
        event: simpy.Event,
        priority: EventPriority = NORMAL,
        delay: float = 0,
    ) -> None:
        rank = self._spawning
        if rank is None:
            rank = getattr(self._active_proc, "rank", 0)
        counter = self._counters[rank] = self._counters.get(rank, 0) + 1
        at = self._now + delay
        assert type(at) is int, "simulated time is integer nanoseconds"
        key: Any = (rank, counter)
        heappush(self._queue, (at, priority, key, event))
        if at < self._horizon:
            self._horizon = at

    def run_until(self, until_ns: int) -> None:
        """Work off everything before `until_ns` and stop there."""
        assert until_ns >= self._now
        queue = self._queue
        while True:
            head: Any = queue[0][0] if queue else until_ns
            self._horizon = min(head, until_ns)
            self._drain()
            if not queue or queue[0][0] >= until_ns:
                break
            self.step()
            self.entries += 1
        self._now = until_ns

    def _drain(self) -> None:
        """Work off plain entries before the horizon, which `schedule` may bring forward."""
        current, late = self._current, self._late
        count = 0
        while True:
            if late and (not current or late[0] < current[-1]):
                entry = heappop(late)
            elif current:
                entry = current.pop()
            elif self._indices and self._indices[0] << _BUCKET_BITS < self._horizon:
                self._bucket = heappop(self._indices)
                current = self._current = self._buckets.pop(self._bucket)
                current.sort(reverse=True)
                continue
            else:
                break
            time_ns, _, function, argument = entry
            if time_ns >= self._horizon:
                heappush(late, entry)
                break
            self._now = time_ns
            count += 1
            function(argument)
        self.entries += count

    @property
    def backlog(self) -> int:
        """Entries waiting in both queues."""
        buckets = sum(map(len, self._buckets.values()))
        return len(self._queue) + buckets + len(self._current) + len(self._late)
