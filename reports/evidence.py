"""What a check is judged on: an engine's replications, and a metric's samples within a scope."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from x0mesh.reports import metrics
from x0mesh.reports.observation import Observation, View
from x0mesh.reports.reachability import TimeSample
from x0mesh.reports.statistics import Floats
from x0mesh.scenarios.checks import From, Not, Scope
from x0mesh.scenarios.fields import edge
from x0mesh.scenarios.metrics import METRICS, MetricSample
from x0mesh.scenarios.plan import EngineName, Plan
from x0mesh.scenarios.record import Event

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

RECORDED_ON_DEMAND = frozenset({"packet.accepted"})
"""Events an engine records only when it judges them: none at all is no evidence of absence."""


class NotJudgeableError(Exception):
    """The check asks for something this metric does not have; the message says what."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One replication's samples of a metric."""

    seen: Observation
    samples: list[MetricSample]

    @property
    def seed(self) -> int:
        return self.seen.record.seed

    @property
    def least(self) -> Floats:
        """Values; a censored one is at least this."""
        return np.array([s.value for s in self.samples], dtype=np.float64)

    @property
    def most(self) -> Floats:
        """Values; a censored one may be anything above, so +inf."""
        return np.array(
            [math.inf if s.censored else s.value for s in self.samples], dtype=np.float64
        )

    @property
    def weights(self) -> Floats:
        """Time for values that hold over time, else one each."""
        return np.array(
            [s.lasted_ns / 1e9 if isinstance(s, TimeSample) else 1.0 for s in self.samples]
        )


class Evidence:
    """Usable replications of one engine, in replication order; samples are computed once."""

    def __init__(self, engine: EngineName, seen: Sequence[Observation]) -> None:
        self.engine = engine
        self.seen = list(seen)
        self._known: dict[tuple[str, str, str], list[Draw]] = {}

    def draws(self, metric: str, scope: Scope, start: From | None = None) -> list[Draw]:
        """Samples by replication, those without any left out. NotJudgeableError: the scope cannot
        be applied to this metric."""
        key = (metric, repr(scope), repr(start))
        if key not in self._known:
            self._known[key] = self._draws(metric, scope, start)
        return self._known[key]

    def _draws(self, metric: str, scope: Scope, start: From | None) -> list[Draw]:
        per = METRICS[metric].per
        if scope.traffic and "flow" not in per:
            raise NotJudgeableError(f"{metric} is counted per {per}, so scope cannot name traffic")
        if (scope.faults or scope.excluding) and per == "replication":
            raise NotJudgeableError(f"{metric} is counted per {per}, so scope cannot name faults")
        found = []
        for seen in self.seen:
            from_ns = judged_from(seen, start)
            if from_ns is None:
                continue
            during = None if "fault" in per or not scope.faults else scope.faults
            view = View(seen, from_ns, scope.excluding, during)
            samples = [s for s in metrics.samples(metric, view) if _in_scope(s, scope, per)]
            if samples:
                found.append(Draw(seen, samples))
        return found


def _in_scope(sample: MetricSample, scope: Scope, per: str) -> bool:
    if scope.faults and "fault" in per and sample.fault not in scope.faults:
        return False
    return not scope.traffic or sample.traffic in scope.traffic


def judged_from(seen: Observation, start: From | None) -> int | None:
    """End of warmup, or the named event plus its grace; None if it did not happen."""
    if start is None:
        return seen.record.warmup_end_ns
    fault, which = edge(start.event)
    for life in seen.lives:
        if life.name == fault:
            at_ns = life.started_ns if which == "started" else life.ended_ns
            return None if at_ns is None else at_ns + start.grace
    return None


def matching(seen: Observation, kind: str, where: dict[str, object], from_ns: int) -> list[Event]:
    """Events of this kind from this moment on that satisfy every condition."""
    tests = [(field, *_wanted(value, seen.plan)) for field, value in where.items()]
    return [
        event
        for event in seen.events(kind)
        if event.t_ns >= from_ns
        and all(
            (_field(event, field, seen.plan) in values) is wanted for field, values, wanted in tests
        )
    ]


def _wanted(value: object, plan: Plan) -> tuple[tuple[object, ...], bool]:
    if isinstance(value, Not):
        return _names(value.not_, plan), False
    return _names(value, plan), True


def _names(value: object, plan: Plan) -> tuple[object, ...]:
    if isinstance(value, str) and value.startswith("@"):
        return dict(plan.bindings).get(value[1:], ())
    return (value,)


def _field(event: Event, field: str, plan: Plan) -> object:
    if field == "trust_domain":
        if event.peer.startswith("spiffe://"):
            return event.peer.removeprefix("spiffe://").partition("/")[0]
        return plan.identity.trust_domain
    return getattr(event, field)
