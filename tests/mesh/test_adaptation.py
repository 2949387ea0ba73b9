"""Measured loss becomes multiplier and interval: enough patience, no more, and no nervousness."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh.adaptation import (
    CALM_REPORTS,
    MEAN_GAP_RATIO,
    Adaptation,
    LossEstimate,
    mean_false_alarm_time_ns,
)
from x0mesh.mesh.config import LivenessConfig

MS = 1_000_000
S = 1_000_000_000
CONFIG = LivenessConfig(interval_ns=50 * MS)


def feed(adaptation: Adaptation, lost: int, reports: int = 1) -> list[bool]:
    return [adaptation.report(64 - lost, 64, CONFIG.interval_ns) for _ in range(reports)]


def test_ten_percent_loss_at_50_ms_errs_every_55_s_with_three_and_every_90_min_with_five() -> None:
    assert mean_false_alarm_time_ns(50 * MS, 3, 0.1) / S == pytest.approx(55.5, abs=0.1)
    assert mean_false_alarm_time_ns(50 * MS, 5, 0.1) / S == pytest.approx(5555.5, abs=1)


def test_the_law_at_its_ends() -> None:
    assert mean_false_alarm_time_ns(50 * MS, 3, 0.0) == math.inf
    assert mean_false_alarm_time_ns(50 * MS, 3, 1.0) == 150 * MS
    assert mean_false_alarm_time_ns(50 * MS, 1, 0.25) == 50 * MS / 0.25


def test_a_clean_link_keeps_the_configured_values() -> None:
    adaptation = Adaptation(CONFIG)
    assert not any(feed(adaptation, lost=0, reports=100))
    assert (adaptation.interval_ns, adaptation.multiplier) == (50 * MS, 3)


def test_ten_percent_loss_asks_for_five() -> None:
    adaptation = Adaptation(CONFIG)
    feed(adaptation, lost=6, reports=8)
    assert (adaptation.interval_ns, adaptation.multiplier) == (50 * MS, 5)


def test_a_step_in_loss_is_believed_with_the_first_report() -> None:
    adaptation = Adaptation(CONFIG)
    feed(adaptation, lost=0, reports=8)
    assert feed(adaptation, lost=13) == [True]
    assert adaptation.loss_ratio == 13 / 64
    assert adaptation.multiplier >= 7


def test_heavy_loss_slows_the_neighbour_down_when_the_multiplier_is_exhausted() -> None:
    adaptation = Adaptation(CONFIG)
    feed(adaptation, lost=32, reports=4)
    assert adaptation.multiplier == CONFIG.max_multiplier
    assert CONFIG.interval_ns < adaptation.interval_ns <= CONFIG.slow_interval_ns
    assert adaptation.interval_ns % CONFIG.interval_ns == 0


def test_total_loss_stays_within_the_bounds() -> None:
    adaptation = Adaptation(CONFIG)
    feed(adaptation, lost=64, reports=4)
    assert adaptation.multiplier == CONFIG.max_multiplier
    assert adaptation.interval_ns == CONFIG.slow_interval_ns


def test_recovery_is_believed_only_after_calm_reports() -> None:
    adaptation = Adaptation(CONFIG)
    feed(adaptation, lost=13)
    raised = adaptation.multiplier
    for _ in range(CALM_REPORTS - 1):
        assert feed(adaptation, lost=0) == [False]
        assert adaptation.multiplier == raised
    feed(adaptation, lost=0, reports=2 * CALM_REPORTS)
    assert adaptation.multiplier == CONFIG.multiplier


def test_steady_loss_does_not_make_it_nervous() -> None:
    """At a constant 10 % the values may settle, then change at most once in 50 reports."""
    rng = random.Random(7)
    adaptation = Adaptation(CONFIG)

    def report() -> bool:
        received = sum(rng.random() >= 0.1 for _ in range(64))
        return adaptation.report(received, 64, CONFIG.interval_ns)

    for _ in range(16):
        report()
    changes = sum(report() for _ in range(400))
    assert changes <= 8
    assert adaptation.multiplier in (5, 6)


def test_not_adaptive_still_measures() -> None:
    adaptation = Adaptation(LivenessConfig(adaptive=False))
    assert not any(feed(adaptation, lost=32, reports=8))
    assert adaptation.multiplier == 3
    assert adaptation.loss_ratio == 0.5


def test_a_neighbour_that_offers_a_slow_interval_needs_a_smaller_multiplier() -> None:
    slow, fast = Adaptation(CONFIG), Adaptation(CONFIG)
    for _ in range(4):
        slow.report(54, 64, 1 * S)
        fast.report(54, 64, 50 * MS)
    assert slow.multiplier < fast.multiplier


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 64), min_size=1, max_size=40))
def test_the_target_holds_at_the_measured_loss_or_the_bounds_are_reached(lost: list[int]) -> None:
    adaptation = Adaptation(CONFIG)
    for count in lost:
        feed(adaptation, count)
        mean_ns = mean_false_alarm_time_ns(
            MEAN_GAP_RATIO * adaptation.interval_ns, adaptation.multiplier, adaptation.loss_ratio
        )
        at_bound = (adaptation.interval_ns, adaptation.multiplier) == (
            CONFIG.slow_interval_ns,
            CONFIG.max_multiplier,
        )
        assert mean_ns >= CONFIG.false_alarm_target_ns or at_bound
        assert CONFIG.multiplier <= adaptation.multiplier <= CONFIG.max_multiplier


def test_the_upper_limit_covers_the_true_loss_and_shrinks() -> None:
    estimate = LossEstimate()
    assert estimate.upper(1.0) == 1.0
    limits = []
    for _ in range(8):
        estimate.add(58, 64)
        limits.append(estimate.upper(1.0))
    assert all(limit > 6 / 64 for limit in limits)
    assert limits == sorted(limits, reverse=True)
