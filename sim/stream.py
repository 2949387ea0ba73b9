"""Authenticated streams over a link: TCP and TLS 1.3 as far as their timing decides healing.

Modelled: connection set-up with its back-off, mutual authentication, in-order delivery,
serialisation, selective recovery while later data arrives, retransmission time-outs with
back-off when none does, user time-out, resets. Not modelled: congestion window, delayed and lost
acknowledgements (cumulative ones make up for a lost one). Control traffic is far below both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from x0mesh.mesh.messages import Message
from x0mesh.sim.clock import DELIVERY, TIMER, Clock
from x0mesh.sim.link import HELD, Direction, PacketDraws
from x0mesh.sim.randomness import Streams

MS: Final = 1_000_000
S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class StreamModel:
    """Parameters of a stream; the defaults are replaced by a calibration once there is one.

    Retransmission follows RFC 6298 with Linux's lower bound of 200 ms in place of one second.
    `connect_timeout_ns` and `user_timeout_ns` (RFC 5482) are what a peer sets on its sockets.
    The handshake times are a P-256 key agreement, signature and chain verification in OpenSSL,
    rounded up; `handshake_bytes` are ClientHello, server flight, client flight.
    """

    initial_timeout_ns: int = 1 * S
    minimum_timeout_ns: int = 200 * MS
    maximum_timeout_ns: int = 120 * S
    connect_timeout_ns: int = 5 * S
    user_timeout_ns: int = 10 * S
    client_handshake_ns: int = 1 * MS
    server_handshake_ns: int = 1 * MS
    handshake_bytes: tuple[int, int, int] = (300, 1600, 1400)
    segment_bytes: int = 1400
    overhead_bytes: int = 14 + 40 + 32 + 22  # Ethernet, IPv6, TCP with timestamps, TLS record


class StreamUser(Protocol):
    """The node's interface. Calls come at the instant of the event and must not be slow."""

    def channel_opened(self, neighbour: str) -> None:
        """The channel is authenticated at this end."""

    def channel_failed(self, reason: str) -> None:
        """The channel, or the dial, failed; not called after `close`."""

    def message_arrived(self, message: Message) -> None:
        """The next message in order."""

    def neighbour_fault(self) -> tuple[str, str | None]:
        """(Identity the other end presents, why it is refused or None)."""

    def is_present(self) -> bool:
        """The machine answers at all."""

    def when_running(self, act: Callable[[], None]) -> None:
        """Call `act` now, or when a paused process goes on; never if it is gone."""


