"""Runs replications, in this process or in several, and survives what happens to them.

Each replication is a pure function of its plan, so neither the number of workers nor the order
in which they finish changes a result.
"""

from __future__ import annotations

import mmap
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Literal, Protocol

from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.record import Record
from x0mesh.workers import WorkerDied, in_processes

STOPPED = "stopped by the user"


class Progress(Protocol):
    """Is told of each finished replication, and now and then that time passes."""

    def done(self, record: Record) -> None: ...

    def tick(self, share: float = 0.0) -> None:
        """`share` of the present replication, 0..1, where one process runs them all."""
        ...


class Interruption:
    """Set by the first SIGINT or SIGTERM; seen by all processes forked after it was made.

    A byte of shared memory and not a lock: a worker may be killed at any instruction, and a
    signal handler may interrupt any.
    """

    def __init__(self) -> None:
        self._flag = mmap.mmap(-1, 1)
        self.signal_number = 0

    @property
    def is_set(self) -> bool:
        return self._flag[0] != 0

    def set(self, signal_number: int) -> None:
        self.signal_number = signal_number
        self._flag[0] = 1


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """While inside, the first SIGINT or SIGTERM only sets what is yielded; the second raises
    KeyboardInterrupt."""
    stop = Interruption()

    def note(number: int, frame: object) -> None:
        if stop.is_set:
            raise KeyboardInterrupt
        stop.set(number)

    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def available_cpus() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def simulate(
    plans: Sequence[Plan],
    workers: int,
    time_limit_s: float | None,
    stop: Interruption,
    progress: Progress,
) -> list[Record]:
    """One Record per plan, in their order.

    A replication that raises, or whose worker dies, becomes a Record with status `error`; one
    that `stop` cuts short or keeps from beginning has status `aborted`.
    """
    if workers <= 1 or len(plans) <= 1:
        found = []
        for plan in plans:
            found.append(_replicate(plan, time_limit_s, stop, progress.tick))
            progress.done(found[-1])
        return found

    def run(place: int) -> Record:
        return _replicate(plans[place], time_limit_s, stop)

    records: dict[int, Record] = {}
    with closing(in_processes(run, len(plans), min(workers, len(plans)), progress.tick)) as results:
        for place, result in results:
            record = (
                _unfinished(plans[place], "error", str(result))
                if isinstance(result, WorkerDied)
                else result
            )
            records[place] = record
            progress.done(record)
    return [records[place] for place in sorted(records)]


def _replicate(
    plan: Plan,
    time_limit_s: float | None,
    stop: Interruption,
    tick: Callable[[float], None] | None = None,
) -> Record:
    from x0mesh import sim

    if stop.is_set:
        return _unfinished(plan, "aborted", f"{STOPPED} before it began")
    began = time.monotonic()
    over_time = False

    def why_stop() -> str | None:
        nonlocal over_time
        if stop.is_set:
            return STOPPED
        if time_limit_s is not None and time.monotonic() - began > time_limit_s:
            over_time = True
            return f"time limit of {time_limit_s:g} s reached"
        return None

    try:
        record: Record = sim.run(plan, stop=why_stop, progress=tick)
    except Exception:
        return _unfinished(plan, "error", traceback.format_exc(limit=-3).strip())
    if over_time:
        record.status = "error"
    return record


def _unfinished(plan: Plan, status: Literal["aborted", "error"], reason: str) -> Record:
    return Record(
        engine="sim",
        seed=plan.seed,
        replication=plan.replication,
        warmup_end_ns=plan.warmup_ns,
        chaos_end_ns=plan.chaos_end_ns,
        end_ns=0,
        status=status,
        reason=reason,
    )
