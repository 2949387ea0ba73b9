"""Flap damping: good news is held up, bad news never, and a calm link is forgiven."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh.config import DampingConfig
from x0mesh.mesh.damping import FlapDamping

MS = 1_000_000
S = 1_000_000_000
CONFIG = DampingConfig()


def flap(damping: FlapDamping, times: int, every_ns: int, start_ns: int = 0) -> int:
    now = start_ns
    for _ in range(times):
        damping.down(now)
        now += every_ns
    return now


def test_a_first_failure_is_forgiven_at_once() -> None:
    damping = FlapDamping(CONFIG)
    damping.down(0)
    assert damping.up(1 * S) == 1 * S


def test_hold_up_delays_every_return() -> None:
    damping = FlapDamping(DampingConfig(hold_up_ns=300 * MS))
    assert damping.up(0) == 300 * MS
    damping.down(1 * S)
    assert damping.up(2 * S) == 2 * S + 300 * MS


def test_three_quick_flaps_suppress_until_the_penalty_has_decayed_to_reuse() -> None:
    damping = FlapDamping(CONFIG)
    now = flap(damping, 3, 100 * MS)
    assert damping.is_suppressed(now)
    release_ns = damping.up(now)
    # Nearly 3000 down to 1000 takes log2(3) half-lives of 5 s.
    assert now + 7 * S < release_ns < now + 8 * S
    assert damping.is_suppressed(release_ns - 2 * MS)
    assert not damping.is_suppressed(release_ns)


def test_slow_failures_never_suppress() -> None:
    damping = FlapDamping(CONFIG)
    now = flap(damping, 50, 10 * S)
    assert not damping.is_suppressed(now)
    assert damping.up(now) == now


def test_half_life_halves_the_penalty() -> None:
    damping = FlapDamping(CONFIG)
    flap(damping, 2, 0)
    assert damping.penalty(0) == 2000.0
    assert damping.penalty(5 * S) == 1000.0
    assert damping.penalty(15 * S) == 250.0


def test_asking_often_does_not_change_the_decay() -> None:
    asked, left = FlapDamping(CONFIG), FlapDamping(CONFIG)
    flap(asked, 3, 100 * MS)
    flap(left, 3, 100 * MS)
    for now in range(1 * S, 6 * S, 10 * MS):
        asked.is_suppressed(now)
    assert abs(asked.up(6 * S) - left.up(6 * S)) <= 1 * MS


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3 * S), min_size=1, max_size=40))
def test_no_history_holds_an_adjacency_longer_than_max_hold(gaps_ns: list[int]) -> None:
    damping = FlapDamping(CONFIG)
    now = 0
    for gap_ns in gaps_ns:
        now += gap_ns
        damping.down(now)
    release_ns = damping.up(now)
    assert now <= release_ns <= now + CONFIG.max_hold_ns
    assert not damping.is_suppressed(release_ns + 1 * MS)
