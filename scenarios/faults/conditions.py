"""Worse conditions on links: delay, loss, rate and the like, at once or following a trace."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from x0mesh.scenarios.actions import Direction, LinkImpair
from x0mesh.scenarios.faults.base import Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.impairment import GilbertElliott, Impairment
from x0mesh.scenarios.plan import Step
from x0mesh.scenarios.topology import Topology
from x0mesh.scenarios.units import BitRate, Duration, Ratio, Size

Packets = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


def own_queue(topology: Topology, link: str) -> int:
    """The link's own queue limit, so that a fault that names none changes none."""
    entry = topology.links[link]
    return max(entry.forward.queue, entry.backward.queue)


class Burst(BaseModel):
    """Gilbert-Elliott loss by mean durations: good for `good`, then bad for `bad`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    good: Duration
    bad: Duration
    loss_good: Ratio = 0.0
    loss_bad: Ratio = 1.0

    @model_validator(mode="after")
    def _loses_something(self) -> Burst:
        if self.good == 0 or self.bad == 0:
            raise ValueError("good and bad must be longer than 0s")
        if self.loss_good == self.loss_bad == 0:
            raise ValueError("loses nothing: loss_good and loss_bad are both 0%")
        return self

    def process(self) -> GilbertElliott:
        return GilbertElliott(self.good, self.bad, self.loss_good, self.loss_bad)


@fault
class NetImpair(Fault):
    """Adds delay, jitter, loss and so on to what the link already has.

    Delays and jitter add to the link's own, losses combine as independent, of rates and queues
    the smaller counts. `burst` is Gilbert-Elliott loss by durations. `reorder` packets overtake,
    `corrupt` ones arrive damaged and are dropped by their checksum. `direction` forward is from
    the link's first end to its second.
    """

    kind: ClassVar[str] = "net.impair"
    target: ClassVar[TargetKind] = "links"

    delay: Duration = 0
    jitter: Duration = 0
    loss: Ratio = 0.0
    burst: Burst | None = None
    rate: BitRate | None = None
    queue: Packets | None = None
    reorder: Ratio = 0.0
    duplicate: Ratio = 0.0
    corrupt: Ratio = 0.0
    direction: Direction = "both"

    @model_validator(mode="after")
    def _changes_something(self) -> NetImpair:
        if self.rate == 0:
            raise ValueError("rate must be above 0bit; for a silent cut use link.blackhole")
        given = self.model_dump(exclude={"direction"})
        if not any(given.values()):
            raise ValueError("changes nothing: give delay, jitter, loss, burst, rate, ...")
        return self

    def impairment(self, own_queue: int) -> Impairment:
        """What is added to one direction of a link whose own queue limit is `own_queue`."""
        return Impairment(
            delay_ns=self.delay,
            jitter_ns=self.jitter,
            loss=self.loss,
            burst=self.burst.process() if self.burst else None,
            rate_bps=self.rate or 0,
            queue=self.queue or own_queue,
            reorder=self.reorder,
            duplicate=self.duplicate,
            corrupt=self.corrupt,
        )

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        return tuple(
            Step(
                0,
                LinkImpair(
                    link, self.direction, self.impairment(own_queue(context.topology, link))
                ),
            )
            for link in context.links
        )

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        """One to three of the conditions, each of any strength a real link shows."""
        strengths: dict[str, Any] = {
            "delay": f"{int(random.integers(1, 201))}ms",
            "jitter": f"{int(random.integers(1, 51))}ms",
            "loss": f"{int(random.integers(1, 41))}%",
            "burst": {
                "good": f"{int(random.integers(200, 5001))}ms",
                "bad": f"{int(random.integers(20, 501))}ms",
            },
            "rate": f"{int(random.integers(64, 10_001))}kbit",
            "reorder": f"{int(random.integers(1, 26))}%",
            "duplicate": f"{int(random.integers(1, 26))}%",
            "corrupt": f"{int(random.integers(1, 26))}%",
        }
        names = list(strengths)
        chosen = random.permutation(len(names))[: int(random.integers(1, 4))]
        return {names[i]: strengths[names[i]] for i in sorted(int(i) for i in chosen)}


@fault
class NetMtu(Fault):
    """Packets larger than `bytes` vanish silently: a path-MTU black hole (RFC 2923 s.2.1)."""

    kind: ClassVar[str] = "net.mtu"
    target: ClassVar[TargetKind] = "links"

    bytes: Size
    direction: Direction = "both"

    @model_validator(mode="after")
    def _is_an_mtu(self) -> NetMtu:
        if not 68 <= self.bytes <= 65_535:
            raise ValueError("an MTU is 68B to 65535B (RFC 791)")
        return self

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        return tuple(
            Step(
                0,
                LinkImpair(
                    link,
                    self.direction,
                    Impairment(mtu=self.bytes, queue=own_queue(context.topology, link)),
                ),
            )
            for link in context.links
        )

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        return {"bytes": f"{int(random.choice([256, 576, 1024, 1280]))}B"}
