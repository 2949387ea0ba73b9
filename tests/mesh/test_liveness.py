"""Two BFD sessions over a channel that loses, delays and reorders, and one session by itself."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from x0mesh.mesh.config import LivenessConfig
from x0mesh.mesh.effects import BfdState, KeepAlive, Lease, LeaseChange
from x0mesh.mesh.lease_monitor import LeaseMonitor
from x0mesh.mesh.liveness import (
    NEIGHBOUR_DOWN,
    PATH_DOWN,
    TIME_EXPIRED,
    Session,
    next_state,
    steady_content,
    transmit_gap_ns,
)

MS = 1_000_000
S = 1_000_000_000
UP, DOWN, INIT, ADMIN = BfdState.UP, BfdState.DOWN, BfdState.INIT, BfdState.ADMIN_DOWN
CONFIG = LivenessConfig()


class End:
    """A session, its sender and its monitor: what an engine does for one link end."""

    def __init__(self, name: str, wire: Wire, config: LivenessConfig) -> None:
        self.name = name
        self.wire = wire
        self.lease: Lease | None = None
        self.monitor = LeaseMonitor()
        self.sequence = 0
        self.schedule = 0
        self.log: list[tuple[int, str]] = []
        self.session = Session(config, self)

    def keep_alive(self, lease: Lease | None) -> None:
        before, self.lease = self.lease, lease
        if lease is None:
            self.monitor.monitor(self.wire.now, 0)
            self.schedule += 1
            return
        self.monitor.monitor(self.wire.now, lease.detection_time_ns)
        self.wire.watch(self)
        if before is None or before.content.epoch != lease.content.epoch:
            self.schedule += 1
            self.wire.send(self)

    def session_up(self, now: int) -> None:
        self.log.append((now, "up"))

    def session_down(self, now: int, diagnostic: str) -> None:
        self.log.append((now, diagnostic))

    def session_adapted(self, now: int, detection_time_ns: int) -> None:
        self.log.append((now, f"adapted {detection_time_ns}"))

    def words(self) -> list[str]:
        return [word for _, word in self.log]


class Wire:
    """A clock and two directions, each with its loss ratio and greatest extra delay."""

    def __init__(
        self, config_a: LivenessConfig = CONFIG, config_b: LivenessConfig = CONFIG, seed: int = 0
    ) -> None:
        self.now = 0
        self.delay_ns = 5 * MS
        self.loss = {"a": 0.0, "b": 0.0}
        self.extra_ns = {"a": 0, "b": 0}
        self._rng = random.Random(seed)
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._entries = 0
        self.a = End("a", self, config_a)
        self.b = End("b", self, config_b)
        self.ends = (self.a, self.b)

    def start(self) -> None:
        for end in self.ends:
            end.session.start(self.now)

    def run(self, for_ns: int) -> None:
        until_ns = self.now + for_ns
        while self._queue and self._queue[0][0] <= until_ns:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            self.check()
        self.now = until_ns

    def check(self) -> None:
        """Nobody stays Up through more silence than its own detection time."""
        for end in self.ends:
            if end.session.state is UP:
                assert end.lease is not None
                assert end.monitor.last_arrival_ns is not None
                silence_ns = self.now - end.monitor.last_arrival_ns
                assert silence_ns <= end.lease.detection_time_ns

    def send(self, end: End) -> None:
        lease = end.lease
        assert lease is not None
        end.sequence += 1
        if self._rng.random() >= self.loss[end.name]:
            delay_ns = self.delay_ns + round(self._rng.random() * self.extra_ns[end.name])
            other = self.b if end is self.a else self.a
            sequence, content = end.sequence, lease.content
            self._at(self.now + delay_ns, lambda: self._arrive(other, sequence, content))
        gap_ns = transmit_gap_ns(
            lease.transmit_interval_ns, lease.content.detect_multiplier, self._rng.random()
        )
        schedule = end.schedule
        self._at(self.now + gap_ns, lambda: self._send_again(end, schedule))

    def watch(self, end: End) -> None:
        expiry_ns = end.monitor.expiry_ns
        if expiry_ns is not None:
            self._at(max(self.now, expiry_ns), lambda: self._expire(end))

    def _send_again(self, end: End, schedule: int) -> None:
        if schedule == end.schedule and end.lease is not None:
            self.send(end)

    def _arrive(self, end: End, sequence: int, content: KeepAlive) -> None:
        if end.lease is None:
            return
        arrival = end.monitor.arrive(self.now, sequence, content)
        if arrival.news:
            assert end.monitor.heard is not None
            end.session.lease_changed(self.now, end.monitor.heard, LeaseChange.UP, self.now)
        if arrival.report:
            report = arrival.report
            end.session.lease_report(self.now, report.received, report.expected)
        self.watch(end)

    def _expire(self, end: End) -> None:
        expiry_ns = end.monitor.expiry_ns
        if expiry_ns is not None and end.monitor.expire(self.now):
            assert end.monitor.heard is not None
            end.session.lease_changed(self.now, end.monitor.heard, LeaseChange.EXPIRED, expiry_ns)

    def _at(self, due_ns: int, action: Callable[[], None]) -> None:
        self._entries += 1
        heapq.heappush(self._queue, (due_ns, self._entries, action))


class Alone:
    """A session whose neighbour is the test."""

    def __init__(self, config: LivenessConfig = CONFIG) -> None:
        self.leases: list[Lease | None] = []
        self.calls: list[Any] = []
        self.session = Session(config, self)

    def keep_alive(self, lease: Lease | None) -> None:
        self.leases.append(lease)

    def session_up(self, now: int) -> None:
        self.calls.append("up")

    def session_down(self, now: int, diagnostic: str) -> None:
        self.calls.append(diagnostic)

    def session_adapted(self, now: int, detection_time_ns: int) -> None:
        self.calls.append(detection_time_ns)

    @property
    def lease(self) -> Lease:
        lease = self.leases[-1]
        assert lease is not None
        return lease

    def hear(self, epoch: int, state: BfdState, now: int = 0, **values: Any) -> None:
        desired_ns = CONFIG.interval_ns if state is UP else CONFIG.slow_interval_ns
        content = KeepAlive(
            epoch=epoch,
            state=state,
            desired_min_tx_ns=values.pop("desired_min_tx_ns", desired_ns),
            required_min_rx_ns=values.pop("required_min_rx_ns", CONFIG.interval_ns),
            detect_multiplier=values.pop("detect_multiplier", 3),
            **values,
        )
        self.session.lease_changed(now, content, LeaseChange.UP, now)

    def expire(self, now: int, at_ns: int | None = None) -> None:
        at_ns = now if at_ns is None else at_ns
        self.session.lease_changed(now, steady_content(CONFIG), LeaseChange.EXPIRED, at_ns)

    def bring_up(self) -> None:
        self.session.start(0)
        self.hear(1, INIT)
        self.hear(2, UP)
        assert self.session.state is UP


# The state machine of RFC 5880 s.6.8.6.


@pytest.mark.parametrize(
    ("state", "heard", "after"),
    [
        (DOWN, DOWN, INIT),
        (DOWN, INIT, UP),
        (DOWN, UP, DOWN),
        (DOWN, ADMIN, DOWN),
        (INIT, DOWN, INIT),
        (INIT, INIT, UP),
        (INIT, UP, UP),
        (INIT, ADMIN, DOWN),
        (UP, DOWN, DOWN),
        (UP, INIT, UP),
        (UP, UP, UP),
        (UP, ADMIN, DOWN),
        (ADMIN, DOWN, ADMIN),
        (ADMIN, INIT, ADMIN),
        (ADMIN, UP, ADMIN),
        (ADMIN, ADMIN, ADMIN),
    ],
)
def test_state_table(state: BfdState, heard: BfdState, after: BfdState) -> None:
    assert next_state(state, heard) is after


def test_two_sessions_come_up_in_one_and_a_half_round_trips() -> None:
    wire = Wire()
    wire.start()
    wire.run(3 * wire.delay_ns)
    assert wire.a.words() == wire.b.words() == ["up"]
    assert max(wire.a.log[0][0], wire.b.log[0][0]) <= 3 * wire.delay_ns


def test_an_end_that_starts_later_is_met_within_a_slow_interval() -> None:
    wire = Wire()
    wire.a.session.start(0)
    wire.run(10 * S)
    assert wire.a.words() == []
    wire.b.session.start(wire.now)
    wire.run(1 * S + 4 * wire.delay_ns)
    assert wire.a.words() == wire.b.words() == ["up"]


def test_slow_until_up_then_at_the_configured_interval() -> None:
    alone = Alone()
    alone.session.start(0)
    assert alone.lease.transmit_interval_ns == 1 * S
    assert alone.lease.detection_time_ns == 0
    alone.hear(1, DOWN)
    assert alone.lease.content.state is INIT
    assert alone.lease.transmit_interval_ns == 1 * S
    assert alone.lease.detection_time_ns == 3 * S
    alone.hear(2, UP)
    assert alone.lease.transmit_interval_ns == 100 * MS
    assert alone.lease.detection_time_ns == 300 * MS


def test_detection_time_and_interval_are_negotiated() -> None:
    """Each takes the slower of the two wishes, and the neighbour's multiplier (s.6.8.4, 6.8.7)."""
    alone = Alone()
    alone.session.start(0)
    alone.hear(1, INIT)
    alone.hear(2, UP, desired_min_tx_ns=200 * MS, required_min_rx_ns=400 * MS, detect_multiplier=5)
    assert alone.lease.detection_time_ns == 5 * 200 * MS
    assert alone.lease.transmit_interval_ns == 400 * MS
    alone.hear(3, UP, desired_min_tx_ns=1, required_min_rx_ns=1, detect_multiplier=5)
    assert alone.lease.detection_time_ns == 5 * 100 * MS
    assert alone.lease.transmit_interval_ns == 100 * MS


