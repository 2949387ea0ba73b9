"""What samples allow us to say: intervals for rates, quantiles and means, and equivalence.

Replications are the independent samples; what happens inside one is not independent, so every
interval here takes values grouped by replication. Values censored from above (never healed)
enter as a lower bound for the true value, and as +inf where the worst case counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from x0mesh.scenarios.claims import BOOTSTRAP_MINIMUM, replications_for_bound

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], float]
Relation = Literal["agree", "disagree", "undecided"]

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends belong to it; an end may be infinite. `needs`: replications it would take to
    carry the claim, when `low`..`high` is vacuous for want of them."""

    low: float
    high: float
    needs: int = 0


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Two-sided score interval of a rate (Wilson 1927); the whole unit range for n = 0."""
    _check_rate(successes, n)
    if n == 0:
        return Interval(0.0, 1.0)
    z = float(special.ndtri(0.5 + confidence / 2))
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else centre - half
    return Interval(low, 1.0 if successes == n else centre + half)


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Two-sided exact interval of a rate (Clopper and Pearson 1934)."""
    tail = (1 - confidence) / 2
    return Interval(rate_lower(successes, n, 1 - tail), rate_upper(successes, n, 1 - tail))


def rate_upper(successes: int, n: int, confidence: float = 0.95) -> float:
    """One-sided exact upper bound: 0 in 59 bounds the rate at 4.95 % with 95 % confidence."""
    _check_rate(successes, n)
    if successes == n:
        return 1.0
    return float(special.betaincinv(successes + 1, n - successes, confidence))


def rate_lower(successes: int, n: int, confidence: float = 0.95) -> float:
    """One-sided exact lower bound of a rate."""
    _check_rate(successes, n)
    if successes == 0:
        return 0.0
    return float(special.betaincinv(successes, n - successes + 1, 1 - confidence))


def _check_rate(successes: int, n: int) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no rate")


def quantile(values: Floats, share: float, weights: Floats | None = None) -> float:
    """Smallest sample with at least `share` of the samples (or of their weight) at or below it
    (type 1 of Hyndman and Fan 1996); +inf counts."""
    if not len(values):
        raise ValueError("no samples")
    order = np.argsort(values, kind="stable")
    if weights is None:
        return float(values[order[max(0, math.ceil(share * len(order) - 1e-9) - 1)]])
    reached = np.cumsum(weights[order])
    k = int(np.searchsorted(reached, share * reached[-1] * (1 - 1e-12), side="left"))
    return float(values[order[min(k, len(order) - 1)]])


def quantile_rank(n: int, share: float, confidence: float) -> int | None:
    """Rank r (1..n) such that the r-th smallest of n independent samples is at or above the
    population's quantile with this confidence; None when n is too small (p95 at 95 %: 59)."""
    if n < replications_for_bound(share, confidence):
        return None
    ranks = np.arange(1, n + 1)
    reached = special.bdtr(ranks - 1, n, share) >= confidence - 1e-12
    return int(ranks[np.argmax(reached)]) if reached.any() else None


def quantile_upper(
    groups: Sequence[Floats],
    share: float,
    confidence: float,
    weights: Sequence[Floats] | None = None,
) -> tuple[float, int | None]:
    """Distribution-free upper bound of a quantile, and the rank used; (+inf, None) if too few.

    With one value a group this is the order-statistic bound (David and Nagaraja, 7.1). Several
    values of one replication count as if they were one observation repeated, the worst case of
    their dependence: the bound is the pooled quantile at rank/replications.
    """
    n = sum(1 for g in groups if len(g))
    rank = quantile_rank(n, share, confidence)
    if rank is None:
        return math.inf, None
    weight = None if weights is None else np.concatenate(weights)
    return quantile(np.concatenate(groups), rank / n, weight), rank


def quantile_lower(
    groups: Sequence[Floats],
    share: float,
    confidence: float,
    weights: Sequence[Floats] | None = None,
) -> tuple[float, int | None]:
    """The same from below; (-inf, None) if too few."""
    bound, rank = quantile_upper([-g for g in groups], 1 - share, confidence, weights)
    return -bound, rank


