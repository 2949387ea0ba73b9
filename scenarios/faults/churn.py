"""Members leave and join all the time."""

from __future__ import annotations

import heapq
import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from x0mesh.scenarios.actions import NodeStop
from x0mesh.scenarios.faults.base import Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.faults.limits import MAX_STEPS, bounded
from x0mesh.scenarios.plan import Step
from x0mesh.scenarios.units import Duration, EventRate, Ratio

_SECOND = 1_000_000_000
_NEVER = 2**62


class Session(BaseModel):
    """How long a member stays: `mean` and, but for exponential, a `shape`.

    weibull and lognormal are what measured peer-to-peer systems show (Stutzbach and Rejaie
    2006); shape is Weibull's k, lognormal's sigma, or Pareto's alpha (above 1, so that a mean
    exists).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    distribution: Literal["exponential", "weibull", "lognormal", "pareto"] = "exponential"
    mean: Duration
    shape: Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _shape_fits(self) -> Session:
        if self.mean < 1_000_000:
            raise ValueError("a mean session lasts at least 1ms")
        if (self.distribution == "exponential") != (self.shape is None):
            raise ValueError("shape goes with weibull, lognormal and pareto, and they need it")
        if self.distribution == "pareto" and self.shape is not None and self.shape <= 1:
            raise ValueError("a Pareto distribution has a mean only with a shape above 1")
        return self

    def draw_ns(self, random: np.random.Generator) -> int:
        shape = self.shape or 1.0
        match self.distribution:
            case "exponential":
                relative = random.exponential()
            case "weibull":
                relative = random.weibull(shape) / math.gamma(1 + 1 / shape)
            case "lognormal":
                relative = random.lognormal(-shape * shape / 2, shape)
            case "pareto":
                relative = (random.pareto(shape) + 1) * (shape - 1) / shape
        return max(1, round(min(relative * self.mean, 2.0**62)))


@fault
class Churn(Fault):
    """Chosen nodes leave without a goodbye and come back, independently, until the fault ends.

    Either `leave` is the rate of departures of the whole group (a Poisson process, any present
    member), or `session` is how long each member stays. `join` is the rate of returns of the
    whole group while anyone is away (any absent member). Never more than `at_most` of the group
    is away at once: a departure beyond it does not happen. `restart`: cold or warm.
    """

    kind: ClassVar[str] = "churn"
    target: ClassVar[TargetKind] = "nodes"

    leave: EventRate | None = None
    session: Session | None = None
    join: EventRate
    at_most: Ratio = 0.5
    restart: Literal["cold", "warm"] = "cold"

    @model_validator(mode="after")
    def _one_way_to_leave(self) -> Churn:
        if (self.leave is None) == (self.session is None):
            raise ValueError("give either leave (a rate) or session (a distribution)")
        if self.leave == 0 or self.join == 0:
            raise ValueError("leave and join must be above 0/s")
        return self

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        bound = int(self.at_most * len(context.nodes) + 1e-9)
        if bound == 0:
            raise ValueError(
                f"at_most {self.at_most:.0%} of {len(context.nodes)} node(s) lets nobody leave"
            )
        random = context.random
        present, away = list(context.nodes), dict[str, int]()
        session_ends: list[tuple[int, str]] = []
        steps: list[Step] = []

        def stay(node: str, now_ns: int) -> None:
            if self.session is not None:
                heapq.heappush(session_ends, (now_ns + self.session.draw_ns(random), node))

        for node in present:
            stay(node, 0)
        join_ns = _NEVER
        leave_ns = session_ends[0][0] if self.leave is None else _gap_ns(self.leave, random)
        while min(leave_ns, join_ns) < context.duration_ns and len(steps) <= MAX_STEPS:
            if join_ns <= leave_ns:
                node = list(away)[int(random.integers(len(away)))]
                steps.append(Step(away.pop(node), NodeStop(node, self.restart), join_ns))
                present.append(node)
                stay(node, join_ns)
                join_ns = join_ns + _gap_ns(self.join, random) if away else _NEVER
            else:
                if self.session is not None:
                    node = heapq.heappop(session_ends)[1]
                elif present:
                    node = present[int(random.integers(len(present)))]
                if len(away) == bound:
                    stay(node, leave_ns)
                else:
                    present.remove(node)
                    away[node] = leave_ns
                    if join_ns == _NEVER:
                        join_ns = leave_ns + _gap_ns(self.join, random)
                if self.leave is not None:
                    leave_ns += _gap_ns(self.leave, random)
            if self.leave is None:
                leave_ns = session_ends[0][0] if session_ends else _NEVER
        steps += [Step(since_ns, NodeStop(node, self.restart)) for node, since_ns in away.items()]
        return bounded(steps)


def _gap_ns(rate: float, random: np.random.Generator) -> int:
    return max(1, round(random.exponential(_SECOND / rate)))
