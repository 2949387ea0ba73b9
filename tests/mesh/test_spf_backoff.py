"""V12: RFC 8405's machine, exact to the nanosecond, event by event."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh.config import MS, SpfConfig
from x0mesh.mesh.effects import TimerKey
from x0mesh.mesh.spf_backoff import HOLD_DOWN_TIMER, BackoffState, SpfBackoff

QUIET, SHORT, LONG = BackoffState.QUIET, BackoffState.SHORT_WAIT, BackoffState.LONG_WAIT


class Clockwork:
    """Runs the machine over topology events given in milliseconds."""

    def __init__(self, config: SpfConfig | None = None) -> None:
        self.timers: dict[TimerKey, int] = {}
        self.backoff = SpfBackoff(config or SpfConfig(), self)
        self.runs_ms: list[float] = []
        self.states: list[tuple[float, BackoffState]] = []

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        self.timers[key] = due_ns

    def cancel_timer(self, key: TimerKey) -> None:
        self.timers.pop(key, None)

    def run(self, events_ms: list[float], until_ms: float = 60_000) -> Clockwork:
        pending = [int(ms * MS) for ms in events_ms]
        while True:
            key = min(self.timers, key=lambda k: (self.timers[k], str(k)), default=None)
            due = self.timers[key] if key is not None else None
            if pending and (due is None or pending[0] < due):
                now = pending.pop(0)
                self.backoff.topology_event(now)
            elif key is not None and due is not None and due <= until_ms * MS:
                now = due
                del self.timers[key]
                if self.backoff.timer(key):
                    self.runs_ms.append(now / MS)
            else:
                return self
            if not self.states or self.states[-1][1] is not self.backoff.state:
                self.states.append((now / MS, self.backoff.state))


def test_a_single_event_waits_the_initial_delay_and_returns_to_quiet() -> None:
    trace = Clockwork().run([100])
    assert trace.runs_ms == [150]
    assert trace.states == [(100, SHORT), (600, LONG), (10_100, QUIET)]


def test_events_while_a_run_is_scheduled_do_not_move_it() -> None:
    assert Clockwork().run([0, 10, 49]).runs_ms == [50]


def test_events_while_learning_wait_the_short_delay() -> None:
    trace = Clockwork().run([0, 60, 270, 480])
    assert trace.runs_ms == [50, 260, 470, 680]
    assert trace.states[:2] == [(0, SHORT), (500, LONG)]


def test_a_run_scheduled_while_learning_keeps_its_short_delay() -> None:
    assert Clockwork().run([0, 499, 500.5]).runs_ms == [50, 699]


def test_after_the_learning_time_the_long_delay_applies() -> None:
    trace = Clockwork().run([0, 700, 5_800])
    assert trace.runs_ms == [50, 5_700, 10_800]
    assert trace.states == [(0, SHORT), (500, LONG), (15_800, QUIET)]


def test_hold_down_counts_from_the_last_event() -> None:
    trace = Clockwork().run([0, 9_999, 19_998, 29_999], until_ms=100_000)
    assert trace.states == [
        (0, SHORT),
        (500, LONG),
        (29_998, QUIET),
        (29_999, SHORT),
        (30_499, LONG),
        (39_999, QUIET),
    ]
    assert trace.runs_ms == [50, 14_999, 24_998, 30_049]


def test_quiet_returns_directly_from_short_wait_when_hold_down_is_shorter_than_learning() -> None:
    config = SpfConfig(time_to_learn_ns=5_000 * MS, hold_down_ns=1_000 * MS)
    trace = Clockwork(config).run([0, 500, 3_000])
    assert trace.states == [(0, SHORT), (1_500, QUIET), (3_000, SHORT), (4_000, QUIET)]
    assert trace.runs_ms == [50, 700, 3_050]


def test_quiet_does_not_lose_a_scheduled_run() -> None:
    config = SpfConfig(long_ns=5_000 * MS, hold_down_ns=2_000 * MS)
    assert Clockwork(config).run([0, 1_000]).runs_ms == [50, 6_000]


def test_hold_down_in_the_same_instant_as_an_event() -> None:
    machine = Clockwork()
    machine.backoff.topology_event(0)
    assert not machine.backoff.timer(HOLD_DOWN_TIMER)
    machine.backoff.topology_event(10_000 * MS)
    assert machine.backoff.state is SHORT


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40_000), max_size=40))
def test_every_event_is_followed_by_a_run_within_the_long_delay(times: list[int]) -> None:
    events = [float(t) for t in sorted(times)]
    trace = Clockwork().run(events, until_ms=100_000)
    for event in events:
        assert any(event < run <= event + 5_000 for run in trace.runs_ms)
    assert trace.backoff.state is QUIET
    assert not trace.backoff.pending
