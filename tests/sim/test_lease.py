import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh.effects import BfdState, KeepAlive, Lease, LeaseChange
from x0mesh.mesh.lease_monitor import LeaseMonitor
from x0mesh.mesh.liveness import transmit_gap_ns
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import LinkPlan
from x0mesh.sim.clock import TIMER, Clock
from x0mesh.sim.lease import Gaps, LeaseEnd
from x0mesh.sim.link import Link
from x0mesh.sim.randomness import Streams

MS = 1_000_000
S = 1_000_000_000


def content(epoch: int = 1, multiplier: int = 3, interval_ns: int = 50 * MS) -> KeepAlive:
    return KeepAlive(epoch, BfdState.UP, interval_ns, interval_ns, multiplier)


class Ear:
    """Notes what one end reports, with the instant."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.changes: list[tuple[int, LeaseChange, int, int]] = []
        self.reports: list[tuple[int, int]] = []

    def lease_changed(self, heard: KeepAlive, change: LeaseChange, at_ns: int) -> None:
        self.changes.append((self.clock.now_ns, change, heard.epoch, at_ns))

    def lease_report(self, received: int, expected: int) -> None:
        self.reports.append((received, expected))


class Pair:
    """Two ends of one link with a channel open between them."""

    def __init__(self, impairment: Impairment, seed: int = 1) -> None:
        self.clock = Clock()
        streams = Streams(seed)
        self.link = Link(LinkPlan("l", "a", "b", impairment, impairment), 0, streams)
        self.ears = (Ear(self.clock), Ear(self.clock))
        self.a = LeaseEnd(self.clock, self.link.forward, 0, streams, self.ears[0])
        self.b = LeaseEnd(self.clock, self.link.backward, 1, streams, self.ears[1])
        self.a.join(self.b)
        self.b.join(self.a)
        for end in (self.a, self.b):
            end.listen(1)
            end.speak(1)

    def both(self, lease: Lease) -> None:
        self.a.keep_alive(lease)
        self.b.keep_alive(lease)


def test_new_content_is_sent_at_once_and_reported_once() -> None:
    pair = Pair(Impairment(delay_ns=5 * MS))
    pair.a.keep_alive(Lease(content(1), 50 * MS, 0))
    pair.clock.run_until(100 * MS)
    pair.a.keep_alive(Lease(content(2), 50 * MS, 0))
    pair.clock.run_until(300 * MS)
    ups = [(5 * MS, LeaseChange.UP, 1, 5 * MS), (105 * MS, LeaseChange.UP, 2, 105 * MS)]
    assert pair.ears[1].changes == ups


def test_gaps_are_those_of_rfc_5880_and_counted() -> None:
    pair = Pair(Impairment(delay_ns=MS))
    pair.a.keep_alive(Lease(content(), 100 * MS, 0))
    pair.clock.run_until(100 * S)
    assert pair.a.sent == pytest.approx(1000 / 0.875, rel=0.01)


def test_v1_a_silent_cut_is_detected_within_the_law_at_each_end() -> None:
    """RFC 5880 s.6.8.4: in ((m-1) tau, m tau], mean (m - 0.44048) tau for a random instant."""
    tau_ns, multiplier, delay_ns = 50 * MS, 3, 2 * MS
    times: list[int] = []
    for seed in range(400):
        pair = Pair(Impairment(delay_ns=delay_ns), seed)
        pair.both(Lease(content(1, multiplier, tau_ns), tau_ns, 0))
        pair.clock.run_until(10 * MS)
        pair.both(Lease(content(1, multiplier, tau_ns), tau_ns, multiplier * tau_ns))
        cut_ns = S + int(Streams(seed).uniform("test", "cut", 0) * S)
        pair.clock.run_until(cut_ns)
        pair.link.forward.block(cut_ns, (0, 0), "drop", "fifo")
        pair.link.backward.block(cut_ns, (0, 0), "drop", "fifo")
        pair.clock.run_until(cut_ns + S)
        for ear in pair.ears:
            (now_ns, change, _, at_ns) = ear.changes[-1]
            assert change is LeaseChange.EXPIRED
            assert now_ns == at_ns
            times.append(at_ns - cut_ns - delay_ns)
    assert (multiplier - 1) * tau_ns < min(times)
    assert max(times) <= multiplier * tau_ns
    assert np.mean(times) == pytest.approx((multiplier - 0.44048) * tau_ns, rel=0.01)


def test_silence_is_reported_once_and_its_end_too() -> None:
    pair = Pair(Impairment(delay_ns=MS))
    pair.both(Lease(content(), 50 * MS, 0))
    pair.clock.run_until(10 * MS)
    pair.both(Lease(content(), 50 * MS, 150 * MS))
    pair.clock.run_until(S)
    pair.link.forward.block(S, (0, 0), "drop", "fifo")
    pair.clock.run_until(3 * S)
    pair.link.forward.unblock(3 * S, (0, 0))
    pair.clock.run_until(4 * S)
    assert [change for _, change, _, _ in pair.ears[1].changes] == [
        LeaseChange.UP,
        LeaseChange.EXPIRED,
        LeaseChange.UP,
    ]
    assert [change for _, change, _, _ in pair.ears[0].changes] == [LeaseChange.UP]


def test_loss_is_reported_per_64_expected() -> None:
    pair = Pair(Impairment(delay_ns=MS, loss=0.2))
    pair.a.keep_alive(Lease(content(), 10 * MS, 0))
    pair.clock.run_until(100 * S)
    reports = pair.ears[1].reports
    assert all(64 <= expected < 80 for _, expected in reports)
    received, expected = map(sum, zip(*reports, strict=True))
    assert received / expected == pytest.approx(0.8, abs=0.01)


def test_keep_alives_of_another_channel_or_none_are_refused() -> None:
    pair = Pair(Impairment(delay_ns=MS))
    pair.a.keep_alive(Lease(content(), 50 * MS, 0))
    pair.b.listen(2)
    pair.clock.run_until(S)
    assert pair.ears[1].changes == []
    assert pair.b.refused == pair.a.sent > 10


def test_what_is_under_way_when_carrier_is_lost_never_arrives() -> None:
    pair = Pair(Impairment(delay_ns=100 * MS))
    pair.a.keep_alive(Lease(content(), 50 * MS, 0))
    pair.clock.run_until(60 * MS)
    pair.link.take_down(60 * MS, (0, 0))
    pair.a.carrier_lost()
    pair.clock.run_until(61 * MS)
    pair.link.bring_up(61 * MS, (0, 0))
    pair.clock.run_until(160 * MS)
    assert pair.ears[1].changes == []
    pair.clock.run_until(S)
    assert [change for _, change, _, _ in pair.ears[1].changes] == [LeaseChange.UP]


def test_a_paused_end_sends_nothing_and_judges_late_by_when_packets_came() -> None:
    pair = Pair(Impairment(delay_ns=MS))
    pair.both(Lease(content(), 50 * MS, 0))
    pair.clock.run_until(10 * MS)
    pair.both(Lease(content(), 50 * MS, 150 * MS))
    pair.clock.run_until(S)
    pair.b.pause()
    sent = pair.b.sent
    pair.clock.run_until(2 * S)
    assert pair.b.sent == sent
    assert pair.ears[0].changes[-1][1] is LeaseChange.EXPIRED
    pair.b.resume()
    pair.clock.run_until(2 * S + 10 * MS)
    assert pair.b.sent == sent + 1
    assert pair.ears[1].changes[-1][1] is LeaseChange.UP  # a's packets kept coming
    pair.b.pause()
    pair.a.keep_alive(None)
    pair.clock.run_until(4 * S)
    pair.b.resume()
    now_ns, change, _, at_ns = pair.ears[1].changes[-1]
    assert change is LeaseChange.EXPIRED
    assert now_ns == 4 * S
    assert at_ns < 2 * S + 200 * MS


def test_a_faster_lease_does_not_wait_for_the_old_gap() -> None:
    pair = Pair(Impairment(delay_ns=MS))
    slow = content(1, 3, S)
    pair.a.keep_alive(Lease(slow, S, 0))
    pair.clock.run_until(10 * MS)
    pair.a.keep_alive(Lease(slow, 50 * MS, 0))
    pair.clock.run_until(70 * MS)
    assert pair.a.sent == 2


def test_a_settled_pair_runs_on_without_a_word_of_news() -> None:
    pair = Pair(Impairment(delay_ns=400 * MS))
    lease = Lease(content(), 50 * MS, 150 * MS)
    pair.a.settle(7, lease, 0.3)
    pair.b.settle(7, lease, 0.9)
    pair.a.settle_heard()
    pair.b.settle_heard()
    pair.clock.run_until(10 * S)
    assert [ear.changes for ear in pair.ears] == [[], []]
    assert pair.ears[0].reports
    assert all(report == (64, 64) for report in pair.ears[0].reports)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    loss=st.sampled_from([0.0, 0.1, 0.4]),
    jitter_ns=st.sampled_from([0, 40 * MS]),
    acts=st.lists(
        st.tuples(
            st.sampled_from(["epoch", "detect", "cut", "mend", "slower"]), st.integers(1, 400)
        ),
        max_size=12,
    ),
)
def test_receiving_means_what_the_protocol_s_lease_monitor_means(
    seed: int, loss: float, jitter_ns: int, acts: list[tuple[str, int]]
) -> None:
    """The same arrivals into `LeaseMonitor` give the same news, expiries and reports."""
    pair = Pair(Impairment(delay_ns=50 * MS, loss=loss, jitter_ns=jitter_ns), seed)
    clock, ear = pair.clock, pair.ears[1]
    monitor = LeaseMonitor()
    expected_changes: list[tuple[LeaseChange, int, int]] = []
    expected_reports: list[tuple[int, int]] = []
    state = {"epoch": 1, "interval": 50 * MS, "detect": 150 * MS}
    heard_first = [False]

    def expire_until(now_ns: int) -> None:
        due_ns = monitor.expiry_ns
        if due_ns is not None and due_ns < now_ns:
            assert monitor.expire(due_ns)
            assert monitor.heard is not None
            expected_changes.append((LeaseChange.EXPIRED, monitor.heard.epoch, due_ns))

    arrive = pair.b._arrive

    def spy(n: int) -> None:
        expire_until(clock.now_ns)
        flight = pair.a._flight_of(n)
        assert flight is not None
        arrival = monitor.arrive(clock.now_ns, n, flight.content)
        if arrival.report:
            expected_reports.append((arrival.report.received, arrival.report.expected))
        if arrival.news:
            expected_changes.append((LeaseChange.UP, flight.content.epoch, clock.now_ns))
        arrive(n)
        if not heard_first[0]:
            heard_first[0] = True
            monitor.monitor(clock.now_ns, state["detect"])
            pair.b.keep_alive(Lease(content(1), S, state["detect"]))

    pair.a._arrive_at_peer = spy
    pair.b.keep_alive(Lease(content(1), S, 0))
    pair.a.keep_alive(Lease(content(1), 50 * MS, 0))

    def act(name: str) -> None:
        expire_until(clock.now_ns)
        if name == "epoch":
            state["epoch"] += 1
        elif name == "slower":
            state["interval"] = 90 * MS if state["interval"] == 50 * MS else 50 * MS
        elif name == "detect" and heard_first[0]:
            state["detect"] = 80 * MS if state["detect"] == 150 * MS else 150 * MS
            monitor.monitor(clock.now_ns, state["detect"])
            pair.b.keep_alive(Lease(content(1), S, state["detect"]))
        elif name == "cut" and pair.link.forward.passes:
            pair.link.forward.block(clock.now_ns, (0, 0), "drop", "fifo")
        elif name == "mend" and not pair.link.forward.passes:
            pair.link.forward.unblock(clock.now_ns, (0, 0))
        pair.a.keep_alive(Lease(content(state["epoch"]), state["interval"], 0))

    at_ns = 0
    for order, (name, after_ms) in enumerate(acts):
        at_ns += after_ms * MS
        clock.push(at_ns, Clock.order(TIMER, 0) + order, act, name)
    clock.run_until(8 * S)
    expire_until(8 * S)
    assert [(change, epoch, at) for _, change, epoch, at in ear.changes] == expected_changes
    assert ear.reports == expected_reports


@given(
    interval_ns=st.integers(1, 60 * S),
    multiplier=st.integers(1, 255),
    numbers=st.lists(st.integers(0, 300), min_size=1, max_size=20),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_gaps_in_blocks_are_the_law_s_gaps(
    interval_ns: int, multiplier: int, numbers: list[int]
) -> None:
    streams = Streams(5)
    draws = streams.draws("n0", "gap")
    gaps = Gaps(streams.key("n0", "gap"))
    gaps.set(7 * MS, 2)
    gaps.at(numbers[0])
    gaps.set(interval_ns, multiplier)
    for number in numbers:
        assert gaps.at(number) == transmit_gap_ns(interval_ns, multiplier, draws.at(number))
