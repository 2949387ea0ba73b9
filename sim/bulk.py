"""A TCP-like sender: window, round-trip estimate and time-out, driven by acknowledgements.

Reno's window laws (RFC 5681) on whole packets with selective acknowledgements; time-outs by
RFC 6298 with a 200 ms floor as Linux has it. It models the load and the recovery of a bulk
transfer, not TCP's byte stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Packet `number` arrived; its round trip took `rtt_ns`."""

    number: int
    rtt_ns: int


class BulkSender:
    """Decides how many packets may be under way. `epoch` rises whenever the timer restarts."""

    ACK_BYTES: ClassVar[int] = 40
    INITIAL_WINDOW: ClassVar[int] = 10  # RFC 6928
    MAX_WINDOW: ClassVar[int] = 1024
    MIN_TIMEOUT_NS: ClassVar[int] = 200 * MS
    MAX_TIMEOUT_NS: ClassVar[int] = 60_000 * MS
    REORDERING: ClassVar[int] = 3

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.window = float(self.INITIAL_WINDOW)
        self.threshold = float(self.MAX_WINDOW)
        self.timeout_ns = 1000 * MS
        self.epoch = 0
        self._smoothed_ns = 0.0
        self._variation_ns = 0.0
        self._outstanding: dict[int, None] = {}
        self._recover_until = -1

    @property
    def may_send(self) -> bool:
        return len(self._outstanding) < int(self.window)

    def sent(self, number: int) -> None:
        """Numbers rise."""
        self._outstanding[number] = None

    def acknowledged(self, ack: Acknowledged) -> None:
        """Open the window; packets well before this one that are still missing count as lost."""
        if ack.number not in self._outstanding:
            return
        del self._outstanding[ack.number]
        self.epoch += 1
        self._estimate(ack.rtt_ns)
        lost = [n for n in self._outstanding if n + self.REORDERING <= ack.number]
        for number in lost:
            del self._outstanding[number]
        if lost and lost[-1] > self._recover_until:
            self._recover_until = ack.number
            self.threshold = max(self.window / 2, 2.0)
            self.window = self.threshold
        elif not lost:
            growth = 1.0 if self.window < self.threshold else 1.0 / self.window
            self.window = min(self.window + growth, float(self.MAX_WINDOW))

    def timed_out(self) -> None:
        """Nothing came back: everything under way is lost, the window is one, the timer doubles."""
        self.epoch += 1
        self.threshold = max(self.window / 2, 2.0)
        self.window = 1.0
        self._outstanding.clear()
        self.timeout_ns = min(2 * self.timeout_ns, self.MAX_TIMEOUT_NS)

    def _estimate(self, rtt_ns: int) -> None:
        if self._smoothed_ns == 0:
            self._smoothed_ns = float(rtt_ns)
            self._variation_ns = rtt_ns / 2
        else:
            deviation = abs(self._smoothed_ns - rtt_ns)
            self._variation_ns += (deviation - self._variation_ns) / 4
            self._smoothed_ns += (rtt_ns - self._smoothed_ns) / 8
        timeout = int(self._smoothed_ns + max(4 * self._variation_ns, MS))
        self.timeout_ns = min(max(timeout, self.MIN_TIMEOUT_NS), self.MAX_TIMEOUT_NS)
