"""The metrics table: what was measured, described and not judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from x0mesh.reports.evidence import Evidence
from x0mesh.reports.statistics import quantile
from x0mesh.scenarios.checks import Scope
from x0mesh.scenarios.metrics import METRICS
from x0mesh.scenarios.plan import EngineName


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """Over all samples of all usable replications, SI units. Values that hold over time weigh by
    that time. With censored samples, a figure above the largest known value is None (only a
    bound is known), and `mean` counts each at its bound."""

    n: int
    censored: int
    median: float | None
    p95: float | None
    mean: float
    min: float
    max: float | None


def summarize(
    engines: Sequence[EngineName], evidence: Sequence[Evidence]
) -> dict[str, dict[EngineName, MetricSummary]]:
    """Metrics with samples only, in the registry's order."""
    found: dict[str, dict[EngineName, MetricSummary]] = {}
    for metric in METRICS:
        for engine, one in zip(engines, evidence, strict=True):
            summary = _summary(metric, one)
            if summary is not None:
                found.setdefault(metric, {})[engine] = summary
    return found


def _summary(metric: str, evidence: Evidence) -> MetricSummary | None:
    draws = evidence.draws(metric, Scope())
    if not draws:
        return None
    least = np.concatenate([d.least for d in draws])
    most = np.concatenate([d.most for d in draws])
    weights = np.concatenate([d.weights for d in draws])

    def known(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return MetricSummary(
        n=len(least),
        censored=int(np.count_nonzero(np.isinf(most))),
        median=known(quantile(most, 0.5, weights)),
        p95=known(quantile(most, 0.95, weights)),
        mean=float(np.sum(least * weights) / np.sum(weights)),
        min=float(least.min()),
        max=known(float(most.max())),
    )
