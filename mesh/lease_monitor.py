"""The receiving half of a lease: sequence accounting, last arrival, the instant of expiry.

A pure value without clock or queue, so that both engines judge the same keep-alives alike. It
reads keep-alives whose MAC the engine has already verified.
"""

from __future__ import annotations

from dataclasses import dataclass

from x0mesh.mesh.effects import KeepAlive

REPORT_EVERY = 64
WINDOW = 64


@dataclass(frozen=True, slots=True)
class Report:
    """Arguments of `Node.lease_report`: `received` of `expected` keep-alives arrived."""

    received: int
    expected: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """What one keep-alive means: the lease was renewed, its content is news, a report is due."""

    renewed: bool
    news: bool = False
    report: Report | None = None


_IGNORED = Arrival(renewed=False)
_RENEWED = Arrival(renewed=True)
_NEWS = Arrival(renewed=True, news=True)


class LeaseMonitor:
    """One direction of one channel; a new channel takes a new monitor.

    Only a sequence number above all before it renews the lease (RFC 5880 s.6.7.3, meticulous
    mode), so packets held back by an attacker prove nothing. One overtaken on the way is not
    lost either and counts as received. `replayed` counts those heard before or too old to tell.
    """

    __slots__ = (
        "_armed_ns",
        "_base",
        "_highest",
        "_is_expired",
        "_is_silent",
        "_received",
        "_seen",
        "detection_time_ns",
        "heard",
        "last_arrival_ns",
        "overtaken",
        "replayed",
    )

    def __init__(self) -> None:
        self.detection_time_ns = 0
        self.heard: KeepAlive | None = None
        self.last_arrival_ns: int | None = None
        self.overtaken = 0
        self.replayed = 0
        self._armed_ns = 0
        self._is_expired = False
        self._is_silent = False
        self._highest = -1
        self._seen = 0
        self._base = -1
        self._received = 0

    @property
    def expiry_ns(self) -> int | None:
        """When silence becomes an expiry; None while unmonitored or already reported."""
        if self.detection_time_ns == 0 or self._is_expired:
            return None
        since_ns = self._armed_ns
        if self.last_arrival_ns is not None and self.last_arrival_ns > since_ns:
            since_ns = self.last_arrival_ns
        return since_ns + self.detection_time_ns

    def monitor(self, now: int, detection_time_ns: int) -> None:
        """A lease with this detection time is in force from `now` on (0: not monitored)."""
        assert detection_time_ns >= 0, detection_time_ns
        if self._is_expired or self.detection_time_ns == 0:
            self._armed_ns = now
            self._is_expired = False
        self.detection_time_ns = detection_time_ns

    def expire(self, now: int) -> bool:
        """True once per silence: `expiry_ns` has come, report `EXPIRED` with it as `at_ns`."""
        expiry_ns = self.expiry_ns
        if expiry_ns is None or now < expiry_ns:
            return False
        self._is_expired = True
        self._is_silent = True
        return True

    def arrive(self, now: int, sequence: int, content: KeepAlive) -> Arrival:
        """Account for one keep-alive. On news, report `UP` with `heard`."""
        assert sequence >= 0, sequence
        if sequence <= self._highest:
            self._arrive_overtaken(sequence)
            return _IGNORED
        if self._highest < 0:
            self._base = sequence - 1
        ahead = sequence - self._highest
        self._seen = (self._seen << ahead | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1
        self._highest = sequence
        self._received += 1
        self.last_arrival_ns = now
        self._is_expired = False

        is_news = self._is_silent
        self._is_silent = False
        if self.heard is None or content.epoch > self.heard.epoch:
            self.heard = content
            is_news = True
        expected = sequence - self._base
        if expected < REPORT_EVERY:
            return _NEWS if is_news else _RENEWED
        report = Report(self._received, expected)
        self._base = sequence
        self._received = 0
        return Arrival(renewed=True, news=is_news, report=report)

    def _arrive_overtaken(self, sequence: int) -> None:
        behind = self._highest - sequence
        if behind >= WINDOW or self._seen >> behind & 1:
            self.replayed += 1
            return
        self._seen |= 1 << behind
        self.overtaken += 1
        if sequence > self._base:  # else already reported as lost
            self._received += 1
