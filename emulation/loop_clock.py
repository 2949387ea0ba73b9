"""CLOCK_MONOTONIC in integer nanoseconds, and timers of the event loop on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

S = 1_000_000_000


class LoopClock:
    """The peer's only clock. Never runs backwards, so inputs to the protocol keep their order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._latest_ns = 0

    def now_ns(self) -> int:
        """The present instant."""
        self._latest_ns = max(self._latest_ns, time.monotonic_ns())
        return self._latest_ns

    def at_least_ns(self, due_ns: int) -> int:
        """The present instant, when a timer that was due at `due_ns` has fired.

        The loop compares floating-point seconds and may fire a nanosecond early.
        """
        self._latest_ns = max(self._latest_ns, due_ns, time.monotonic_ns())
        return self._latest_ns

    def call_at(self, due_ns: int, act: Callable[[], None]) -> asyncio.TimerHandle:
        """Call `act` at or just after `due_ns`."""
        return self._loop.call_at(due_ns / S, act)
