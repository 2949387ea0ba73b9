"""Members leave and join all the time."""

from __future__ import annotations

import heapq
import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from x0mesh.scenarios.actions import NodeStop
from x0mesh.scenarios.faults.base import Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.faults.limits import MAX_STEPS, bounded
from x0mesh.scenarios.plan import Step
from x0mesh.scenarios.units import Duration, EventRate, Ratio

_SECOND = 1_000_000_000
_NEVER = 2**62


class Stay(BaseModel):
    """How long each member stays, or stays away: `mean` and, but for exponential, a `shape`.

    weibull and lognormal are what measured peer-to-peer systems show (Stutzbach and Rejaie
    2006); shape is Weibull's k, lognormal's sigma, or Pareto's alpha (above 1, so that a mean
    exists). A duration alone is the mean of an exponential distribution.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    distribution: Literal["exponential", "weibull", "lognormal", "pareto"] = "exponential"
    mean: Duration
    shape: Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _shape_fits(self) -> Stay:
        if self.mean < 1_000_000:
            raise ValueError("a mean stay lasts at least 1ms")
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


def _mean_alone(value: Any) -> Any:
    return {"mean": value} if isinstance(value, str) else value


StayOrMean = Annotated[Stay, BeforeValidator(_mean_alone, json_schema_input_type=Stay | Duration)]


@fault
class Churn(Fault):
    """Chosen nodes leave without a goodbye and come back, independently, until the fault ends.

    They leave either at a rate of the whole group (`leave`: a Poisson process, any present
    member) or each after a `session` of its own; they return at a rate of the whole group
    (`join`, any absent member) or each after its own time `away`. Never more than `at_most` of
    the group is away at once: a departure beyond it does not happen.
    """

    kind: ClassVar[str] = "churn"
    target: ClassVar[TargetKind] = "nodes"

    leave: EventRate | None = None
    session: StayOrMean | None = None
    join: EventRate | None = None
    away: StayOrMean | None = None
    at_most: Ratio = 0.5
    restart: Literal["cold", "warm"] = "cold"

    @model_validator(mode="after")
    def _one_way_each(self) -> Churn:
        if (self.leave is None) == (self.session is None):
            raise ValueError("give either leave (a rate) or session (how long each stays)")
        if (self.join is None) == (self.away is None):
            raise ValueError("give either join (a rate) or away (how long each stays away)")
        if self.leave == 0 or self.join == 0:
            raise ValueError("leave and join must be above 0/s")
        return self

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        bound = int(self.at_most * len(context.nodes) + 1e-9)
        if bound == 0:
            raise ValueError(
                f"at_most {self.at_most:.0%} of {len(context.nodes)} node(s) lets nobody leave"
            )
        present = _Movers(self.leave, self.session, context.random)
        absent = _Movers(self.join, self.away, context.random)
        for node in context.nodes:
            present.add(node, 0)
        left_ns: dict[str, int] = {}
        steps: list[Step] = []
        moves = 0
        while (now_ns := min(present.next_ns, absent.next_ns)) < context.duration_ns:
            moves += 1
            if moves > MAX_STEPS:
                raise ValueError(f"more than {MAX_STEPS} departures and returns; churn slower")
            if absent.next_ns <= present.next_ns:
                node = absent.take()
                steps.append(Step(left_ns.pop(node), NodeStop(node, self.restart), now_ns))
                present.add(node, now_ns)
            else:
                node = present.take()
                if len(left_ns) < bound:
                    left_ns[node] = now_ns
                    absent.add(node, now_ns)
                else:
                    present.add(node, now_ns)
        steps += [Step(at_ns, NodeStop(node, self.restart)) for node, at_ns in left_ns.items()]
        return bounded(steps)


class _Movers:
    """Who moves next: any member, at the group's `rate`, or each after a `stay` of its own."""

    def __init__(self, rate: float | None, stay: Stay | None, random: np.random.Generator) -> None:
        self.rate = rate
        self.stay = stay
        self.random = random
        self.members: list[str] = []
        self.ends: list[tuple[int, str]] = []
        self.next_ns = _NEVER

    def add(self, node: str, now_ns: int) -> None:
        if self.stay is not None:
            heapq.heappush(self.ends, (now_ns + self.stay.draw_ns(self.random), node))
            self.next_ns = self.ends[0][0]
        else:
            self.members.append(node)
            if len(self.members) == 1:
                self._wait(now_ns)

    def take(self) -> str:
        """The node that moves at `next_ns`."""
        now_ns = self.next_ns
        self.next_ns = _NEVER
        if self.stay is not None:
            node = heapq.heappop(self.ends)[1]
            if self.ends:
                self.next_ns = self.ends[0][0]
            return node
        node = self.members.pop(int(self.random.integers(len(self.members))))
        if self.members:
            self._wait(now_ns)
        return node

    def _wait(self, now_ns: int) -> None:
        assert self.rate is not None
        gap_ns = self.random.exponential(_SECOND / self.rate)
        self.next_ns = now_ns + max(1, round(min(gap_ns, float(_NEVER))))
