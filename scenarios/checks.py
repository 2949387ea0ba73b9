"""What must be true of a run: the checks and steady-state conditions a scenario may state.

Here a check is words and their validation; `reports` judges it. Limits and values are floats in
the SI unit of their metric (seconds, ratio 0..1, count, bytes, bit/s).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from x0mesh.scenarios import events, live
from x0mesh.scenarios.claims import (
    BOOTSTRAP_MINIMUM,
    PER_ENGINE_MEAN,
    Across,
    AcrossMean,
    PerEngine,
    RateClaim,
    claim_of,
    replications_for_bound,
)
from x0mesh.scenarios.fields import Engines, FaultEdge, Op, Section, Slug, Slugs, mistakes
from x0mesh.scenarios.metrics import METRICS
from x0mesh.scenarios.plan import EngineName
from x0mesh.scenarios.registry import Registry, did_you_mean
from x0mesh.scenarios.schema_forms import KeysOf, OneOfNames
from x0mesh.scenarios.units import Duration, Ratio, parse_si


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"unknown metric '{name}'{METRICS.hint(name)}")
    return name


def _known_live(name: str) -> str:
    if name not in live.METRICS:
        hint = did_you_mean(name, list(live.METRICS))
        raise ValueError(f"'{name}' is no metric an engine can answer while it runs{hint}")
    return name


def _known_event(name: str) -> str:
    if name not in events.KINDS:
        raise ValueError(f"unknown event '{name}'{did_you_mean(name, list(events.KINDS))}")
    return name


MetricName = Annotated[str, AfterValidator(_known_metric), OneOfNames(lambda: METRICS)]
LiveMetricName = Annotated[str, AfterValidator(_known_live), OneOfNames(lambda: live.METRICS)]
EventKind = Annotated[str, AfterValidator(_known_event), OneOfNames(lambda: events.KINDS)]

_QUANTITY: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "number"}],
    "description": "a figure in the metric's unit: 250ms, 5%, 12, 4KiB or 10mbit",
}


def _in_metric_unit(value: Any, info: ValidationInfo) -> Any:
    metric = info.data.get("metric")
    if value is None:
        return None
    if metric is None:
        # The metric is wrong or missing, which is reported where it stands.
        return 0.0
    unit = METRICS[metric].unit if metric in METRICS else live.UNITS[metric]
    return parse_si(unit, value)


Quantity = Annotated[float, BeforeValidator(_in_metric_unit), WithJsonSchema(_QUANTITY)]
"""Needs a field `metric` before it in its model."""


class Not(Section):
    """Anything but this."""

    not_: Annotated[str | int | float, Field(alias="not")]


def _known_fields(value: dict[str, Any]) -> dict[str, Any]:
    for name in value:
        if name not in events.FIELDS:
            hint = did_you_mean(name, list(events.FIELDS))
            raise mistakes(value, ((name,), f"events have no field '{name}'{hint}"))
    return value


def _where_value(value: Any) -> Any:
    if isinstance(value, dict):
        return Not.model_validate(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a value or {{not: value}}, got {value!r}")
    return value


Where = Annotated[
    dict[
        str,
        Annotated[
            str | int | float | Not,
            BeforeValidator(_where_value),
            WithJsonSchema(
                {
                    "anyOf": [
                        {"type": ["string", "number"]},
                        {
                            "type": "object",
                            "properties": {"not": {"type": ["string", "number"]}},
                            "required": ["not"],
                            "additionalProperties": False,
                        },
                    ]
                }
            ),
        ],
    ],
    AfterValidator(_known_fields),
    KeysOf(lambda: events.FIELDS),
]


class Scope(Section):
    """Which samples count: of these faults, of this traffic, not while these faults last."""

    faults: Slugs = ()
    traffic: Slugs = ()
    excluding: Slugs = ()


class From(Section):
    """Judged from this event on, after a grace."""

    event: FaultEdge
    grace: Duration = 0


class Check(Section):
    """One expectation. `engines` narrows it to one engine; the report prints `reason`."""

    id: Slug
    kind: str
    engines: Engines | None = None
    reason: str = ""

    def needed(self, engine: EngineName) -> tuple[int, str]:
        """Least replications on `engine` that can carry the claim, and the claim in words."""
        return 1, self.kind


CHECKS: Registry[type[Check]] = Registry("x0mesh.checks")


class State(Check):
    """Base of the checks that name an event, or a metric with `op` and `value`.

    `from` says when judging starts (default: the start of chaos).
    """

    event: EventKind | None = None
    where: Where = Field(default_factory=dict)
    metric: MetricName | None = None
    scope: Scope = Scope()
    op: Op | None = None
    value: Quantity | None = None
    from_: From | None = Field(None, alias="from")

    @model_validator(mode="after")
    def _event_or_metric(self) -> State:
        if (self.event is None) == (self.metric is None):
            raise ValueError("exactly one of event / metric is needed")
        if self.metric is not None and (self.op is None or self.value is None):
            raise ValueError("a metric needs op and value")
        if self.event is not None and (self.op is not None or self.value is not None):
            raise ValueError("op and value belong to a metric, not to an event")
        if self.where and self.event is None:
            raise ValueError("where belongs to an event, not to a metric")
        return self


@CHECKS.register("within")
class Within(Check):
    """The metric's statistic stays at or under `limit`: heals within 500 ms."""

    kind: Literal["within"]
    metric: MetricName
    scope: Scope = Scope()
    limit: Quantity
    across: Across = PerEngine()

    def needed(self, engine: EngineName) -> tuple[int, str]:
        claim = claim_of(self.across, engine)
        return claim.replications_needed(upper=True), str(claim)