def test_silence_is_control_detection_time_expired() -> None:
    wire = Wire()
    wire.start()
    wire.run(5 * S)
    cut_ns = wire.now
    wire.loss = {"a": 1.0, "b": 1.0}
    wire.run(2 * S)
    for end in wire.ends:
        assert end.words() == ["up", TIME_EXPIRED]
        assert 200 * MS < end.log[1][0] - cut_ns <= 300 * MS + wire.delay_ns


def test_a_one_way_cut_takes_both_ends_down() -> None:
    wire = Wire()
    wire.start()
    wire.run(5 * S)
    wire.loss["a"] = 1.0
    wire.run(1 * S)
    assert wire.b.words() == ["up", TIME_EXPIRED]
    assert wire.a.words() == ["up", NEIGHBOUR_DOWN]
    assert wire.a.log[1][0] <= wire.b.log[1][0] + wire.delay_ns


def test_a_cut_that_ends_is_followed_by_up() -> None:
    wire = Wire()
    wire.start()
    wire.run(2 * S)
    wire.loss = {"a": 1.0, "b": 1.0}
    wire.run(10 * S)
    wire.loss = {"a": 0.0, "b": 0.0}
    wire.run(2 * S)
    assert wire.a.words() == wire.b.words() == ["up", TIME_EXPIRED, "up"]


