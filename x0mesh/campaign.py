"""Runs replications, in this process or in several, and survives what happens to them.

Each replication is a pure function of its plan, so neither the number of workers nor the order
in which they finish changes a result.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event as StopEvent

from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.record import Record

Done = Callable[[Record], None]

_stop: StopEvent | None = None


@dataclass(slots=True)
class Interrupted(Exception):  # noqa: N818 -- a signal, not an error
    """The user stopped the campaign; `records` holds what there is, in plan order."""

    signal_number: int
    records: list[Record]


def available_cpus() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def simulate(
    plans: Sequence[Plan], workers: int, time_limit_s: float | None, done: Done
) -> list[Record]:
    """One Record per plan, in their order; `done` is told of each as it finishes.

    A replication that raises, or whose worker dies, becomes a Record with status `error`.
    Raises Interrupted on SIGINT or SIGTERM, with what was recorded until then.
    """
    stop = multiprocessing.get_context("fork").Event()
    with _signals_set(stop) as caught:
        if workers <= 1 or len(plans) <= 1:
            records = []
            for plan in plans:
                if caught:
                    break
                records.append(_replicate(plan, time_limit_s, stop))
                done(records[-1])
        else:
            records = _in_processes(plans, workers, time_limit_s, stop, done)
    if caught:
        raise Interrupted(caught[0], records)
    return records


def _in_processes(
    plans: Sequence[Plan],
    workers: int,
    time_limit_s: float | None,
    stop: StopEvent,
    done: Done,
) -> list[Record]:
    records: dict[int, Record] = {}
    pool = ProcessPoolExecutor(
        min(workers, len(plans)), multiprocessing.get_context("fork"), _worker, (stop,)
    )
    with pool:
        places: dict[Future[Record], int] = {
            pool.submit(_in_worker, plan, time_limit_s): place for place, plan in enumerate(plans)
        }
        for future in as_completed(places):
            place = places[future]
            try:
                records[place] = future.result()
            except BrokenProcessPool:
                records[place] = _failed(plans[place], "its worker process died")
            done(records[place])
    return [records[place] for place in sorted(records)]


def _worker(stop: StopEvent) -> None:
    # The terminal signals the whole group; only the parent decides, and workers see the event.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    global _stop
    _stop = stop


def _in_worker(plan: Plan, time_limit_s: float | None) -> Record:
    assert _stop is not None
    return _replicate(plan, time_limit_s, _stop)


def _replicate(plan: Plan, time_limit_s: float | None, stop: StopEvent) -> Record:
    from x0mesh import sim

    began = time.monotonic()
    over_time = False

    def why_stop() -> str | None:
        nonlocal over_time
        if stop.is_set():
            return "stopped by the user"
        if time_limit_s is not None and time.monotonic() - began > time_limit_s:
            over_time = True
            return f"time limit of {time_limit_s:g} s reached"
        return None

    if stop.is_set():
        return _failed(plan, "stopped by the user", "aborted")
    try:
        record: Record = sim.run(plan, stop=why_stop)
    except Exception:
        return _failed(plan, traceback.format_exc(limit=-3).strip())
    if over_time:
        record.status = "error"
    return record


def _failed(plan: Plan, reason: str, status: str = "error") -> Record:
    return Record(
        engine="sim",
        seed=plan.seed,
        replication=plan.replication,
        warmup_end_ns=plan.warmup_ns,
        chaos_end_ns=plan.chaos_end_ns,
        end_ns=0,
        status="aborted" if status == "aborted" else "error",
        reason=reason,
    )


@contextmanager
def _signals_set(stop: StopEvent) -> Iterator[list[int]]:
    """While inside, SIGINT and SIGTERM set `stop` and are listed in what is yielded."""
    caught: list[int] = []

    def note(number: int, frame: object) -> None:
        caught.append(number)
        stop.set()

    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
