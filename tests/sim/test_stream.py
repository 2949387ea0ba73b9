from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh.messages import DatabaseDescription, Message
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import LinkPlan
from x0mesh.sim.clock import NODE, Clock
from x0mesh.sim.link import Link
from x0mesh.sim.randomness import Streams
from x0mesh.sim.stream import State, StreamEnd, StreamModel

MS = 1_000_000
S = 1_000_000_000


class User:
    """Notes what happens at one end."""

    def __init__(self, clock: Clock, neighbour: str) -> None:
        self.clock = clock
        self.neighbour = neighbour
        self.fault: str | None = None
        self.present = True
        self.running = True
        self.waiting: list[Callable[[], None]] = []
        self.opened: list[int] = []
        self.failed: list[tuple[int, str]] = []
        self.heard: list[tuple[int, int]] = []

    def channel_opened(self, neighbour: str) -> None:
        assert neighbour == self.neighbour
        self.opened.append(self.clock.now_ns)

    def channel_failed(self, reason: str) -> None:
        self.failed.append((self.clock.now_ns, reason))

    def message_arrived(self, message: Message) -> None:
        assert isinstance(message, DatabaseDescription)
        self.heard.append((self.clock.now_ns, int(message.fingerprints[0])))

    def neighbour_fault(self) -> tuple[str, str | None]:
        return self.neighbour, self.fault

    def is_present(self) -> bool:
        return self.present

    def when_running(self, act: Callable[[], None]) -> None:
        if self.running:
            act()
        else:
            self.waiting.append(act)


class Pair:
    def __init__(self, impairment: Impairment, seed: int = 1) -> None:
        self.clock = Clock()
        streams = Streams(seed)
        self.link = Link(LinkPlan("l", "a", "b", impairment, impairment), 0, streams)
        self.model = StreamModel()
        self.users = (User(self.clock, "b"), User(self.clock, "a"))
        self.a = StreamEnd(self.clock, self.link.forward, 0, streams, self.model, self.users[0])
        self.b = StreamEnd(self.clock, self.link.backward, 1, streams, self.model, self.users[1])
        self.a.join(self.b)
        self.b.join(self.a)

    def at(self, t_ns: int, act: Callable[[], object]) -> None:
        self.clock.run_until(t_ns)
        act()

    def block(self, t_ns: int, mode: str = "drop") -> None:
        self.clock.run_until(t_ns)
        for d in (self.link.forward, self.link.backward):
            d.block(t_ns, (0, 0), mode, "fifo")  # type: ignore[arg-type]

    def unblock(self, t_ns: int) -> None:
        self.clock.run_until(t_ns)
        for d in (self.link.forward, self.link.backward):
            d.unblock(t_ns, (0, 0))


def note(n: int) -> Message:
    return DatabaseDescription((), (str(n),), True)


def test_set_up_takes_two_round_trips_and_the_cryptography() -> None:
    pair = Pair(Impairment(delay_ns=10 * MS))
    pair.a.dial(1)
    pair.clock.run_until(S)
    assert pair.users[0].opened == [4 * 10 * MS + 2 * MS]
    assert pair.users[1].opened == [5 * 10 * MS + 2 * MS]
    assert pair.a.handshake_ns == [42 * MS]


def test_messages_arrive_in_order_after_the_delay() -> None:
    pair = Pair(Impairment(delay_ns=10 * MS))
    pair.a.settle(1)
    pair.b.settle(1)
    pair.a.send(note(1), 100)
    pair.at(3 * MS, lambda: pair.a.send(note(2), 100))
    pair.clock.run_until(S)
    assert pair.users[1].heard == [(10 * MS, 1), (13 * MS, 2)]


def test_syn_is_repeated_after_one_second_then_two() -> None:
    pair = Pair(Impairment(delay_ns=10 * MS))
    pair.block(0)
    pair.a.dial(1)
    pair.unblock(1500 * MS)
    pair.clock.run_until(5 * S)
    assert pair.users[0].opened == [3 * S + 42 * MS]