def test_stop_tells_the_neighbour_at_once_and_the_caller_nothing() -> None:
    wire = Wire()
    wire.start()
    wire.run(2 * S)
    wire.a.session.stop(wire.now)
    assert wire.a.lease is None
    wire.run(wire.delay_ns)
    assert wire.b.words() == ["up", NEIGHBOUR_DOWN]
    assert wire.a.words() == ["up"]
    assert wire.a.session.state is ADMIN


def test_carrier_loss_is_down_at_once_without_a_last_word() -> None:
    alone = Alone()
    alone.bring_up()
    declared = len(alone.leases)
    alone.session.path_down(1 * S)
    assert alone.calls == ["up", PATH_DOWN]
    assert alone.leases[declared:] == [None]


def test_down_is_never_reported_without_up() -> None:
    alone = Alone()
    alone.session.start(0)
    alone.hear(1, DOWN)
    assert alone.session.state is INIT
    alone.expire(3 * S)
    assert alone.session.state is DOWN
    alone.session.path_down(4 * S)
    assert alone.calls == []


def test_epochs_rise_with_every_change_of_content_over_all_channels() -> None:
    alone = Alone()
    alone.bring_up()
    alone.session.stop(1 * S)
    alone.session.start(2 * S)
    alone.hear(1, DOWN)
    contents = [lease.content for lease in alone.leases if lease is not None]
    for before, after in pairwise(contents):
        assert after.epoch == before.epoch + (after != before)


