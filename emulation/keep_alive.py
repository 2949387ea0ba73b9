"""Authenticated keep-alives of one link as UDP datagrams: a declared lease made real.

Sending follows `mesh.effects.Lease`; receiving is `mesh.lease_monitor` fed with what the kernel
stamped on arrival. Each end names, inside the TLS channel, the key it expects, so that it can
verify every datagram that the neighbour is able to send. No decision of the protocol is made here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from x0mesh.emulation.control import LinkCounters
from x0mesh.emulation.loop_clock import LoopClock
from x0mesh.mesh.codec import (
    KEEP_ALIVE_BYTES,
    CodecError,
    decode_keep_alive,
    encode_keep_alive,
)
from x0mesh.mesh.effects import KeepAlive, Lease, LeaseChange
from x0mesh.mesh.lease_monitor import LeaseMonitor
from x0mesh.mesh.liveness import transmit_gap_ns

KEY_BYTES: Final = 32
MAX_READS: Final = 256
"""Datagrams taken per wake-up, so that a flood cannot hold up the loop for ever."""

_SO_TIMESTAMPNS: Final = getattr(socket, "SO_TIMESTAMPNS", 35)
_TIMESPEC: Final = struct.Struct("@qq")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size)


class LeaseUser(Protocol):
    """Hears what the lease means; may declare another lease or close from inside."""

    def lease_changed(self, heard: KeepAlive, change: LeaseChange, at_ns: int) -> None: ...

    def lease_report(self, received: int, expected: int) -> None: ...


def link_id(link: str) -> int:
    """The 32-bit number that keep-alives of this link carry."""
    return zlib.crc32(link.encode())


class Hearing:
    """What one channel's receive key lets us believe; a new channel takes a new one."""

    __slots__ = ("has_news", "key", "monitor")

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES, len(key)
        self.key = key
        self.monitor = LeaseMonitor()
        self.has_news = False


