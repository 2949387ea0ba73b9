"""Metrics that hold over a stretch of time: the engine's series cut to judged time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from x0mesh.reports.observation import View
from x0mesh.scenarios.metrics import MetricSample
from x0mesh.scenarios.record import Record


@dataclass(frozen=True, slots=True)
class TimeSample(MetricSample):
    """A value that held from `t_ns` until `until_ns`; means weigh it by that time."""

    until_ns: int = 0

    @property
    def lasted_ns(self) -> int:
        return self.until_ns - (self.t_ns or 0)


def series(name: str) -> Callable[[View], list[MetricSample]]:
    """The metric that reads the engine's series of this name."""

    def compute(view: View) -> list[MetricSample]:
        samples: list[MetricSample] = []
        for found in view.record.series:
            if found.metric != name or not len(found.t_ns):
                continue
            until = np.append(found.t_ns[1:], view.record.end_ns)
            for start, end in view.spans:
                low = max(0, int(np.searchsorted(found.t_ns, start, side="right")) - 1)
                high = int(np.searchsorted(found.t_ns, end, side="left"))
                for i in range(low, high):
                    from_ns, to_ns = max(int(found.t_ns[i]), start), min(int(until[i]), end)
                    if from_ns < to_ns:
                        value = float(found.values[i])
                        samples.append(TimeSample(value, t_ns=from_ns, until_ns=to_ns))
        return samples

    return compute


def value_at(record: Record, metric: str, t_ns: int) -> float | None:
    """What a series said at this instant: its last value at or before it."""
    for found in record.series:
        if found.metric == metric:
            k = int(np.searchsorted(found.t_ns, t_ns, side="right"))
            if k:
                return float(found.values[k - 1])
    return None