def test_a_neighbour_in_init_is_heard_again_after_a_silence() -> None:
    """Down by silence while the neighbour waits in Init: its unchanged word must count again."""
    alone = Alone()
    alone.session.start(0)
    alone.hear(1, INIT)
    assert alone.session.state is UP
    alone.expire(3 * S)
    assert alone.session.state is DOWN
    alone.hear(1, INIT, now=4 * S)
    assert alone.session.state is UP
    assert alone.calls == ["up", TIME_EXPIRED, "up"]


@pytest.mark.parametrize(
    "values",
    [
        {"detect_multiplier": 0},
        {"detect_multiplier": 256},
        {"desired_min_tx_ns": 0},
        {"desired_min_tx_ns": 1 << 62},
        {"required_min_rx_ns": 0},
        {"required_min_rx_ns": 1 << 62},
    ],
)
def test_unsound_values_are_ignored_and_counted(values: dict[str, int]) -> None:
    alone = Alone()
    alone.bring_up()
    declared = list(alone.leases)
    alone.hear(3, DOWN, **values)
    assert alone.session.state is UP
    assert alone.leases == declared
    assert alone.session.ignored == 1


def test_older_content_and_news_after_stop_are_ignored_and_counted() -> None:
    alone = Alone()
    alone.bring_up()
    alone.hear(1, DOWN)
    assert alone.session.state is UP
    alone.session.stop(1 * S)
    alone.hear(9, DOWN)
    alone.expire(2 * S)
    alone.session.lease_report(3 * S, 64, 64)
    assert alone.session.ignored == 4
    assert alone.session.state is ADMIN


def test_resume_is_up_at_once_and_says_what_the_neighbour_expects() -> None:
    alone = Alone()
    alone.session.resume(0, steady_content(CONFIG))
    assert alone.calls == ["up"]
    assert alone.leases == [Lease(steady_content(CONFIG), 100 * MS, 300 * MS)]
    alone.hear(1, UP)
    assert len(alone.leases) == 1


# Adaptation and its poll sequence.


def test_loss_lengthens_detection_and_is_reported() -> None:
    alone = Alone()
    alone.bring_up()
    for _ in range(4):
        alone.session.lease_report(1 * S, 58, 64)
    assert alone.session.loss_ratio == pytest.approx(6 / 64)
    assert alone.lease.detection_time_ns == 500 * MS
    assert alone.calls == ["up", 500 * MS]
    assert alone.lease.content == alone.leases[2].content  # type: ignore[union-attr]


def test_slowing_the_neighbour_takes_effect_at_once_and_speeding_it_up_after_its_word() -> None:
    """A shorter detection time waits until the neighbour confirmed the pace (s.6.8.3)."""
    alone = Alone()
    alone.bring_up()
    alone.session.lease_report(1 * S, 10, 64)
    slow = alone.lease
    assert slow.content.required_min_rx_ns == 1 * S
    assert slow.detection_time_ns == 10 * S
    assert not slow.content.poll

    for i in range(8):
        alone.session.lease_report((2 + i) * S, 64, 64)
    asking = alone.lease
    assert asking.content.required_min_rx_ns == 100 * MS
    assert asking.content.poll
    assert asking.detection_time_ns == 3 * 1 * S
    alone.hear(3, UP, now=20 * S, acknowledged_epoch=asking.content.epoch - 1)
    assert alone.lease.detection_time_ns == 3 * 1 * S
    alone.hear(4, UP, now=21 * S, acknowledged_epoch=asking.content.epoch)
    assert alone.lease.detection_time_ns == 300 * MS
    assert alone.calls[-1] == 300 * MS


