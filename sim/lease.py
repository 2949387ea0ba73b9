"""Keep-alives of one link end, packet by packet: the simulator's most frequent entries.

Sending follows `mesh.effects.Lease`; receiving means the same as `mesh.lease_monitor`, written
without a value per packet because a run has millions of them. A packet is only its number; what
it says is looked up in the sender's flights.
"""

from __future__ import annotations

from array import array
from typing import Final, Protocol

import numpy as np

from x0mesh.mesh.codec import KEEP_ALIVE_BYTES
from x0mesh.mesh.effects import KeepAlive, Lease, LeaseChange
from x0mesh.mesh.lease_monitor import REPORT_EVERY, WINDOW
from x0mesh.mesh.liveness import jitter_span
from x0mesh.sim.clock import DELIVERY, LEASE, Clock
from x0mesh.sim.link import HELD, Direction, PacketDraws
from x0mesh.sim.randomness import Streams, mixed_block

UDP_OVERHEAD_BYTES: Final = 14 + 40 + 8
"""Ethernet, IPv6 and UDP headers round a keep-alive."""

_PACKET_BYTES: Final = KEEP_ALIVE_BYTES + UDP_OVERHEAD_BYTES
_MAX_OLDER = 64
_GAPS_BLOCK: Final = 64


class LeaseUser(Protocol):
    """The node's interface: hears of changes at the instant they happen."""

    def lease_changed(self, heard: KeepAlive, change: LeaseChange, at_ns: int) -> None: ...

    def lease_report(self, received: int, expected: int) -> None: ...


class Flight:
    """Packets from number `first` on that say the same over the same channel and carrier."""

    __slots__ = ("channel", "content", "first", "lost")

    def __init__(self, content: KeepAlive, channel: int, first: int) -> None:
        self.content = content
        self.channel = channel
        self.first = first
        self.lost = False


class Gaps:
    """`liveness.transmit_gap_ns` of one sender's packets by number, worked out in blocks."""

    __slots__ = ("_block", "_interval_ns", "_key", "_multiplier", "_start")

    def __init__(self, key: int) -> None:
        self._key = key
        self._interval_ns = 0
        self._multiplier = 1
        self._start = 0
        self._block = array("q")

    def set(self, interval_ns: int, multiplier: int) -> None:
        """Gaps for this lease from now on."""
        if (interval_ns, multiplier) != (self._interval_ns, self._multiplier):
            self._interval_ns = interval_ns
            self._multiplier = multiplier
            self._block = array("q")

    def at(self, number: int) -> int:
        """Time from packet `number` to the next."""
        index = number - self._start
        if 0 <= index < len(self._block):
            return self._block[index]
        self._start = number
        draws = mixed_block(self._key, number, _GAPS_BLOCK)
        gaps = self._interval_ns * (0.75 + jitter_span(self._multiplier) * draws)
        self._block = array("q", np.rint(gaps).astype(np.int64).tobytes())
        return self._block[0]