def test_a_dial_that_nobody_answers_fails_and_without_carrier_at_once() -> None:
    pair = Pair(Impairment(delay_ns=10 * MS))
    pair.users[1].present = False
    pair.a.dial(1)
    pair.clock.run_until(20 * S)
    assert pair.users[0].failed == [(pair.model.connect_timeout_ns, "connect timed out")]
    pair.link.take_down(20 * S, (0, 0))
    pair.a.dial(2)
    pair.clock.run_until(21 * S)
    assert pair.users[0].failed[1] == (20 * S, "no carrier")


@pytest.mark.parametrize("who", [0, 1])
def test_a_refused_identity_fails_the_channel_at_both_ends_with_the_reason(who: int) -> None:
    pair = Pair(Impairment(delay_ns=10 * MS))
    pair.users[who].fault = "revoked"
    pair.a.dial(1)
    pair.clock.run_until(S)
    client, server = pair.users
    assert server.opened == []
    assert len(client.failed) == 1
    assert "revoked" in client.failed[0][1]
    assert pair.a.state is pair.b.state is State.CLOSED


def test_after_a_blackhole_delivery_resumes_with_the_next_retransmission() -> None:
    """Time-outs double from 200 ms: retransmissions 0.2, 0.6, 1.4, 3.0 s after the first."""
    pair = Pair(Impairment(delay_ns=5 * MS))
    pair.a.settle(1)
    pair.b.settle(1)
    pair.block(S)
    pair.a.send(note(1), 100)
    pair.at(S + 300 * MS, lambda: pair.a.send(note(2), 100))
    pair.unblock(S + 700 * MS)
    pair.clock.run_until(5 * S)
    resumed_ns = S + 1400 * MS + 5 * MS
    assert pair.users[1].heard == [(resumed_ns, 1), (resumed_ns + 10 * MS, 2)]
    assert pair.users[0].failed == []


def test_a_blackhole_longer_than_the_user_timeout_breaks_the_channel() -> None:
    pair = Pair(Impairment(delay_ns=5 * MS))
    pair.a.settle(1)
    pair.b.settle(1)
    pair.block(S)
    pair.a.send(note(1), 100)
    pair.clock.run_until(60 * S)
    ((failed_ns, reason),) = pair.users[0].failed
    assert reason == "timed out"
    assert S + pair.model.user_timeout_ns <= failed_ns <= S + 2 * pair.model.user_timeout_ns
    assert pair.users[1].heard == []


def test_a_lost_message_is_recovered_in_a_round_trip_when_later_ones_arrive() -> None:
    pair = Pair(Impairment(delay_ns=10 * MS))
    pair.a.settle(1)
    pair.b.settle(1)
    pair.link.forward.block(0, (0, 0), "drop", "fifo")
    pair.a.send(note(1), 100)
    pair.link.forward.unblock(0, (0, 0))
    pair.at(MS, lambda: pair.a.send(note(2), 100))
    pair.clock.run_until(S)
    assert pair.users[1].heard == [(31 * MS, 1), (31 * MS, 2)]


def test_a_queueing_block_delays_but_loses_and_repeats_nothing() -> None:
    pair = Pair(Impairment(delay_ns=5 * MS))
    pair.a.settle(1)
    pair.b.settle(1)
    pair.block(0, "queue")
    for n in range(5):
        pair.a.send(note(n), 100)
    pair.unblock(3 * S)
    pair.clock.run_until(10 * S)
    assert [n for _, n in pair.users[1].heard] == list(range(5))
    assert pair.users[1].heard[0][0] == 3 * S + 5 * MS


def test_closing_tells_the_other_end_unless_the_packet_is_lost() -> None:
    pair = Pair(Impairment(delay_ns=5 * MS))
    pair.a.settle(1)
    pair.b.settle(1)
    pair.a.close("because")
    pair.clock.run_until(S)
    assert pair.users[1].failed == [(5 * MS, "closed by neighbour: because")]
    assert pair.users[0].failed == []
    pair.a.settle(2)
    pair.b.settle(2)
    pair.block(S)
    pair.a.close("because")
    pair.unblock(2 * S)
    assert pair.b.state is State.OPEN
    pair.b.send(note(1), 10)
    pair.clock.run_until(3 * S)
    assert pair.users[1].failed[-1] == (2 * S + 10 * MS, "reset by neighbour")