def test_a_poll_is_answered_once() -> None:
    alone = Alone()
    alone.bring_up()
    epoch = alone.lease.content.epoch
    alone.hear(3, UP, poll=True)
    assert alone.lease.content.acknowledged_epoch == 3
    assert alone.lease.content.epoch == epoch + 1
    assert not alone.lease.content.poll
    declared = len(alone.leases)
    alone.hear(4, UP)
    assert len(alone.leases) == declared


def test_two_polls_at_once_end() -> None:
    """Each answers the other's question without asking a new one."""
    wire = Wire()
    wire.start()
    wire.run(5 * S)
    for received, reports in ((10, 1), (64, 8)):
        for _ in range(reports):
            for end in wire.ends:
                end.session.lease_report(wire.now, received, 64)
        wire.run(5 * S)
    contents = [end.lease.content for end in wire.ends if end.lease]
    wire.run(60 * S)
    assert [end.lease.content for end in wire.ends if end.lease] == contents
    assert all(end.lease and end.lease.detection_time_ns == 300 * MS for end in wire.ends)


def test_heavy_loss_that_passes_leaves_both_ends_as_they_began() -> None:
    """Both adapt, both poll; no exchange of acknowledgements may go on for ever."""
    wire = Wire()
    wire.start()
    wire.run(5 * S)
    wire.loss = {"a": 0.45, "b": 0.45}
    wire.run(120 * S)
    assert wire.a.session.loss_ratio > 0.3
    wire.loss = {"a": 0.0, "b": 0.0}
    wire.run(600 * S)
    for end in wire.ends:
        assert end.session.state is UP
        assert end.lease is not None
        assert end.lease.transmit_interval_ns == 100 * MS
        assert end.lease.detection_time_ns == 300 * MS
    sent = wire.a.sequence
    wire.run(100 * S)
    assert 1000 <= wire.a.sequence - sent <= 1334


def test_ten_percent_loss_alarms_without_adaptation_and_not_with_it() -> None:
    fixed = LivenessConfig(adaptive=False)
    alarms = {}
    for name, config in (("fixed", fixed), ("adaptive", CONFIG)):
        wire = Wire(config, config, seed=11)
        wire.start()
        wire.run(5 * S)
        wire.loss = {"a": 0.1, "b": 0.1}
        wire.run(30 * S)
        before = sum(end.words().count(TIME_EXPIRED) for end in wire.ends)
        wire.run(600 * S)
        after = sum(end.words().count(TIME_EXPIRED) for end in wire.ends)
        alarms[name] = after - before
    assert alarms["fixed"] >= 5
    assert alarms["adaptive"] == 0


# Local health.


def test_own_lateness_stretches_only_own_detection() -> None:
    alone = Alone()
    alone.bring_up()
    content = alone.lease.content
    alone.session.late(1 * S, 80 * MS)
    assert alone.lease.detection_time_ns == 600 * MS
    assert alone.lease.content == content
    assert alone.session.health_multiplier == 2
    assert alone.calls == ["up", 600 * MS]
    alone.session.late(3 * S, 0)
    assert alone.lease.detection_time_ns == 300 * MS


def test_a_node_that_slept_through_the_deadline_listens_once_more() -> None:
    alone = Alone()
    alone.bring_up()
    alone.expire(now=5 * S, at_ns=3 * S)
    assert alone.session.state is UP
    assert alone.lease.detection_time_ns == 600 * MS
    alone.expire(now=5 * S + 600 * MS)
    assert alone.calls == ["up", 600 * MS, TIME_EXPIRED]


