"""Faults of single links: carrier lost, carrier flapping, and the silent cut that keeps carrier."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import model_validator

from x0mesh.scenarios.actions import Direction, LinkBlock, LinkDown
from x0mesh.scenarios.faults.base import Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.faults.limits import MAX_STEPS, bounded, until
from x0mesh.scenarios.plan import Step
from x0mesh.scenarios.units import Duration, format_duration


@fault
class LinkDownFault(Fault):
    """The link loses carrier at both ends: a cut cable, noticed at once by both neighbours."""

    kind: ClassVar[str] = "link.down"
    target: ClassVar[TargetKind] = "links"

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        return tuple(Step(0, LinkDown(link)) for link in context.links)

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        return {}


@fault
class LinkFlap(Fault):
    """Carrier comes and goes: down for `down`, up for `up`, over and over.

    With `jitter` each of these times is drawn evenly from its value -jitter..+jitter, for each
    link on its own; without it the chosen links flap in step.
    """

    kind: ClassVar[str] = "link.flap"
    target: ClassVar[TargetKind] = "links"

    up: Duration
    down: Duration
    jitter: Duration = 0

    @model_validator(mode="after")
    def _times_stay_positive(self) -> LinkFlap:
        if self.up == 0 or self.down == 0:
            raise ValueError("up and down must be longer than 0s")
        if self.jitter >= min(self.up, self.down):
            raise ValueError("jitter must be shorter than both up and down")
        return self

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        spread = 2 * self.jitter + 1
        flaps = context.duration_ns // max(1, self.up + self.down - 2 * self.jitter) + 1
        if flaps * len(context.links) > MAX_STEPS:
            raise ValueError(f"more than {MAX_STEPS} flaps; make up and down longer")
        steps: list[Step] = []
        for link in context.links:
            at_ns = 0
            while at_ns < context.duration_ns:
                drawn = context.random.integers(0, spread, 2)
                end_ns = at_ns + self.down - self.jitter + int(drawn[0])
                steps.append(Step(at_ns, LinkDown(link), until(end_ns, context.duration_ns)))
                at_ns = end_ns + self.up - self.jitter + int(drawn[1])
        return bounded(steps)

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        up, down = (int(random.integers(50, 2001)) for _ in range(2))
        return {"up": f"{up}ms", "down": f"{down}ms"}


@fault
class LinkBlackhole(Fault):
    """The link swallows packets while carrier stays up, so only missing keep-alives can tell.

    What BFD exists for (RFC 5880 s.1). `direction` forward is from the link's first end to its
    second; one direction alone makes a one-way link.
    """

    kind: ClassVar[str] = "link.blackhole"
    target: ClassVar[TargetKind] = "links"

    direction: Direction = "both"

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        return tuple(Step(0, LinkBlock(link, self.direction, "drop")) for link in context.links)

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        return {"direction": str(random.choice(["forward", "backward", "both"]))}


@fault
class NetClog(Fault):
    """The link delivers nothing, then everything it held, in `release` order.

    With `hold` it does so over and over: held for `hold`, open for `gap`; without it once, for
    as long as the fault lasts (FoundationDB's clogging).
    """

    kind: ClassVar[str] = "net.clog"
    target: ClassVar[TargetKind] = "links"

    hold: Duration | None = None
    gap: Duration = 10_000_000
    release: Literal["fifo", "lifo", "shuffle"] = "fifo"
    direction: Direction = "both"

    @model_validator(mode="after")
    def _times_are_positive(self) -> NetClog:
        if self.hold == 0 or self.gap == 0:
            raise ValueError("hold and gap must be longer than 0s")
        return self

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        hold_ns = context.duration_ns if self.hold is None else self.hold
        if (context.duration_ns // (hold_ns + self.gap) + 1) * len(context.links) > MAX_STEPS:
            raise ValueError(
                f"more than {MAX_STEPS} holds; hold longer than {format_duration(hold_ns)}"
            )
        return bounded(
            [
                Step(
                    at_ns,
                    LinkBlock(link, self.direction, "queue", self.release),
                    until(at_ns + hold_ns, context.duration_ns),
                )
                for link in context.links
                for at_ns in range(0, context.duration_ns, hold_ns + self.gap)
            ]
        )

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        return {
            "hold": f"{int(random.integers(20, 1001))}ms",
            "gap": f"{int(random.integers(5, 101))}ms",
            "release": str(random.choice(["fifo", "lifo", "shuffle"])),
        }