class LeaseEnd:
    """Sends one end's keep-alives and monitors the other's. Join two ends with `join`."""

    __slots__ = (
        "_accepted",
        "_arrival_order",
        "_arrive_at_peer",
        "_base",
        "_channel",
        "_clock",
        "_detection_ns",
        "_expired",
        "_flight",
        "_gaps",
        "_heard",
        "_highest",
        "_interval_ns",
        "_key",
        "_last_ns",
        "_lease",
        "_lease_order",
        "_multiplier",
        "_next_ns",
        "_older",
        "_out",
        "_overdue_send",
        "_overdue_watch",
        "_packets",
        "_paused",
        "_peer",
        "_received",
        "_send_entry",
        "_send_token",
        "_silent",
        "_user",
        "_watch_entry",
        "_watch_token",
        "lag_ns",
        "lagged",
        "refused",
        "sent",
    )

    def __init__(
        self, clock: Clock, out: Direction, rank: int, streams: Streams, user: LeaseUser
    ) -> None:
        self._clock = clock
        self._out = out
        self._user = user
        self._gaps = Gaps(streams.key(out.name, "keep-alive gap"))
        self._packets = PacketDraws(streams, out.name, "keep-alive")
        self._arrival_order = Clock.order(DELIVERY, rank)
        self._lease_order = Clock.order(LEASE, rank)
        self._send_entry = self._send
        self._watch_entry = self._watch
        self._peer: LeaseEnd = self
        self._arrive_at_peer = self._arrive
        self.sent = 0  # also the next packet's number; never starts over
        self.refused = 0  # arrived without the channel's key, overtaken or replayed
        self.lag_ns = 0  # what a slow process takes longer to send
        self.lagged = 0
        self._paused = False
        self._overdue_send = False
        self._send_token = 0
        self._watch_token = 0
        self._forget()

    def _forget(self) -> None:
        self._channel = 0  # key that arrivals must carry
        self._key = 0  # key that packets are sent with
        self._lease: Lease | None = None
        self._interval_ns = 0
        self._multiplier = 1
        self._next_ns = 0
        self._flight: Flight | None = None
        self._older: list[Flight] = []
        self._forget_heard()

    def _forget_heard(self) -> None:
        self._accepted: Flight | None = None
        self._heard: KeepAlive | None = None
        self._highest = -1
        self._base = -1
        self._received = 0
        self._last_ns = 0
        self._detection_ns = 0
        self._silent = False
        self._expired = False
        self._overdue_watch = False

    def join(self, peer: LeaseEnd) -> None:
        """Make `peer` the other end of the link."""
        self._peer = peer
        self._arrive_at_peer = peer._arrive

    # The sending half.

    def listen(self, channel: int) -> None:
        """Believe what carries the key of this channel only; nothing at 0."""
        self._watch_token += 1
        self._channel = channel
        self._forget_heard()

    def speak(self, channel: int) -> None:
        """Send with the key of this channel from now on; nothing at 0."""
        self.keep_alive(None)
        self._key = channel

    def keep_alive(self, lease: Lease | None) -> None:
        """Start, replace or stop; see `Effects.keep_alive`."""
        old = self._lease
        self._lease = lease
        if lease is None:
            self._send_token += 1
            self._overdue_send = False
            self._watch_token += 1
            self._detection_ns = 0
            return
        if not self._key:
            self._lease = None
            return
        now_ns: int = self._clock._now  # type: ignore[assignment]
        gap_changed = (
            lease.transmit_interval_ns != self._interval_ns
            or lease.content.detect_multiplier != self._multiplier
        )
        self._interval_ns = lease.transmit_interval_ns
        self._multiplier = lease.content.detect_multiplier
        self._gaps.set(self._interval_ns, self._multiplier)
        flight = self._flight
        if (
            flight is None
            or flight.channel != self._key
            or old is None
            or (lease.content.epoch != old.content.epoch)
        ):
            self._take_off(lease.content)
            self._send_token += 1
            self._send(self._send_token)
        elif gap_changed:
            gap_ns = self._gaps.at(self.sent)
            if now_ns + gap_ns < self._next_ns:
                self._schedule_send(now_ns + gap_ns)
        self._monitor(now_ns, lease.detection_time_ns)

    def _take_off(self, content: KeepAlive) -> None:
        if self._flight is not None:
            self._older.append(self._flight)
            if len(self._older) > _MAX_OLDER:
                del self._older[: _MAX_OLDER // 2]
        self._flight = Flight(content, self._key, self.sent)

    def _schedule_send(self, at_ns: int) -> None:
        self._send_token += 1
        self._next_ns = at_ns
        self._lease_order += 1
        self._clock.push(at_ns, self._lease_order, self._send_entry, self._send_token)

    def _send(self, token: int) -> None:
        if token != self._send_token:
            return
        if self._paused:
            self._overdue_send = True
            return
        clock = self._clock
        now_ns: int = clock._now  # type: ignore[assignment]
        n = self.sent
        self.sent = n + 1
        out = self._out
        if out.plain and not self.lag_ns:
            self._arrival_order += 1
            clock.push(now_ns + out.delay_ns, self._arrival_order, self._arrive_at_peer, n)
        else:
            self._send_through(now_ns, n)
        gap_ns = self._gaps.at(n)
        self._next_ns = now_ns + gap_ns
        self._lease_order += 1
        clock.push(now_ns + gap_ns, self._lease_order, self._send_entry, token)

    def _send_through(self, now_ns: int, n: int) -> None:
        if self.lag_ns:
            self.lagged += 1
            now_ns += self.lag_ns
        arrives_ns = self._out.transit(now_ns, _PACKET_BYTES, self._packets, n)
        if arrives_ns >= 0:
            self._arrival_order += 1
            self._clock.push(arrives_ns, self._arrival_order, self._arrive_at_peer, n)
        elif arrives_ns == HELD:
            self._out.hold(lambda: self._send_through(self._clock.now_ns, n))

    def carrier_lost(self) -> None:
        """What is under way from here never arrives."""
        flight = self._flight
        if flight is not None:
            flight.lost = True
            for older in self._older:
                older.lost = True
            self._take_off(flight.content)
        self._peer._accepted = None

    def _flight_of(self, n: int) -> Flight | None:
        if self._flight is not None and n >= self._flight.first:
            return self._flight
        for flight in reversed(self._older):
            if n >= flight.first:
                return flight
        return None

    # The receiving half.

    def _arrive(self, n: int) -> None:
        flight = self._accepted
        if flight is None or n < flight.first or flight is not self._peer._flight:
            flight = self._peer._flight_of(n)
            if flight is None or flight.lost or flight.channel != self._channel:
                self.refused += 1
                return
        if n <= self._highest:
            self.refused += 1
            if self._base < n and self._highest - n < WINDOW:
                self._received += 1
            return
        self._highest = n
        self._last_ns = self._clock._now  # type: ignore[assignment]
        self._received += 1
        if flight is not self._accepted or self._silent or self._expired:
            self._hear(flight, n)
        if n - self._base >= REPORT_EVERY:
            received, expected = self._received, n - self._base
            self._base = n
            self._received = 0
            self._user.lease_report(received, expected)

    def _hear(self, flight: Flight, n: int) -> None:
        """An arrival that may be news."""
        self._accepted = flight
        if self._heard is None:
            self._base = n - 1
        is_news = self._silent
        self._silent = False
        content = flight.content
        if self._heard is None or content.epoch > self._heard.epoch:
            self._heard = content
            is_news = True
        if self._expired:
            self._expired = False
            self._watch_from(self._last_ns)
        if is_news:
            self._user.lease_changed(self._heard, LeaseChange.UP, self._last_ns)

    def _monitor(self, now_ns: int, detection_ns: int) -> None:
        changed = detection_ns != self._detection_ns
        if self._expired or self._detection_ns == 0:
            self._last_ns = now_ns
        elif not changed:
            return
        self._expired = False
        self._detection_ns = detection_ns
        self._watch_from(max(now_ns - detection_ns, self._last_ns))

    def _watch_from(self, last_ns: int) -> None:
        self._watch_token += 1
        self._overdue_watch = False
        if self._detection_ns:
            self._lease_order += 1
            self._clock.push(
                last_ns + self._detection_ns,
                self._lease_order,
                self._watch_entry,
                self._watch_token,
            )

    def _watch(self, token: int) -> None:
        """Detection time passed since some arrival; re-armed lazily if there was a later one."""
        if token != self._watch_token:
            return
        clock = self._clock
        due_ns = self._last_ns + self._detection_ns
        if due_ns > clock._now:
            self._lease_order += 1
            clock.push(due_ns, self._lease_order, self._watch_entry, token)
        elif self._paused:
            self._overdue_watch = True
        else:
            self._expired = True
            self._silent = True
            assert self._heard is not None, "a lease is monitored once something was heard"
            self._user.lease_changed(self._heard, LeaseChange.EXPIRED, due_ns)

    # The node's process.

    def pause(self) -> None:
        """The process stops: it sends nothing, and its expiries wait."""
        self._paused = True

    def resume(self) -> None:
        """The process goes on: what is overdue happens now; arrivals kept their instants."""
        self._paused = False
        if self._overdue_send:
            self._overdue_send = False
            self._send(self._send_token)
        if self._overdue_watch:
            self._overdue_watch = False
            self._watch(self._watch_token)

    def reset(self) -> None:
        """The process is gone and what it knew with it."""
        self.speak(0)
        self._paused = False
        self._forget()

    # Converged start.

    def settle(self, channel: int, lease: Lease, phase: float) -> None:
        """Be in the middle of sending `lease`, `phase` in [0, 1) of the way to the next packet."""
        self.listen(channel)
        self.speak(channel)
        self._lease = lease
        self._interval_ns = lease.transmit_interval_ns
        self._multiplier = lease.content.detect_multiplier
        self._gaps.set(self._interval_ns, self._multiplier)
        self._take_off(lease.content)
        self._schedule_send(self._clock.now_ns + round(self._interval_ns * phase))

    def settle_heard(self) -> None:
        """Have heard the peer's lease; time runs from the expected arrival of its next packet."""
        assert self._lease is not None
        peer = self._peer
        assert peer._flight is not None
        self._accepted = peer._flight
        self._heard = peer._flight.content
        self._base = self._highest = peer.sent - 1
        self._last_ns = peer._next_ns + peer._out.delay_ns + peer._out.impairment.jitter_ns
        self._detection_ns = self._lease.detection_time_ns
        self._watch_from(self._last_ns)
