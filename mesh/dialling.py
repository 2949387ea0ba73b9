"""Opening the channel of one link: the end with the smaller name dials, with growing patience.

The back-off doubles from `initial_ns` to `maximum_ns`, less a random share so that many dialling
ends do not keep step. It starts over once an adjacency was Full.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum
from typing import Final, Protocol

from x0mesh.mesh.config import DialConfig

DIAL_TIMER: Final = "dial"


class DialState(Enum):
    """Where the channel of one link stands."""

    IDLE = "idle"  # the neighbour dials, or we have not started
    DIALLING = "dialling"
    WAITING = "waiting"  # backing off
    OPEN = "open"


class DialPort(Protocol):
    """What dialling asks of its node."""

    def dial(self, link: str) -> None: ...

    def set_timer(self, key: Hashable, due_ns: int) -> None: ...

    def cancel_timer(self, key: Hashable) -> None: ...


class Dialler:
    """Dials one link while it has no channel, if this end is the one to dial."""

    __slots__ = ("_config", "_dials", "_draw", "_failures", "_link", "_port", "state")

    def __init__(
        self,
        link: str,
        dials: bool,
        config: DialConfig,
        draw: Callable[[str], float],
        port: DialPort,
    ) -> None:
        self._link = link
        self._dials = dials
        self._config = config
        self._draw = draw
        self._port = port
        self._failures = 0
        self.state = DialState.IDLE

    def start(self, now: int) -> None:
        """No channel and no failure so far: dial at once."""
        self._dial()

    def opened(self, now: int) -> None:
        """The link has a channel, whoever dialled it."""
        if self.state is DialState.WAITING:
            self._port.cancel_timer((DIAL_TIMER, self._link))
        self.state = DialState.OPEN

    def lost(self, now: int) -> None:
        """The channel is gone or the dial failed: wait, then dial again."""
        if self.state is DialState.WAITING:
            return
        self.state = DialState.IDLE
        if not self._dials:
            return
        backoff_ns = min(self._config.maximum_ns, self._config.initial_ns << self._failures)
        if backoff_ns < self._config.maximum_ns:
            self._failures += 1
        share = 1.0 - self._config.jitter * self._draw("dial")
        self.state = DialState.WAITING
        self._port.set_timer((DIAL_TIMER, self._link), now + round(backoff_ns * share))

    def settled(self) -> None:
        """The adjacency became Full: the next loss starts with the initial back-off."""
        self._failures = 0

    def pause(self, now: int, until_ns: int) -> None:
        """Leave the link alone until then."""
        if self.state is DialState.OPEN or not self._dials:
            return
        self.state = DialState.WAITING
        self._port.set_timer((DIAL_TIMER, self._link), until_ns)

    def again(self, now: int) -> None:
        """Do not wait any longer, dial now; a dial under way is left alone."""
        if self.state is DialState.WAITING:
            self._port.cancel_timer((DIAL_TIMER, self._link))
            self._dial()

    def timer(self, now: int) -> None:
        """The back-off is over."""
        if self.state is DialState.WAITING:
            self._dial()

    def _dial(self) -> None:
        if self._dials:
            self.state = DialState.DIALLING
            self._port.dial(self._link)