class KeepAlives:
    """Both directions of one link's keep-alives on a UDP socket connected to nobody.

    `expect(key)` before the key is named to the neighbour, `speak(..)` once the channel is
    confirmed by both sides, then `catch_up()` when the protocol has heard of the channel: it
    reports what arrived in between. `close()` with the channel.
    """

    def __init__(
        self,
        clock: LoopClock,
        sock: socket.socket,
        destination: tuple[str, int, int, int],
        link: str,
        draw: Callable[[], float],
        user: LeaseUser,
        counters: LinkCounters,
    ) -> None:
        self._clock = clock
        self._socket = sock
        self._destination = destination
        self._link_id = link_id(link)
        self._draw = draw
        self._user = user
        self._counters = counters
        self._current: Hearing | None = None
        self._pending: list[Hearing] = []
        self._send_key: bytes | None = None
        self._sequence = 0
        self._empty_ns = 0
        self._lease: Lease | None = None
        self._next_ns = 0
        self._send_timer: asyncio.TimerHandle | None = None
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._expiry_due_ns = 0

    # The channel's life

    def expect(self, key: bytes) -> Hearing:
        """Believe datagrams with this key, besides those of the channel that is open now."""
        hearing = Hearing(key)
        self._pending.append(hearing)
        return hearing

    def forget(self, hearing: Hearing) -> None:
        """The channel that this was for never opened, or is over."""
        if hearing in self._pending:
            self._pending.remove(hearing)
        elif hearing is self._current:
            self.close()

    def speak(self, hearing: Hearing, key: bytes) -> None:
        """The channel of `hearing` is the link's from now on; send with the neighbour's key."""
        self._pending.remove(hearing)
        self.close()
        self._current = hearing
        self._send_key = key
        self._sequence = 0

    def catch_up(self) -> None:
        """Report what the neighbour said before the protocol knew of the channel."""
        if self._current is not None and self._current.has_news:
            self._tell_news(self._current)

    def close(self) -> None:
        """Neither send nor believe anything of the open channel any more."""
        self.keep_alive(None)
        self.count()
        self._current = None
        self._send_key = None

    def keep_alive(self, lease: Lease | None) -> None:
        """Start, replace or stop; see `Effects.keep_alive`."""
        old, self._lease = self._lease, lease
        if lease is None:
            _cancel(self._send_timer)
            self._send_timer = None
            _cancel(self._expiry_timer)
            self._expiry_timer = None
            if self._current is not None:
                self._current.monitor.detection_time_ns = 0
            return
        if self._current is None:
            self._lease = None
            return
        now_ns = self._clock.now_ns()
        self._current.monitor.monitor(now_ns, lease.detection_time_ns)
        if old is None or lease.content.epoch != old.content.epoch:
            self._send(now_ns)
            self._schedule(now_ns + self._gap_ns(lease))
        elif (
            lease.transmit_interval_ns != old.transmit_interval_ns
            or lease.content.detect_multiplier != old.content.detect_multiplier
        ):
            due_ns = now_ns + self._gap_ns(lease)
            if due_ns < self._next_ns:
                self._schedule(due_ns)
        self._watch()

    def count(self) -> None:
        """Bring the counters up to date with the open channel's monitor."""
        if self._current is not None:
            monitor = self._current.monitor
            self._counters.keep_alives_replayed += monitor.replayed
            self._counters.keep_alives_overtaken += monitor.overtaken
            monitor.replayed = monitor.overtaken = 0

    # Sending

    def _gap_ns(self, lease: Lease) -> int:
        multiplier = lease.content.detect_multiplier
        return transmit_gap_ns(lease.transmit_interval_ns, multiplier, self._draw())

    def _schedule(self, due_ns: int) -> None:
        _cancel(self._send_timer)
        self._next_ns = due_ns
        self._send_timer = self._clock.call_at(due_ns, self._due)

    def _due(self) -> None:
        lease = self._lease
        assert lease is not None, "a stopped lease has no timer"
        now_ns = self._clock.at_least_ns(self._next_ns)
        self._send(now_ns)
        # From the due time, so that lateness does not add up; but ticks that a pause has
        # swallowed are dropped, never made up for in a burst.
        next_ns = self._next_ns + self._gap_ns(lease)
        if next_ns <= now_ns:
            next_ns = now_ns + self._gap_ns(lease)
        self._schedule(next_ns)

    def _send(self, now_ns: int) -> None:
        assert self._lease is not None
        assert self._send_key is not None
        datagram = encode_keep_alive(
            self._link_id, self._sequence, self._lease.content, self._send_key
        )
        self._sequence += 1
        try:
            self._socket.sendto(datagram, self._destination)
            self._counters.keep_alives_sent += 1
        except OSError:  # no carrier, no route, full queue: to the neighbour it is a lost packet
            self._counters.keep_alives_unsent += 1

    # Receiving

    def read(self) -> None:
        """Take the datagrams that wait in the socket."""
        for _ in range(MAX_READS):
            now_ns = self._clock.now_ns()
            try:
                datagram, ancillary, _, _ = self._socket.recvmsg(
                    KEEP_ALIVE_BYTES + 1, _ANCILLARY_BYTES
                )
            except BlockingIOError:
                self._empty_ns = now_ns
                return
            except OSError:  # an ICMP error for something we sent; the next read goes on
                continue
            # What waits now came after the socket was last seen empty, whatever CLOCK_REALTIME
            # has done since.
            age_ns = _age_ns(ancillary)
            self._arrived(datagram, max(self._empty_ns, self._clock.now_ns() - age_ns))

    def _arrived(self, datagram: bytes, at_ns: int) -> None:
        found = self._verified(datagram)
        if found is None:
            return
        hearing, sequence, content = found
        monitor = hearing.monitor
        arrival = monitor.arrive(max(at_ns, monitor.last_arrival_ns or 0), sequence, content)
        if not arrival.renewed:
            return
        self._counters.keep_alives_received += 1
        if arrival.news:
            if hearing is self._current:
                self._tell_news(hearing)
            else:
                hearing.has_news = True
        if arrival.report is not None and hearing is self._current:
            self._user.lease_report(arrival.report.received, arrival.report.expected)
        self._watch()

    def _verified(self, datagram: bytes) -> tuple[Hearing, int, KeepAlive] | None:
        """Whose key the datagram carries, its sequence and content; counts those refused."""
        hearings = [self._current] if self._current is not None else []
        hearings += self._pending
        for hearing in hearings:
            try:
                number, sequence, content = decode_keep_alive(datagram, hearing.key)
            except CodecError:
                continue
            if number == self._link_id:
                return hearing, sequence, content
        if hearings:
            self._counters.keep_alives_spoofed += 1
        else:
            self._counters.keep_alives_unexpected += 1
        return None

    def _tell_news(self, hearing: Hearing) -> None:
        monitor = hearing.monitor
        hearing.has_news = False
        assert monitor.heard is not None
        assert monitor.last_arrival_ns is not None
        self._user.lease_changed(monitor.heard, LeaseChange.UP, monitor.last_arrival_ns)

    # Monitoring

    def _watch(self) -> None:
        """Have a timer at or before the instant of expiry; it looks again when it fires."""
        expiry_ns = None
        if self._current is not None and self._lease is not None:
            expiry_ns = self._current.monitor.expiry_ns
        if expiry_ns is None:
            _cancel(self._expiry_timer)
            self._expiry_timer = None
        elif self._expiry_timer is None or expiry_ns < self._expiry_due_ns:
            _cancel(self._expiry_timer)
            self._expiry_due_ns = expiry_ns
            self._expiry_timer = self._clock.call_at(expiry_ns, self._expiry_due)

    def _expiry_due(self) -> None:
        self._expiry_timer = None
        # After a pause the neighbour's keep-alives wait unread: they arrived in time.
        self.read()
        if self._current is not None and self._lease is not None:
            monitor = self._current.monitor
            expiry_ns = monitor.expiry_ns
            if expiry_ns is not None and monitor.expire(self._clock.now_ns()):
                assert monitor.heard is not None, "a lease is monitored once something was heard"
                self._user.lease_changed(monitor.heard, LeaseChange.EXPIRED, expiry_ns)
        self._watch()


def stamp_arrivals(sock: socket.socket) -> None:
    """Have the kernel say when each datagram arrived (SO_TIMESTAMPNS)."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def _age_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    """How long ago the kernel stamped a datagram (CLOCK_REALTIME); 0 without a stamp."""
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(value) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            stamped_ns: int = seconds * 1_000_000_000 + nanoseconds
            return max(0, time.time_ns() - stamped_ns)
    return 0


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
