"""The `protocol:` section: settings of the mesh protocol. What is not written is its default."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from x0mesh.scenarios.fields import Flag, Number, Positive, Section, mistakes
from x0mesh.scenarios.plan import ProtocolPlan
from x0mesh.scenarios.units import Duration

_NS = "ns"
Interval = Annotated[Duration, Field(gt=0)]
MIN_KEEP_ALIVE_NS = 1_000_000
"""Below it a mesh would do nothing but send keep-alives."""


class _Settings(Section):
    """Durations become `<name>_ns`, as in the protocol's own configuration."""

    def settings(self) -> tuple[tuple[str, Any], ...]:
        given = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value is not None:
                given.append((f"{name}_ns" if _NS in field.metadata else name, value))
        return tuple(given)


def _long_enough(value_ns: int) -> int:
    if value_ns < MIN_KEEP_ALIVE_NS:
        raise ValueError("keep-alives are at least 1ms apart")
    return value_ns


# The mark belongs to the whole field: inside a union pydantic does not hand it out.
Span = Annotated[Duration | None, _NS]
PositiveSpan = Annotated[Interval | None, _NS]
KeepAliveSpan = Annotated[
    Annotated[Duration, AfterValidator(_long_enough)] | None,
    _NS,
]


class Liveness(_Settings):
    """BFD asynchronous mode (RFC 5880): interval, detect multiplier, and their adaptation."""

    interval: KeepAliveSpan = None
    multiplier: Annotated[Positive, Field(le=255)] | None = None
    slow_interval: KeepAliveSpan = None
    adaptive: Flag | None = None
    false_alarm_target: PositiveSpan = None
    max_multiplier: Annotated[Positive, Field(le=255)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Liveness:
        if self.multiplier and self.max_multiplier and self.max_multiplier < self.multiplier:
            raise mistakes(self, (("max_multiplier",), "max_multiplier is below multiplier"))
        return self


class Spf(_Settings):
    """SPF back-off delays (RFC 8405 s.5) and the local delay of RFC 8333."""

    initial: Span = None
    short: Span = None
    long: Span = None
    time_to_learn: Span = None
    hold_down: Span = None
    local_delay: Span = None


class Flooding(_Settings):
    """Life of an advertisement, and bounds on what a node keeps for others."""

    lifetime: PositiveSpan = None
    refresh: PositiveSpan = None
    max_neighbours: Positive | None = None
    max_waiting: Positive | None = None
    waiting: PositiveSpan = None
    min_origination_gap: Span = None

    @model_validator(mode="after")
    def _in_order(self) -> Flooding:
        if self.lifetime and self.refresh and self.refresh >= self.lifetime:
            raise mistakes(self, (("refresh",), "refresh must be shorter than lifetime"))
        return self


class Damping(_Settings):
    """Flap damping: a penalty per flap, halved each `half_life`."""

    hold_up: Span = None
    penalty: Annotated[Number, Field(ge=0)] | None = None
    suppress: Annotated[Number, Field(gt=0)] | None = None
    reuse: Annotated[Number, Field(gt=0)] | None = None
    half_life: PositiveSpan = None
    max_hold: Span = None

    @model_validator(mode="after")
    def _in_order(self) -> Damping:
        if self.suppress and self.reuse and self.reuse > self.suppress:
            raise mistakes(self, (("reuse",), "reuse must not exceed suppress"))
        return self


class Protocol(Section):
    """`repairs: false` switches precomputed backup paths off."""

    liveness: Liveness = Liveness()
    spf: Spf = Spf()
    flooding: Flooding = Flooding()
    damping: Damping = Damping()
    repairs: Flag = True

    def plan(self) -> ProtocolPlan:
        return ProtocolPlan(
            liveness=self.liveness.settings(),
            spf=self.spf.settings(),
            flooding=self.flooding.settings(),
            damping=self.damping.settings(),
            repairs=self.repairs,
        )