def test_each_stall_that_the_neighbour_survives_is_forgiven() -> None:
    alone = Alone()
    alone.bring_up()
    for start_ns in range(10 * S, 60 * S, 10 * S):
        alone.expire(now=start_ns, at_ns=start_ns - 1 * S)
        alone.hear(2, UP, now=start_ns + 1 * MS)
    assert alone.session.state is UP


def test_a_node_that_is_always_late_still_detects() -> None:
    alone = Alone()
    alone.bring_up()
    now = 1 * S
    for _ in range(20):
        now += 10 * S
        alone.expire(now=now, at_ns=now - 1 * S)
        if alone.session.state is not UP:
            break
    assert alone.calls[-1] == TIME_EXPIRED
    assert now == 21 * S


# Any channel at all.


segments = st.lists(
    st.tuples(
        st.integers(1, 4000),
        st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        st.integers(0, 400),
    ),
    max_size=8,
)


def run_segments(seed: int, script: list[tuple[int, float, float, int]]) -> Wire:
    wire = Wire(seed=seed)
    wire.start()
    for for_ms, loss_a, loss_b, extra_ms in script:
        wire.loss = {"a": loss_a, "b": loss_b}
        wire.extra_ns = {"a": extra_ms * MS, "b": extra_ms * MS}
        wire.run(for_ms * MS)
    return wire


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.integers(0, 1 << 32), segments)
def test_once_the_channel_is_good_both_ends_are_up(
    seed: int, script: list[tuple[int, float, float, int]]
) -> None:
    wire = run_segments(seed, script)
    wire.loss = {"a": 0.0, "b": 0.0}
    wire.extra_ns = {"a": 0, "b": 0}
    wire.run(6 * S)
    assert [end.session.state for end in wire.ends] == [UP, UP]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), segments)
def test_same_inputs_same_outputs(seed: int, script: list[tuple[int, float, float, int]]) -> None:
    one, two = run_segments(seed, script), run_segments(seed, script)
    for end_one, end_two in zip(one.ends, two.ends, strict=True):
        assert end_one.log == end_two.log
        assert end_one.lease == end_two.lease
        assert end_one.sequence == end_two.sequence


class TwoSessions(RuleBasedStateMachine):
    """Losses, delays, stalls and restarts in any order; `Wire.check` holds all the time."""

    @initialize(seed=st.integers(0, 1 << 32))
    def begin(self, seed: int) -> None:
        self.wire = Wire(seed=seed)
        self.wire.start()

    @rule(for_ms=st.integers(1, 3000))
    def let_time_pass(self, for_ms: int) -> None:
        self.wire.run(for_ms * MS)

    @rule(name=st.sampled_from("ab"), loss=st.sampled_from([0.0, 0.2, 0.7, 1.0]))
    def lose(self, name: str, loss: float) -> None:
        self.wire.loss[name] = loss

    @rule(name=st.sampled_from("ab"), extra_ms=st.sampled_from([0, 30, 500]))
    def delay(self, name: str, extra_ms: int) -> None:
        self.wire.extra_ns[name] = extra_ms * MS

    @rule(end=st.sampled_from([0, 1]), late_ms=st.integers(0, 200))
    def run_late(self, end: int, late_ms: int) -> None:
        self.wire.ends[end].session.late(self.wire.now, late_ms * MS)

    @rule(end=st.sampled_from([0, 1]))
    def restart(self, end: int) -> None:
        restarted = self.wire.ends[end]
        restarted.session.stop(self.wire.now)
        restarted.monitor = LeaseMonitor()  # a new channel takes a new monitor
        restarted.session.start(self.wire.now)

    @invariant()
    def ups_and_downs_alternate(self) -> None:
        if not hasattr(self, "wire"):
            return
        for end in self.wire.ends:
            words = [word for word in end.words() if not word.startswith("adapted")]
            for before, after in pairwise(words):
                assert before == "up" or after == "up"
                assert before != after or after == "up"  # a stop between two ups is silent

    def teardown(self) -> None:
        if not hasattr(self, "wire"):
            return
        self.wire.loss = {"a": 0.0, "b": 0.0}
        self.wire.extra_ns = {"a": 0, "b": 0}
        # A stretched detection time may hold one end in its old belief for 8 x 3 s.
        self.wire.run(30 * S)
        assert [end.session.state for end in self.wire.ends] == [UP, UP]