@CHECKS.register("never")
class Never(State):
    """No such event, or the metric never satisfies the condition, in any replication.

    `across: {at_most: 5%}` claims a rate for runs not made, too.
    """

    kind: Literal["never"]
    across: RateClaim | None = None

    def needed(self, engine: EngineName) -> tuple[int, str]:
        if self.across is None:
            return 1, "never in these replications"
        return self.across.replications_needed(), str(self.across)


@CHECKS.register("always")
class Always(State):
    """The metric satisfies the condition at all times, or the event happens, in every
    replication. `across: {at_most: 5%}` claims a rate of exceptions for runs not made, too."""

    kind: Literal["always"]
    across: RateClaim | None = None

    def needed(self, engine: EngineName) -> tuple[int, str]:
        if self.across is None:
            return 1, "always in these replications"
        return self.across.replications_needed(), str(self.across)


@CHECKS.register("sometimes")
class Sometimes(State):
    """The event, or the metric's condition, in at least this share of the replications.

    Guards against vacuous runs. `at_least` missing: in one replication at least.
    """

    kind: Literal["sometimes"]
    at_least: Ratio | None = None
    confidence: Ratio | None = None

    @model_validator(mode="after")
    def _confidence_needs_share(self) -> Sometimes:
        if self.confidence is not None and not (
            0 < self.confidence < 1 and self.at_least is not None and 0 < self.at_least < 1
        ):
            raise ValueError("confidence (0% to 100%) needs at_least between 0% and 100%")
        return self

    def needed(self, engine: EngineName) -> tuple[int, str]:
        if self.confidence is None or self.at_least is None:
            return 1, "sometimes in these replications"
        claim = f"at least {self.at_least * 100:g}% at {self.confidence * 100:g}% confidence"
        return replications_for_bound(self.at_least, self.confidence), claim


@CHECKS.register("slo")
class Slo(Check):
    """A service level: the metric's statistic satisfies `op` `value`."""

    kind: Literal["slo"]
    metric: MetricName
    scope: Scope = Scope()
    op: Op
    value: Quantity
    across: AcrossMean = PER_ENGINE_MEAN

    def needed(self, engine: EngineName) -> tuple[int, str]:
        claim = claim_of(self.across, engine)
        return claim.replications_needed(upper=self.op in ("<", "<=")), str(claim)


@CHECKS.register("agree")
class Agree(Check):
    """Both engines give the same distribution, shown by an equivalence test against `margin`."""

    kind: Literal["agree"]
    metric: MetricName
    scope: Scope = Scope()
    margin: Quantity
    confidence: Ratio = 0.95
    on_disagree: Literal["warn", "fail"] = "fail"

    @field_validator("margin")
    @classmethod
    def _some_margin(cls, value: float) -> float:
        # The unit's parser refuses negative figures, except for plain counts.
        if value < 0:
            raise ValueError("a margin cannot be negative")
        return value

    @field_validator("confidence")
    @classmethod
    def _possible(cls, value: float) -> float:
        if not 0.5 < value < 1:
            raise ValueError("confidence lies between 50% and 100%")
        return value

    def needed(self, engine: EngineName) -> tuple[int, str]:
        return BOOTSTRAP_MINIMUM, "an equivalence test by bootstrap over replications"


class SteadyState(Section):
    """Must hold at the end of warmup (else inconclusive) and of settle (else fail)."""

    id: Slug
    metric: LiveMetricName
    op: Op
    value: Quantity


class AbortIf(Section):
    """Stops the run, undoes everything and reports `aborted` once it holds."""

    metric: LiveMetricName
    op: Op
    value: Quantity


def check_of(value: Any) -> Check:
    """The check that a mapping of the file describes, by its `kind`."""
    if isinstance(value, Check):
        return value
    if not isinstance(value, dict):
        raise ValueError("expected a check: {id: ..., kind: ..., ...}")
    kind = value.get("kind")
    if kind is None:
        raise ValueError(f"kind is missing; one of {', '.join(CHECKS)}")
    if not isinstance(kind, str) or kind not in CHECKS:
        raise mistakes(
            value, (("kind",), f"unknown kind of check '{kind}'{CHECKS.hint(str(kind))}")
        )
    return CHECKS[kind].model_validate(value)
