"""When to compute routes: the SPF back-off delay algorithm of RFC 8405, as a machine of its own.

Driven by topology events and its three timers; it answers whether to run SPF now.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

from x0mesh.mesh.config import SpfConfig
from x0mesh.mesh.effects import TimerKey

SPF_TIMER: Final = ("router", "spf")
LEARN_TIMER: Final = ("router", "learn")
HOLD_DOWN_TIMER: Final = ("router", "hold-down")


class BackoffState(Enum):
    """States of RFC 8405 s.5."""

    QUIET = "quiet"
    SHORT_WAIT = "short-wait"
    LONG_WAIT = "long-wait"


class TimerPort(Protocol):
    """Timers as `Effects` offers them."""

    def set_timer(self, key: TimerKey, due_ns: int) -> None: ...

    def cancel_timer(self, key: TimerKey) -> None: ...


class SpfBackoff:
    """RFC 8405 s.5.1. `pending` is true while an SPF run is scheduled."""

    def __init__(self, config: SpfConfig, port: TimerPort) -> None:
        self._config = config
        self._port = port
        self._delay_ns = {
            BackoffState.QUIET: config.initial_ns,
            BackoffState.SHORT_WAIT: config.short_ns,
            BackoffState.LONG_WAIT: config.long_ns,
        }
        self.state = BackoffState.QUIET
        self.pending = False

    def topology_event(self, now: int) -> None:
        """Something that routes depend on changed (transitions 1, 2 and 4)."""
        if self.state is BackoffState.QUIET:
            self._port.set_timer(LEARN_TIMER, now + self._config.time_to_learn_ns)
        self._port.set_timer(HOLD_DOWN_TIMER, now + self._config.hold_down_ns)
        if not self.pending:
            self.pending = True
            self._port.set_timer(SPF_TIMER, now + self._delay_ns[self.state])
        if self.state is BackoffState.QUIET:
            self.state = BackoffState.SHORT_WAIT

    def timer(self, key: TimerKey) -> bool:
        """One of the three timers expired; true means: run SPF now."""
        if key == SPF_TIMER:
            due, self.pending = self.pending, False
            return due
        if key == LEARN_TIMER:
            if self.state is BackoffState.SHORT_WAIT:
                self.state = BackoffState.LONG_WAIT
            return False
        assert key == HOLD_DOWN_TIMER, key
        if self.state is BackoffState.SHORT_WAIT:
            self._port.cancel_timer(LEARN_TIMER)
        self.state = BackoffState.QUIET
        return False

    def reset(self) -> None:
        """Forget what is scheduled, as after a start with routes already computed."""
        for key in (SPF_TIMER, LEARN_TIMER, HOLD_DOWN_TIMER):
            self._port.cancel_timer(key)
        self.pending = False
        self.state = BackoffState.QUIET
