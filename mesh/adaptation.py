"""How many missed keep-alives, and at what interval, a lossy link deserves.

Measured loss gives the smallest multiplier, then the smallest interval, that keeps the mean time
between false alarms above the configured target. Changed only by `Adaptation.report`.
"""

from __future__ import annotations

import math

from x0mesh.mesh.config import LivenessConfig

MEAN_GAP_RATIO = 0.875  # mean of the 75..100 % jitter of RFC 5880 s.6.8.7
REPORTS_KEPT = 8
CALM_REPORTS = 4
CONTRADICTION_Z = 3.0
CAUTION_Z = 2.0


def mean_false_alarm_time_ns(gap_ns: float, multiplier: int, loss_ratio: float) -> float:
    """Mean time until `multiplier` consecutive losses, trials every `gap_ns`; inf without loss.

    tau (1 - p^m) / (p^m (1 - p)): mean waiting time for a run of m losses (Feller I, XIII.7).
    """
    assert gap_ns > 0, gap_ns
    assert multiplier >= 1, multiplier
    assert 0.0 <= loss_ratio <= 1.0, loss_ratio
    if loss_ratio == 1.0:
        return gap_ns * multiplier
    run = math.pow(loss_ratio, multiplier)
    if run == 0.0:
        return math.inf
    return gap_ns * (1.0 - run) / (run * (1.0 - loss_ratio))


class LossEstimate:
    """Loss pooled over the last reports, forgotten when the newest report contradicts them.

    A plain window would need eight reports to believe a step in loss; an EWMA never forgets.
    A two-sample score test between the newest report and the rest decides.
    """

    __slots__ = ("_expected", "_lost", "_reports")

    def __init__(self) -> None:
        self._reports: list[tuple[int, int]] = []
        self._lost = 0
        self._expected = 0

    def add(self, received: int, expected: int) -> None:
        """Count one report of `expected` keep-alives of which `received` arrived."""
        assert 0 <= received <= expected, (received, expected)
        assert expected > 0, expected
        lost = expected - received
        if self._contradicts(lost, expected):
            self._reports.clear()
            self._lost = self._expected = 0
        elif len(self._reports) == REPORTS_KEPT:
            old_lost, old_expected = self._reports.pop(0)
            self._lost -= old_lost
            self._expected -= old_expected
        self._reports.append((lost, expected))
        self._lost += lost
        self._expected += expected

    @property
    def ratio(self) -> float:
        """Lost over expected; 0.0 before the first report."""
        return self._lost / self._expected if self._expected else 0.0

    def upper(self, z: float) -> float:
        """Upper limit of the Wilson score interval at `z` standard errors; 1.0 when unmeasured."""
        n = self._expected
        if n == 0:
            return 1.0
        p = self.ratio
        centre = p + z * z / (2 * n)
        spread = z * math.sqrt(p * (1.0 - p) / n + z * z / (4 * n * n))
        return min(1.0, (centre + spread) / (1.0 + z * z / n))

    def _contradicts(self, lost: int, expected: int) -> bool:
        if self._expected == 0:
            return False
        pooled = (self._lost + lost) / (self._expected + expected)
        variance = pooled * (1.0 - pooled) * (1.0 / self._expected + 1.0 / expected)
        difference = abs(lost / expected - self.ratio)
        return variance > 0.0 and difference > CONTRADICTION_Z * math.sqrt(variance)


class Adaptation:
    """The receiver's multiplier and required interval for one neighbour.

    Longer at once when loss demands it; shorter only after `CALM_REPORTS` reports in a row whose
    loss, taken at its upper limit, allows it. Bounds: `multiplier..max_multiplier` first, then
    whole multiples of `interval_ns` up to `slow_interval_ns`.
    """

    __slots__ = ("_calm", "_config", "_loss", "interval_ns", "multiplier")

    def __init__(self, config: LivenessConfig) -> None:
        self._config = config
        self._loss = LossEstimate()
        self._calm = 0
        self.multiplier = config.multiplier
        self.interval_ns = config.interval_ns

    @property
    def loss_ratio(self) -> float:
        """Measured loss towards this node, 0.0 before the first report."""
        return self._loss.ratio

    def report(self, received: int, expected: int, offered_interval_ns: int) -> bool:
        """Learn from one lease report; true if `multiplier` or `interval_ns` changed.

        `offered_interval_ns` is the neighbour's desired interval, below which it will not go.
        """
        self._loss.add(received, expected)
        if not self._config.adaptive:
            return False
        current = (self.interval_ns, self.multiplier)
        wanted = self._wanted(self._loss.ratio, offered_interval_ns)
        if wanted <= current:
            wanted = self._wanted(self._loss.upper(CAUTION_Z), offered_interval_ns)
            self._calm = self._calm + 1 if wanted < current else 0
            if self._calm < CALM_REPORTS:
                return False
        self._calm = 0
        self.interval_ns, self.multiplier = wanted
        return wanted != current

    def _wanted(self, loss_ratio: float, offered_interval_ns: int) -> tuple[int, int]:
        """(interval, multiplier), rising with loss in this order: multiplier, then interval."""
        config = self._config
        highest = max(config.multiplier, config.max_multiplier)

        def holds(interval_ns: int, multiplier: int) -> bool:
            gap_ns = MEAN_GAP_RATIO * max(interval_ns, offered_interval_ns)
            mean_ns = mean_false_alarm_time_ns(gap_ns, multiplier, loss_ratio)
            return mean_ns >= config.false_alarm_target_ns

        for multiplier in range(config.multiplier, highest + 1):
            if holds(config.interval_ns, multiplier):
                return config.interval_ns, multiplier
        steps = max(1, config.slow_interval_ns // config.interval_ns)
        for step in range(2, steps):
            if holds(step * config.interval_ns, highest):
                return step * config.interval_ns, highest
        return steps * config.interval_ns, highest
