"""Keep-alives of one link against a clock and a socket of our own."""

import heapq
import itertools
import socket
from collections.abc import Callable
from typing import Any

import pytest

from x0mesh.emulation.control import LinkCounters
from x0mesh.emulation.keep_alive import KEY_BYTES, KeepAlives, link_id
from x0mesh.mesh.codec import decode_keep_alive, encode_keep_alive
from x0mesh.mesh.effects import BfdState, KeepAlive, Lease, LeaseChange

MS = 1_000_000
OUR_KEY, THEIR_KEY = b"o" * KEY_BYTES, b"t" * KEY_BYTES
UP = KeepAlive(1, BfdState.UP, 50 * MS, 50 * MS, 3)


class Timer:
    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        self.act = None


class Clock:
    """Stands still until told; `stop` is a process that sleeps through its timers."""

    def __init__(self) -> None:
        self.now = 1_000 * MS
        self._timers: list[tuple[int, int, Timer]] = []
        self._set = 0

    def now_ns(self) -> int:
        return self.now

    def at_least_ns(self, due_ns: int) -> int:
        self.now = max(self.now, due_ns)
        return self.now

    def call_at(self, due_ns: int, act: Callable[[], None]) -> Timer:
        timer = Timer(act)
        self._set += 1
        heapq.heappush(self._timers, (due_ns, self._set, timer))
        return timer

    def run(self, until_ns: int, paused_until_ns: int = 0) -> None:
        while self._timers and self._timers[0][0] <= until_ns:
            due_ns, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, due_ns, paused_until_ns)
            if timer.act is not None:
                timer.act()
        self.now = max(self.now, until_ns)