TestTwoSessions = TwoSessions.TestCase
TestTwoSessions.settings = settings(
    derandomize=True, max_examples=60, stateful_step_count=25, deadline=None
)


# The monitor, packet by packet.


def say(epoch: int = 1) -> KeepAlive:
    return steady_content(CONFIG, epoch)


def test_monitor_expires_exactly_one_detection_time_after_the_last_arrival() -> None:
    monitor = LeaseMonitor()
    monitor.monitor(0, 300)
    monitor.arrive(1000, 1, say())
    assert monitor.expiry_ns == 1300
    assert not monitor.expire(1299)
    assert monitor.expire(1300)
    assert not monitor.expire(5000)
    assert monitor.expiry_ns is None


def test_monitor_without_any_arrival_is_timed_from_its_start() -> None:
    monitor = LeaseMonitor()
    monitor.monitor(50, 0)
    assert monitor.expiry_ns is None
    monitor.monitor(100, 300)
    assert monitor.expiry_ns == 400


def test_monitor_times_a_changed_lease_from_the_last_arrival_and_an_expired_one_from_now() -> None:
    monitor = LeaseMonitor()
    monitor.monitor(0, 300)
    monitor.arrive(100, 1, say())
    monitor.monitor(200, 600)
    assert monitor.expiry_ns == 700
    assert monitor.expire(2000)
    monitor.monitor(2000, 600)
    assert monitor.expiry_ns == 2600


def test_monitor_news_is_a_new_epoch_or_the_first_word_after_silence() -> None:
    monitor = LeaseMonitor()
    monitor.monitor(0, 300)
    assert monitor.arrive(1, 1, say(1)).news
    assert not monitor.arrive(2, 2, say(1)).news
    assert monitor.arrive(3, 3, say(2)).news
    assert not monitor.arrive(4, 4, say(1)).news
    assert monitor.heard == say(2)
    monitor.expire(304)
    assert monitor.arrive(400, 5, say(2)).news
    assert monitor.expiry_ns == 700


def test_monitor_replays_prove_nothing_and_are_counted() -> None:
    monitor = LeaseMonitor()
    monitor.monitor(0, 300)
    monitor.arrive(100, 5, say())
    assert not monitor.arrive(200, 5, say()).renewed
    assert monitor.last_arrival_ns == 100
    assert monitor.replayed == 1
    monitor.arrive(300, 200, say())
    assert not monitor.arrive(400, 6, say(9)).renewed
    assert monitor.replayed == 2
    assert monitor.heard == say()


def test_monitor_an_overtaken_keep_alive_is_received_but_renews_nothing() -> None:
    monitor = LeaseMonitor()
    monitor.arrive(0, 1, say())
    monitor.arrive(10, 3, say())
    assert not monitor.arrive(20, 2, say()).renewed
    assert monitor.overtaken == 1
    assert not monitor.arrive(30, 2, say()).renewed
    assert monitor.replayed == 1
    report = None
    for sequence in range(4, 65):
        report = monitor.arrive(40, sequence, say()).report
    assert report is not None
    assert (report.received, report.expected) == (64, 64)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=300), st.integers(0, 1 << 60))
def test_monitor_reports_never_exceed_what_was_sent(sequences: list[int], first: int) -> None:
    monitor = LeaseMonitor()
    total_received = total_expected = 0
    for sequence in sequences:
        report = monitor.arrive(0, first + sequence, say()).report
        if report:
            assert 0 < report.received <= report.expected
            assert report.expected >= 64
            total_received += report.received
            total_expected += report.expected
    assert total_received <= len(set(sequences))
    assert total_expected <= 400
    assert monitor.overtaken + monitor.replayed <= len(sequences)
