"""The words a scenario uses for what a link does to packets, and how they become an Impairment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from x0mesh.scenarios.faults.conditions import Burst
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.units import BitRate, Duration, Ratio, Size

MAX_COST = 65535
COST_UNIT_NS = 100_000


def delay_cost(delay_ns: int) -> int:
    """Routing cost of a link nobody gave one: 1 per 100 us, at least 1."""
    return min(MAX_COST, max(1, round(delay_ns / COST_UNIT_NS)))


class LinkConditions(BaseModel):
    """What is written replaces the link's value, what is not written leaves it as it was."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delay: Duration | None = None
    jitter: Duration | None = None
    loss: Ratio | None = None
    burst: Burst | None = None
    rate: BitRate | None = Field(default=None, gt=0)
    queue: int | None = Field(default=None, ge=1, le=1_000_000, description="packets")
    reorder: Ratio | None = None
    duplicate: Ratio | None = None
    corrupt: Ratio | None = None
    mtu: Size | None = Field(default=None, ge=68)

    def apply(self, base: Impairment) -> Impairment:
        """`base` with every written value in place of its own."""
        given: dict[str, Any] = {
            "delay_ns": self.delay,
            "jitter_ns": self.jitter,
            "loss": self.loss,
            "burst": self.burst.process() if self.burst else None,
            "rate_bps": self.rate,
            "queue": self.queue,
            "reorder": self.reorder,
            "duplicate": self.duplicate,
            "corrupt": self.corrupt,
            "mtu": self.mtu,
        }
        return replace(base, **{name: value for name, value in given.items() if value is not None})