class Wire:
    """A socket: keeps what is sent with its instant, gives what was put in."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sent: list[tuple[int, bytes]] = []
        self.waiting: list[bytes] = []
        self.error: OSError | None = None

    def sendto(self, datagram: bytes, _: Any) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((self.clock.now, datagram))

    def recvmsg(self, *_: int) -> tuple[bytes, list[Any], int, Any]:
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop(0), [], 0, None


class User:
    def __init__(self) -> None:
        self.changes: list[tuple[KeepAlive, LeaseChange, int]] = []
        self.reports: list[tuple[int, int]] = []

    def lease_changed(self, heard: KeepAlive, change: LeaseChange, at_ns: int) -> None:
        self.changes.append((heard, change, at_ns))

    def lease_report(self, received: int, expected: int) -> None:
        self.reports.append((received, expected))


class End:
    def __init__(self) -> None:
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.user = User()
        self.counters = LinkCounters()
        sock: Any = self.wire
        clock: Any = self.clock
        self.keep_alives = KeepAlives(
            clock, sock, ("fe80::1", 1, 0, 1), "l0", lambda: 0.5, self.user, self.counters
        )
        self.hearing = self.keep_alives.expect(OUR_KEY)

    def open(self, detection_time_ns: int = 150 * MS) -> "End":
        self.keep_alives.speak(self.hearing, THEIR_KEY)
        self.keep_alives.keep_alive(Lease(UP, 50 * MS, detection_time_ns))
        return self

    def hear(self, sequence: int, content: KeepAlive = UP, key: bytes = OUR_KEY) -> None:
        self.wire.waiting.append(encode_keep_alive(link_id("l0"), sequence, content, key))
        self.keep_alives.read()


def test_gaps_are_jittered_and_numbered():
    end = End().open(detection_time_ns=0)
    end.clock.run(end.clock.now + 1_000 * MS)
    instants = [at for at, _ in end.wire.sent]
    gaps = {later - earlier for earlier, later in itertools.pairwise(instants)}
    assert gaps == {round(50 * MS * 0.875)}
    numbers = [decode_keep_alive(sent, THEIR_KEY)[1] for _, sent in end.wire.sent]
    assert numbers == list(range(len(numbers)))


def test_ticks_that_a_pause_swallowed_are_not_made_up_for():
    end = End().open(detection_time_ns=0)
    start = end.clock.now
    end.clock.run(start + 200 * MS)
    before = len(end.wire.sent)
    woken = start + 5_000 * MS
    end.clock.run(start + 201 * MS + 50 * MS, paused_until_ns=woken)
    end.clock.run(woken + 20 * MS)
    assert len(end.wire.sent) - before <= 2
    end.clock.run(woken + 1_000 * MS)
    instants = [at for at, _ in end.wire.sent if at > woken]
    gaps = [later - earlier for earlier, later in itertools.pairwise(instants)]
    assert min(gaps) >= round(50 * MS * 0.75)


def test_new_content_goes_out_at_once_and_the_same_does_not():
    end = End().open()
    assert len(end.wire.sent) == 1
    end.keep_alives.keep_alive(Lease(UP, 50 * MS, 300 * MS))
    assert len(end.wire.sent) == 1
    news = KeepAlive(2, BfdState.DOWN, 1_000 * MS, 50 * MS, 3)
    end.keep_alives.keep_alive(Lease(news, 1_000 * MS, 300 * MS))
    assert decode_keep_alive(end.wire.sent[-1][1], THEIR_KEY)[2] == news


def test_silence_expires_once_at_its_instant_and_speech_ends_it():
    end = End().open()
    end.hear(0)
    heard_ns = end.clock.now
    end.clock.run(heard_ns + 2_000 * MS)
    assert end.user.changes == [
        (UP, LeaseChange.UP, heard_ns),
        (UP, LeaseChange.EXPIRED, heard_ns + 150 * MS),
    ]
    end.hear(5)
    assert end.user.changes[-1] == (UP, LeaseChange.UP, end.clock.now)


def test_what_waits_in_the_socket_is_read_before_silence_is_declared():
    end = End().open()
    end.hear(0)
    end.wire.waiting.append(encode_keep_alive(link_id("l0"), 1, UP, OUR_KEY))
    end.clock.run(end.clock.now + 160 * MS)
    assert [change for _, change, _ in end.user.changes] == [LeaseChange.UP]


def test_forged_foreign_and_replayed_ones_renew_nothing():
    end = End().open()
    end.hear(3)
    heard_ns = end.clock.now
    for _ in range(10):
        end.clock.run(end.clock.now + 14 * MS)
        end.hear(9, key=THEIR_KEY)  # our own, reflected
        end.wire.waiting.append(encode_keep_alive(link_id("l1"), 9, UP, OUR_KEY))
        end.hear(3)
    end.clock.run(heard_ns + 150 * MS)
    assert end.user.changes[-1] == (UP, LeaseChange.EXPIRED, heard_ns + 150 * MS)
    end.keep_alives.count()
    assert end.counters.keep_alives_spoofed == 20
    assert end.counters.keep_alives_replayed == 10
    assert end.counters.keep_alives_received == 1


def test_what_comes_before_the_protocol_knows_the_channel_is_told_afterwards():
    end = End()
    end.hear(0)
    assert end.user.changes == []
    end.open()
    end.keep_alives.catch_up()
    assert [change for _, change, _ in end.user.changes] == [LeaseChange.UP]


def test_a_new_channel_replaces_key_and_sequence():
    end = End().open()
    end.hear(40)
    again = end.keep_alives.expect(b"n" * KEY_BYTES)
    end.hear(41)
    assert end.counters.keep_alives_received == 2  # the open channel still counts
    end.keep_alives.speak(again, THEIR_KEY)
    end.hear(42)
    assert end.counters.keep_alives_spoofed == 1
    end.hear(0, key=b"n" * KEY_BYTES)
    assert end.counters.keep_alives_received == 3


def test_without_a_channel_nothing_is_believed_or_sent():
    end = End()
    end.keep_alives.forget(end.hearing)
    end.hear(0)
    end.keep_alives.keep_alive(Lease(UP, 50 * MS, 150 * MS))
    end.clock.run(end.clock.now + 1_000 * MS)
    assert end.counters.keep_alives_unexpected == 1
    assert end.wire.sent == []
    assert end.user.changes == []


def test_a_link_that_cannot_send_is_a_lossy_link():
    end = End()
    end.wire.error = OSError(101, "Network is unreachable")
    end.open(detection_time_ns=0)
    end.clock.run(end.clock.now + 500 * MS)
    assert end.counters.keep_alives_sent == 0
    assert end.counters.keep_alives_unsent > 5


def test_loss_is_reported_every_64_expected():
    end = End().open()
    for sequence in range(0, 128, 2):
        end.hear(sequence)
    assert end.user.reports == [(33, 65)]


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="needs Linux")
def test_arrivals_are_stamped_by_the_kernel():
    from x0mesh.emulation.keep_alive import _age_ns, stamp_arrivals

    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
    ):
        stamp_arrivals(receiver)
        receiver.bind(("::1", 0))
        receiver.settimeout(30)
        sender.sendto(b"x", receiver.getsockname())
        _, ancillary, _, _ = receiver.recvmsg(16, 64)
    assert ancillary
    assert _age_ns(ancillary) > 0