def test_a_new_channel_replaces_one_the_server_still_believes_in() -> None:
    pair = Pair(Impairment(delay_ns=5 * MS))
    pair.a.settle(1)
    pair.b.settle(1)
    pair.a.reset()
    pair.a.dial(2)
    pair.clock.run_until(S)
    assert pair.b.channel == pair.a.channel == 2
    assert len(pair.users[1].opened) == 1
    pair.b.send(note(7), 10)
    pair.clock.run_until(2 * S)
    assert [n for _, n in pair.users[0].heard] == [7]


def test_a_paused_server_answers_once_it_goes_on() -> None:
    pair = Pair(Impairment(delay_ns=5 * MS))
    pair.users[1].running = False
    pair.a.dial(1)
    pair.clock.run_until(2 * S)
    assert pair.users[0].opened == []
    pair.users[1].running = True
    for act in pair.users[1].waiting:
        act()
    pair.clock.run_until(3 * S)
    assert pair.users[0].opened[0] == 2 * S + 7 * MS


def test_a_large_message_pays_for_its_serialisation() -> None:
    pair = Pair(Impairment(delay_ns=5 * MS, rate_bps=10_000_000))
    pair.a.settle(1)
    pair.b.settle(1)
    pair.a.send(note(1), 14_000)
    pair.clock.run_until(S)
    wire_bytes = 10 * (1400 + pair.model.overhead_bytes)
    assert pair.users[1].heard[0][0] == 5 * MS + wire_bytes * 8 * 100


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    loss=st.sampled_from([0.0, 0.05, 0.3]),
    jitter_ns=st.sampled_from([0, 15 * MS]),
    sends=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 5000)), max_size=30),
    outages=st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 800)), max_size=3),
    carrier=st.booleans(),
)
def test_whatever_the_link_does_messages_arrive_once_and_in_order(
    seed: int,
    loss: float,
    jitter_ns: int,
    sends: list[tuple[int, int]],
    outages: list[tuple[int, int]],
    carrier: bool,
) -> None:
    pair = Pair(Impairment(delay_ns=20 * MS, loss=loss, jitter_ns=jitter_ns), seed)
    clock, link = pair.clock, pair.link
    pair.a.settle(1)
    pair.b.settle(1)
    order = iter(range(1000))
    at_ns = 0

    def push(t_ns: int, act: Callable[[], object]) -> None:
        clock.push(t_ns, Clock.order(NODE, 9) + next(order), lambda _: act(), None)

    for n, (gap_ms, size) in enumerate(sends):
        at_ns += gap_ms * MS
        push(at_ns, lambda n=n, size=size: pair.a.send(note(n), size))  # type: ignore[misc]
    for k, (start_ms, length_ms) in enumerate(outages):
        owner, start, end = (k, 0), start_ms * MS, (start_ms + length_ms) * MS
        if carrier:
            push(start, lambda o=owner: link.take_down(clock.now_ns, o))  # type: ignore[misc]
            push(end, lambda o=owner: link.bring_up(clock.now_ns, o))  # type: ignore[misc]
        else:
            push(
                start,
                lambda o=owner: link.forward.block(clock.now_ns, o, "drop", "fifo"),  # type: ignore[misc]
            )
            push(end, lambda o=owner: link.forward.unblock(clock.now_ns, o))  # type: ignore[misc]
    clock.run_until(120 * S)
    heard = [n for _, n in pair.users[1].heard]
    assert heard == list(range(len(heard)))
    if not pair.users[0].failed:
        assert len(heard) == len(sends)
    else:
        assert pair.users[0].failed[0][1] == "timed out"


def test_loss_costs_round_trips_and_time_outs_not_messages() -> None:
    pair = Pair(Impairment(delay_ns=10 * MS, loss=0.05))
    pair.a.settle(1)
    pair.b.settle(1)
    for n in range(500):
        pair.at(n * 40 * MS, lambda n=n: pair.a.send(note(n), 100))  # type: ignore[misc]
    pair.clock.run_until(60 * S)
    times = np.array([t for t, _ in pair.users[1].heard])
    assert len(times) == 500
    delays = times - np.arange(500) * 40 * MS
    assert np.median(delays) == 10 * MS
    assert 20 * MS < delays.max() < S