class State(Enum):
    """Of one end."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    OPEN = "open"


SYN, SYN_ACK, CLIENT_HELLO, SERVER_FLIGHT = range(4)
"""Legs of the handshake, even ones by the client; its last flight opens its stream."""


class Segment:
    """A message on its way. `parts` counts the packets that have yet to arrive."""

    __slots__ = (
        "channel",
        "cuts",
        "first_sent_ns",
        "message",
        "parts",
        "resent",
        "sent_ns",
        "sequence",
        "size_bytes",
    )

    def __init__(self, channel: int, sequence: int, message: Message | None, size: int) -> None:
        self.channel = channel
        self.sequence = sequence
        self.message = message  # None: the client's last flight
        self.size_bytes = size
        self.parts = 0
        self.first_sent_ns = -1
        self.sent_ns = 0
        self.resent = False
        self.cuts = 0


class StreamEnd:
    """One end of a link's streams; it has one channel at a time. Join two with `join`."""

    __slots__ = (
        "_accepting",
        "_backoff",
        "_buffer",
        "_clock",
        "_dialled_ns",
        "_expected",
        "_leg",
        "_leg_sent_ns",
        "_legs_resent",
        "_missing",
        "_model",
        "_order",
        "_out",
        "_packets",
        "_peer",
        "_recovering",
        "_sequence",
        "_smoothed_ns",
        "_timer_order",
        "_timer_set",
        "_token",
        "_unsent",
        "_user",
        "_variation_ns",
        "channel",
        "dropped",
        "handshake_ns",
        "packets_sent",
        "retransmissions",
        "state",
    )

    def __init__(
        self,
        clock: Clock,
        out: Direction,
        rank: int,
        streams: Streams,
        model: StreamModel,
        user: StreamUser,
    ) -> None:
        self._clock = clock
        self._out = out
        self._model = model
        self._user = user
        self._packets = PacketDraws(streams, out.name, "stream")
        self._order = Clock.order(DELIVERY, rank)
        self._timer_order = Clock.order(TIMER, rank)
        self._peer: StreamEnd = self
        self.packets_sent = 0  # also the next packet's number
        self.retransmissions = 0
        self.dropped = 0  # messages handed over without an open channel
        self.handshake_ns: list[int] = []
        self.state = State.CLOSED
        self.channel = 0
        self._accepting = 0
        self._token = 0
        self._dialled_ns = 0
        self._restart()

    def _restart(self) -> None:
        """Fresh stream state for a new channel."""
        self._token += 1
        self._leg = -1
        self._leg_sent_ns = 0
        self._legs_resent = False
        self._sequence = 0
        self._expected = 0
        self._buffer: dict[int, Segment] = {}
        self._missing: dict[int, Segment] = {}
        self._unsent: list[Segment] = []
        self._smoothed_ns = 0
        self._variation_ns = 0
        self._backoff = 0
        self._timer_set = False
        self._recovering = False

    def join(self, peer: StreamEnd) -> None:
        """Make `peer` the other end of the link."""
        self._peer = peer

    def _later(self, delay_ns: int, act: Callable[[int], None]) -> None:
        """Call `act(token)` unless this end has closed or reopened by then."""
        self._timer_order += 1
        self._clock.push(self._clock.now_ns + delay_ns, self._timer_order, act, self._token)

    def _deliver(self, size_bytes: int, act: Callable[[object], None], argument: object) -> bool:
        """One packet; `act(argument)` at its arrival. False if it is known never to arrive."""
        n = self.packets_sent
        self.packets_sent = n + 1
        out = self._out
        now_ns = self._clock.now_ns
        arrives_ns = out.transit(now_ns, size_bytes + self._model.overhead_bytes, self._packets, n)
        if arrives_ns >= 0:
            self._order += 1
            self._clock.push(arrives_ns, self._order, act, argument)
            return True
        if arrives_ns == HELD:
            out.hold(lambda: self._release(size_bytes, act, argument))
        return False

    def _release(self, size_bytes: int, act: Callable[[object], None], argument: object) -> None:
        self._deliver(size_bytes, act, argument)

    # Connection set-up.

    def dial(self, channel: int) -> None:
        """Open a channel with this serial number as client."""
        self._restart()
        self.state = State.CONNECTING
        self.channel = channel
        self._dialled_ns = self._clock.now_ns
        if not self._out.carrier:
            self._later(0, self._no_carrier)
            return
        self._later(self._model.connect_timeout_ns, self._connect_timed_out)
        self._send_leg(SYN)

    def _no_carrier(self, token: int) -> None:
        if token == self._token:
            self._fail("no carrier")

    def _connect_timed_out(self, token: int) -> None:
        if token == self._token and self.state is State.CONNECTING:
            self._fail("connect timed out")

    def _send_leg(self, leg: int) -> None:
        """The client's part of the handshake, repeated until answered."""
        self._leg = leg
        self._backoff = 0
        self._legs_resent = False
        self._leg_sent_ns = self._clock.now_ns
        self._transmit_leg(leg, self.channel)
        self._await_answer()

    def _transmit_leg(self, leg: int, channel: int) -> None:
        sizes = self._model.handshake_bytes
        size = {CLIENT_HELLO: sizes[0], SERVER_FLIGHT: sizes[1]}.get(leg, 0)
        self._deliver(size, self._peer._leg_arrived, (leg, channel, self._out.cuts))

    def _await_answer(self) -> None:
        leg, backoff = self._leg, self._backoff

        def again(token: int) -> None:
            if token == self._token and self._leg == leg and self._backoff == backoff:
                self._backoff += 1
                self._legs_resent = True
                self.retransmissions += 1
                self._transmit_leg(leg, self.channel)
                self._await_answer()

        self._later(self._timeout_ns(), again)

    def _leg_arrived(self, argument: object) -> None:
        assert isinstance(argument, tuple)
        leg, channel, cuts = argument
        if cuts != self._peer._out.cuts or not self._user.is_present():
            return
        if leg == SYN:
            self._accepting = channel
            self._transmit_leg(SYN_ACK, channel)
        elif leg == CLIENT_HELLO and channel == self._accepting:
            self._user.when_running(lambda: self._answer_hello(channel))
        elif self.state is not State.CONNECTING or channel != self.channel:
            return
        elif leg == SYN_ACK and self._leg == SYN:
            if not self._legs_resent:
                self._sample(self._clock.now_ns - self._leg_sent_ns)
            self._send_leg(CLIENT_HELLO)
        elif leg == SERVER_FLIGHT and self._leg == CLIENT_HELLO:
            self._leg = SERVER_FLIGHT
            self._user.when_running(lambda: self._later_as_client(channel))

    def _answer_hello(self, channel: int) -> None:
        def answer(_: int) -> None:
            if channel == self._accepting and self._user.is_present():
                self._transmit_leg(SERVER_FLIGHT, channel)

        self._later(self._model.server_handshake_ns, answer)

    def _later_as_client(self, channel: int) -> None:
        def verified(token: int) -> None:
            if token != self._token or self.state is not State.CONNECTING:
                return
            neighbour, fault = self._user.neighbour_fault()
            if fault is not None:
                self._reset_peer(f"refused by neighbour: {fault}")
                self._fail(f"neighbour not believed: {fault}")
                return
            self._backoff = 0
            self.state = State.OPEN
            self.handshake_ns.append(self._clock.now_ns - self._dialled_ns)
            self._transmit(self._segment(None, self._model.handshake_bytes[2]))
            self._user.channel_opened(neighbour)

        self._later(self._model.client_handshake_ns, verified)

    def _accept(self, segment: Segment) -> bool:
        """The client's last flight: open as server. False if the client is refused."""
        neighbour, fault = self._user.neighbour_fault()
        if fault is not None:
            self._accepting = 0
            self._reset_peer(f"refused by neighbour: {fault}", segment.channel)
            return False
        self._accepting = 0
        self._restart()
        self.state = State.OPEN
        self.channel = segment.channel
        if self._peer._smoothed_ns:
            self._sample(self._peer._smoothed_ns)
        self._user.channel_opened(neighbour)
        return True

    # The open stream.

    def send(self, message: Message, size_bytes: int) -> bool:
        """Append a message; False if no channel is open."""
        if self.state is not State.OPEN:
            self.dropped += 1
            return False
        segment = self._segment(message, size_bytes)
        if self._backoff:
            self._unsent.append(segment)
        else:
            self._transmit(segment)
        return True

    def _segment(self, message: Message | None, size_bytes: int) -> Segment:
        segment = Segment(self.channel, self._sequence, message, size_bytes)
        segment.parts = max(1, -(-size_bytes // self._model.segment_bytes))
        self._sequence += 1
        return segment

    def _transmit(self, segment: Segment) -> None:
        """Send the parts that have not arrived; those lost wait for recovery or the time-out."""
        clock = self._clock
        now_ns: int = clock._now  # type: ignore[assignment]
        segment.sent_ns = now_ns
        if segment.first_sent_ns < 0:
            segment.first_sent_ns = now_ns
        else:
            segment.resent = True
            self.retransmissions += 1
        out = self._out
        segment.cuts = out.cuts
        model = self._model
        if out.plain:
            self.packets_sent += segment.parts
            self._order += 1
            clock.push(
                now_ns + out.delay_ns, self._order, self._peer._segment_arrived, (segment, True)
            )
            return
        size = min(segment.size_bytes, model.segment_bytes)
        sent = segment.parts
        last_ns = -1
        for _ in range(sent):
            n = self.packets_sent
            self.packets_sent = n + 1
            arrives_ns = out.transit(now_ns, size + model.overhead_bytes, self._packets, n)
            if arrives_ns >= 0:
                segment.parts -= 1
                last_ns = max(last_ns, arrives_ns)
            elif arrives_ns == HELD:
                out.hold(lambda: self._pass_on(segment))
                break
        if segment.parts == 0:
            segment.parts = 1  # until it arrives
            self._order += 1
            clock.push(last_ns, self._order, self._peer._segment_arrived, (segment, True))
        else:
            if last_ns >= 0:
                self._order += 1
                clock.push(last_ns, self._order, self._peer._segment_arrived, (segment, False))
            self._lost(segment)

    def _pass_on(self, segment: Segment) -> None:
        """A queueing block let the segment go."""
        if segment.channel == self.channel and segment.parts:
            self._transmit(segment)

    def _lost(self, segment: Segment) -> None:
        self._missing[segment.sequence] = segment
        if not self._timer_set:
            self._timer_set = True
            due_ns = segment.sent_ns + self._timeout_ns()
            self._later(max(0, due_ns - self._clock.now_ns), self._timed_out)

    def _timeout_ns(self) -> int:
        """RFC 6298 s.2 and s.5.5."""
        model = self._model
        timeout_ns = model.initial_timeout_ns
        if self._smoothed_ns:
            timeout_ns = self._smoothed_ns + max(MS, 4 * self._variation_ns)
        timeout_ns = max(model.minimum_timeout_ns, timeout_ns)
        return min(model.maximum_timeout_ns, timeout_ns << self._backoff)

    def _sample(self, round_trip_ns: int) -> None:
        """RFC 6298 s.2.2 and s.2.3."""
        if not self._smoothed_ns:
            self._smoothed_ns = max(1, round_trip_ns)
            self._variation_ns = round_trip_ns // 2
            return
        difference_ns = abs(self._smoothed_ns - round_trip_ns)
        self._variation_ns = (3 * self._variation_ns + difference_ns) // 4
        self._smoothed_ns = max(1, (7 * self._smoothed_ns + round_trip_ns) // 8)

    def _timed_out(self, token: int) -> None:
        if token != self._token:
            return
        self._timer_set = False
        if not self._missing:
            return
        oldest = self._missing[min(self._missing)]
        due_ns = oldest.sent_ns + self._timeout_ns()
        now_ns = self._clock.now_ns
        if now_ns < due_ns:  # what the timer was set for has arrived meanwhile
            self._timer_set = True
            self._later(due_ns - now_ns, self._timed_out)
            return
        if now_ns - oldest.first_sent_ns >= self._model.user_timeout_ns:
            self._fail("timed out")
            return
        self._backoff += 1
        self._timer_set = True
        self._transmit(oldest)
        self._later(self._timeout_ns(), self._timed_out)

    def _acknowledged(self, segment: Segment, back_ns: int) -> None:
        """The other end has the segment and says so; the news takes `back_ns`."""
        if segment.channel != self.channel or self.state is not State.OPEN:
            return
        if not segment.resent:
            self._sample(self._clock.now_ns - segment.sent_ns + back_ns)
        self._missing.pop(segment.sequence, None)
        if (self._missing or self._unsent or self._backoff) and not self._recovering:
            self._recovering = True
            self._later(back_ns, self._recover)

    def _recover(self, token: int) -> None:
        """Data got through: send what is missing, selectively (RFC 8985, without its window)."""
        if token != self._token:
            return
        self._recovering = False
        self._backoff = 0
        for sequence in sorted(self._missing):
            segment = self._missing[sequence]
            if segment.parts:
                self._transmit(segment)
        unsent, self._unsent = self._unsent, []
        for segment in unsent:
            self._transmit(segment)

    def _segment_arrived(self, argument: object) -> None:
        assert isinstance(argument, tuple)
        segment: Segment = argument[0]
        complete: bool = argument[1]
        sender = self._peer
        if segment.cuts != sender._out.cuts or not self._user.is_present():
            sender._not_acknowledged(segment)
            return
        if segment.channel != self.channel or self.state is not State.OPEN:
            if segment.channel != self._accepting:
                self._reset_peer("reset by neighbour", segment.channel)
                return
            if segment.message is not None or not complete:
                sender._not_acknowledged(segment)
                return
            if not self._accept(segment):
                return
        if complete and segment.sequence >= self._expected:
            segment.parts = 0
            self._buffer[segment.sequence] = segment
        while self._buffer:
            following = self._buffer.pop(self._expected, None)
            if following is None:
                break
            self._expected += 1
            if following.message is not None:
                self._user.message_arrived(following.message)
            if self.channel != segment.channel:
                return
        back = self._out
        if not back.passes or back.queueing:
            sender._not_acknowledged(segment)
        elif complete:
            sender._acknowledged(segment, back.delay_ns)

    def _not_acknowledged(self, segment: Segment) -> None:
        if segment.channel == self.channel and self.state is State.OPEN:
            segment.parts = max(1, segment.parts)
            self._lost(segment)

    # Endings.

    def close(self, reason: str) -> None:
        """Close at once; the other end hears of it if the packet gets through."""
        if self.state is not State.CLOSED:
            self._reset_peer(f"closed by neighbour: {reason}")
            self._close()

    def _close(self) -> None:
        self.state = State.CLOSED
        self.channel = 0
        self._restart()

    def _fail(self, reason: str) -> None:
        self._close()
        self._user.channel_failed(reason)

    def _reset_peer(self, reason: str, channel: int = 0) -> None:
        argument = (channel or self.channel, self._out.cuts, reason)
        self._deliver(0, self._peer._reset_arrived, argument)

    def _reset_arrived(self, argument: object) -> None:
        assert isinstance(argument, tuple)
        channel, cuts, reason = argument
        if cuts != self._peer._out.cuts or not self._user.is_present():
            return
        if channel == self._accepting:
            self._accepting = 0
        if channel == self.channel and self.state is not State.CLOSED:
            self._fail(reason)

    def carrier_lost(self) -> None:
        """A dial under way fails at once; an open stream waits for its user's decision."""
        self._accepting = 0
        if self.state is State.CONNECTING:
            self._fail("no carrier")

    def reset(self) -> None:
        """The process is gone; nobody is told."""
        self._accepting = 0
        self._close()

    def settle(self, channel: int) -> None:
        """Be open and idle with a measured round trip (converged start)."""
        self._restart()
        self.state = State.OPEN
        self.channel = channel
        self._sequence = self._expected = 1
        self._sample(self._out.delay_ns + self._peer._out.delay_ns)
