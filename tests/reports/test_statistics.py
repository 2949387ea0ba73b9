from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from x0mesh.reports import statistics as s


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (7, 20), (20, 20), (37, 200)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_rate_intervals_equal_scipys(k: int, n: int, confidence: float) -> None:
    test = stats.binomtest(k, n)
    pairs = (
        (s.wilson(k, n, confidence), test.proportion_ci(confidence, method="wilson")),
        (s.clopper_pearson(k, n, confidence), test.proportion_ci(confidence, method="exact")),
    )
    for found, theirs in pairs:
        assert found.low == pytest.approx(theirs.low, abs=1e-12)
        assert found.high == pytest.approx(theirs.high, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "percent"), [(5, 45.07), (20, 13.91), (59, 4.95), (200, 1.49), (1000, 0.30)]
)
def test_no_failures_bound_the_failure_rate_as_far_as_n_allows(n: int, percent: float) -> None:
    assert s.rate_upper(0, n) * 100 == pytest.approx(percent, abs=0.006)


def test_no_replication_says_nothing_about_a_rate() -> None:
    assert s.wilson(0, 0) == s.Interval(0.0, 1.0)
    assert s.clopper_pearson(0, 0) == s.Interval(0.0, 1.0)


def test_an_impossible_rate_is_a_callers_error() -> None:
    with pytest.raises(ValueError, match="no rate"):
        s.wilson(3, 2)


@pytest.mark.parametrize(("share", "needs"), [(0.5, 5), (0.95, 59), (0.99, 299)])
def test_quantile_bounds_need_exactly_the_known_numbers(share: float, needs: int) -> None:
    assert s.quantile_rank(needs - 1, share, 0.95) is None
    assert s.quantile_rank(needs, share, 0.95) == needs


@pytest.mark.parametrize(("n", "share"), [(59, 0.95), (100, 0.95), (200, 0.9), (30, 0.5)])
def test_the_bounds_rank_is_the_first_that_covers(n: int, share: float) -> None:
    rank = s.quantile_rank(n, share, 0.95)
    assert rank is not None
    assert stats.binom.cdf(rank - 1, n, share) >= 0.95
    assert stats.binom.cdf(rank - 2, n, share) < 0.95


def test_the_order_statistic_bound_covers_the_true_quantile_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    true = stats.expon.ppf(0.95)
    draws = random.exponential(size=(2000, 100))
    covered = [
        s.quantile_upper([np.array([v]) for v in row], 0.95, 0.95)[0] >= true for row in draws
    ]
    # The exact coverage with n = 100 is 96.3 %.
    assert 0.95 <= np.mean(covered) <= 0.98


def test_many_samples_in_few_replications_cannot_carry_a_tail() -> None:
    """Heals of one replication are not independent: 20 replications of 100 are 20, not 2000."""
    bound, rank = s.quantile_upper([np.linspace(0, 1, 100)] * 20, 0.95, 0.95)
    assert (bound, rank) == (math.inf, None)


def test_quantiles_from_below_mirror_those_from_above() -> None:
    groups = [np.array([float(v)]) for v in range(1, 101)]
    low, rank = s.quantile_lower(groups, 0.05, 0.95)
    high, same = s.quantile_upper(groups, 0.95, 0.95)
    assert rank == same == 99
    assert (low, high) == (2.0, 99.0)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
)
@settings(derandomize=True, max_examples=100)
def test_at_least_the_share_lies_at_or_below_a_quantile(values: list[float], share: float) -> None:
    array = np.array(values)
    found = s.quantile(array, share)
    assert found in values
    assert np.mean(array <= found) >= share - 1e-9
    assert np.mean(array < found) < share + 1e-9
    assert s.quantile(array, share, np.ones(len(array))) == found


def test_a_censored_tail_makes_a_quantile_infinite_only_above_it() -> None:
    values = np.array([1.0, 2.0, 3.0, math.inf])
    assert s.quantile(values, 0.75) == 3.0
    assert s.quantile(values, 0.76) == math.inf


def test_a_value_that_held_longer_weighs_more() -> None:
    assert s.quantile(np.array([0.0, 1.0]), 0.5, np.array([1.0, 9.0])) == 1.0


def test_the_bootstrap_draws_replications_and_not_samples() -> None:
    """Ten replications, each a hundred equal values: the uncertainty is that of ten values."""
    random = np.random.default_rng(3)
    means = random.normal(10, 1, 10)
    groups = [np.full(100, mean) for mean in means]
    wide = s.bootstrap(groups, lambda v: float(np.mean(v)), 0.95)
    naive = stats.sem(np.concatenate(groups)) * 1.96
    assert wide.high - wide.low > 6 * 2 * naive
    assert wide == s.bootstrap(groups, lambda v: float(np.mean(v)), 0.95)
    fast = s.bootstrap_mean(groups, 0.95)
    assert fast.low == pytest.approx(wide.low)
    assert fast.high == pytest.approx(wide.high)


def test_the_bootstrap_of_a_mean_is_close_to_scipys() -> None:
    random = np.random.default_rng(5)
    values = random.exponential(size=80)
    ours = s.bootstrap_mean([np.array([v]) for v in values], 0.9, resamples=5000)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, method="percentile", rng=1, n_resamples=5000
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, rel=0.02)
    assert ours.high == pytest.approx(theirs.high, rel=0.02)


def test_too_few_replications_for_a_bootstrap_say_how_many_it_takes() -> None:
    assert s.bootstrap_mean([np.ones(50)] * 9, 0.95) == s.Interval(-math.inf, math.inf, needs=10)


def groups_around(mean: float, n: int, seed: int, spread: float = 0.02) -> list[s.Floats]:
    random = np.random.default_rng(seed)
    return [random.normal(mean, spread, 3) for _ in range(n)]


def test_tost_agrees_only_inside_the_margin() -> None:
    one, two = groups_around(0.3, 40, 1), groups_around(0.305, 40, 2)
    assert s.tost(one, two, margin=0.03).relation == "agree"
    assert s.tost(one, two, margin=0.004).relation == "undecided"


def test_tost_tells_a_real_difference_from_a_lack_of_samples() -> None:
    one, two = groups_around(0.3, 40, 1), groups_around(0.4, 40, 2)
    found = s.tost(one, two, margin=0.03)
    assert found.relation == "disagree"
    assert found.difference == pytest.approx(0.1, abs=0.02)
    assert s.tost(one[:5], one[:5], margin=10.0).relation == "undecided"


def test_failing_to_find_a_difference_is_not_agreement() -> None:
    one, two = groups_around(0.3, 12, 1, 0.5), groups_around(0.3, 12, 2, 0.5)
    assert stats.ks_2samp(np.concatenate(one), np.concatenate(two)).pvalue > 0.05
    assert s.tost(one, two, margin=0.03).relation == "undecided"


def test_tost_keeps_its_error_rate_at_the_edge_of_the_margin() -> None:
    """Truly different by the margin: `agree` at most about one time in twenty."""
    wrong = sum(
        s.tost(
            groups_around(0.3, 30, 2 * i),
            groups_around(0.33, 30, 2 * i + 1),
            margin=0.03,
            statistic=lambda v: float(np.mean(v)),
            resamples=200,
        ).relation
        == "agree"
        for i in range(100)
    )
    assert wrong <= 12
