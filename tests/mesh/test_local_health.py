"""A node whose own timers run late doubts itself before its neighbours."""

from __future__ import annotations

import pytest

from x0mesh.mesh.local_health import MAX_MULTIPLIER, LocalHealth

MS = 1_000_000
S = 1_000_000_000


@pytest.fixture
def health() -> LocalHealth:
    return LocalHealth(tolerance_ns=25 * MS, recovery_ns=1 * S)


def test_ordinary_lateness_is_no_reason_for_doubt(health: LocalHealth) -> None:
    for i in range(100):
        assert not health.observe(i * S, 25 * MS)
    assert health.multiplier == 1


def test_each_stall_adds_one_and_the_multiplier_ends_at_eight(health: LocalHealth) -> None:
    seen = []
    for i in range(12):
        health.observe((i + 1) * S, 30 * MS)
        seen.append(health.multiplier)
    assert seen == [2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8, 8]
    assert health.multiplier == MAX_MULTIPLIER


def test_many_timers_late_in_one_stall_count_once(health: LocalHealth) -> None:
    """A pause of two seconds makes every timer due in it late; it is one pause."""
    woke_ns = 10 * S
    assert health.observe(woke_ns, 2 * S)
    for due_ns in range(8 * S, woke_ns, 100 * MS):
        health.observe(woke_ns + 1, woke_ns + 1 - due_ns)
    assert health.multiplier == 2


def test_good_behaviour_is_forgiven_one_point_per_recovery_time(health: LocalHealth) -> None:
    for i in range(3):
        health.observe((i + 1) * S, 100 * MS)
    assert health.multiplier == 4
    start_ns = 3 * S
    multipliers = []
    for tick in range(1, 41):
        health.observe(start_ns + tick * 100 * MS, 0)
        multipliers.append(health.multiplier)
    assert multipliers[8] == 4
    assert multipliers[9] == 3
    assert multipliers[19] == 2
    assert multipliers[-1] == 1


def test_silence_alone_forgives_nothing(health: LocalHealth) -> None:
    health.observe(1 * S, 100 * MS)
    assert health.multiplier == 2
    health.observe(3600 * S, 100 * MS)
    assert health.multiplier == 3