def bootstrap(
    groups: Sequence[Floats],
    statistic: Statistic,
    confidence: float = 0.95,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Two-sided percentile interval (Efron 1979); whole replications are drawn, not samples."""
    if confidence <= 0 or confidence >= 1:
        raise ValueError("confidence must lie between 0 and 1")
    filled = [g for g in groups if len(g)]
    if len(filled) < BOOTSTRAP_MINIMUM:
        return Interval(-math.inf, math.inf, needs=BOOTSTRAP_MINIMUM)
    drawn = _resampled(filled, statistic, resamples, np.random.Generator(np.random.Philox(seed)))
    tail = (1 - confidence) / 2
    return Interval(quantile(drawn, tail), quantile(drawn, 1 - tail))


def _resampled(
    groups: Sequence[Floats], statistic: Statistic, resamples: int, random: np.random.Generator
) -> Floats:
    picks = random.integers(0, len(groups), (resamples, len(groups)))
    return np.array(
        [statistic(np.concatenate([groups[i] for i in pick])) for pick in picks], dtype=np.float64
    )


def bootstrap_mean(
    groups: Sequence[Floats],
    confidence: float,
    weights: Sequence[Floats] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """`bootstrap` of the pooled (weighted) mean, from each replication's sum and weight."""
    weighed = [np.ones(len(g)) for g in groups] if weights is None else weights
    filled = [(g, w) for g, w in zip(groups, weighed, strict=True) if len(g)]
    if len(filled) < BOOTSTRAP_MINIMUM:
        return Interval(-math.inf, math.inf, needs=BOOTSTRAP_MINIMUM)
    sums = np.array([np.sum(g * w) for g, w in filled])
    counts = np.array([np.sum(w) for _, w in filled])
    random = np.random.Generator(np.random.Philox(seed))
    picks = random.integers(0, len(filled), (resamples, len(filled)))
    drawn = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    tail = (1 - confidence) / 2
    return Interval(quantile(drawn, tail), quantile(drawn, 1 - tail))


@dataclass(frozen=True, slots=True)
class Equivalence:
    """`interval` holds the difference second minus first at 1 - 2 alpha (Schuirmann 1987)."""

    relation: Relation
    difference: float
    interval: Interval


def tost(
    first: Sequence[Floats],
    second: Sequence[Floats],
    margin: float,
    statistic: Statistic | None = None,
    *,
    alpha: float = 0.05,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Equivalence:
    """Two one-sided tests of |statistic(second) - statistic(first)| < margin, by bootstrap over
    replications. agree: both reject. disagree: the interval lies outside the margin. Otherwise
    undecided, also with fewer than 10 replications a side. The default statistic is the median.
    """
    if margin <= 0:
        raise ValueError("an equivalence margin is above zero")
    measure = statistic or (lambda values: quantile(values, 0.5))
    one, two = [g for g in first if len(g)], [g for g in second if len(g)]
    if min(len(one), len(two)) < BOOTSTRAP_MINIMUM:
        unknown = Interval(-math.inf, math.inf, needs=BOOTSTRAP_MINIMUM)
        return Equivalence("undecided", math.nan, unknown)
    random = np.random.Generator(np.random.Philox(seed))
    with np.errstate(invalid="ignore"):
        drawn = _resampled(two, measure, resamples, random)
        drawn = drawn - _resampled(one, measure, resamples, random)
        difference = measure(np.concatenate(two)) - measure(np.concatenate(one))
    if np.isnan(drawn).any():
        return Equivalence("undecided", difference, Interval(-math.inf, math.inf))
    interval = Interval(quantile(drawn, alpha), quantile(drawn, 1 - alpha))
    if -margin < interval.low and interval.high < margin:
        return Equivalence("agree", difference, interval)
    if interval.low >= margin or interval.high <= -margin:
        return Equivalence("disagree", difference, interval)
    return Equivalence("undecided", difference, interval)
