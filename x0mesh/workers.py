"""Worker processes that survive one another: a worker that dies takes only its own task along.

Workers are forked, so tasks and what runs them need no pickling; results come back by pipe.
`concurrent.futures` gives up on every pending task when one worker dies, hence our own.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Final, TypeVar

T = TypeVar("T")

TICK_S: Final = 0.25
_FORK: Final = multiprocessing.get_context("fork")
_PR_SET_PDEATHSIG: Final = 1
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class _Worker:
    process: ForkProcess
    pipe: Connection
    task: int | None = None

    def give(self, task: int | None) -> None:
        self.task = task
        try:
            self.pipe.send(task)
        except BrokenPipeError:
            # It died while idle; the next wait finds its end of file, and this task with it.
            return


def in_processes(
    run: Callable[[int], T], tasks: int, workers: int, tick: Callable[[], None]
) -> Generator[tuple[int, T | WorkerDied], None, None]:
    """Yields (task, run(task)) for tasks 0.., in the order they finish; `tick` about every
    TICK_S. `run` must not raise. Leaving early kills the workers."""
    waiting = list(range(tasks))[::-1]
    pool: list[_Worker] = []
    try:
        while waiting or any(worker.task is not None for worker in pool):
            while waiting and len(pool) < workers:
                pool.append(_start(run))
                pool[-1].give(waiting.pop())
            ready = wait([worker.pipe for worker in pool], TICK_S)
            tick()
            for worker in [one for one in pool if one.pipe in ready]:
                task = worker.task
                try:
                    result: T | WorkerDied = worker.pipe.recv()
                except (EOFError, OSError):
                    pool.remove(worker)
                    worker.process.join()
                    worker.pipe.close()
                    result = WorkerDied(worker.process.exitcode)
                else:
                    if waiting:
                        worker.give(waiting.pop())
                    else:
                        worker.task = None
                if task is not None:
                    yield task, result
    finally:
        for worker in pool:
            worker.process.kill()
        for worker in pool:
            worker.process.join()
            worker.pipe.close()


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """In place of a result. `exit_code` is negative for a signal."""

    exit_code: int | None

    def __str__(self) -> str:
        if self.exit_code is not None and self.exit_code < 0:
            return f"its worker process was killed ({signal.Signals(-self.exit_code).name})"
        return f"its worker process ended with exit code {self.exit_code}"


def _start(run: Callable[[int], T]) -> _Worker:
    ours, theirs = _FORK.Pipe()
    process = _FORK.Process(target=_serve, args=(run, theirs, os.getpid()), daemon=True)
    # Until the worker ignores them its parent's handlers are in force, and would end it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()
    return _Worker(process, ours)


def _serve(run: Callable[[int], T], pipe: Connection, parent: int) -> None:
    # A terminal or a supervisor signals the whole group; only the parent decides, and workers
    # learn of it through `run`. Without a parent there is nobody to work for.
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        return
    while (task := pipe.recv()) is not None:
        pipe.send(run(task))
