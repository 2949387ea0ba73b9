"""The `traffic:` section: probe flows, each kind a registered class."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from x0mesh.scenarios.fields import Section, Slug, mistakes
from x0mesh.scenarios.plan import FlowPlan
from x0mesh.scenarios.registry import Registry
from x0mesh.scenarios.selectors import NodeSelector
from x0mesh.scenarios.units import Duration, EventRate, Size

PacketSize = Annotated[Size, Field(ge=16, le=65000)]
PacketRate = Annotated[EventRate, Field(gt=0, le=100_000)]


class Traffic(Section):
    """Flows from every chosen source to every chosen destination (never to itself).

    `start` counts from the beginning of the replication.
    """

    id: Slug
    kind: str
    from_: NodeSelector = Field(alias="from")
    to: NodeSelector
    start: Duration = 0

    def flow(self, name: str, source: str, destination: str) -> FlowPlan:
        """The plan of one flow of this entry."""
        raise NotImplementedError


TRAFFIC: Registry[type[Traffic]] = Registry("x0mesh.traffic")


class _Paced(Traffic):
    rate: PacketRate
    size: PacketSize = 256
    reply: PacketSize | None = None

    def _flow(
        self,
        kind: Literal["cbr", "poisson", "request"],
        name: str,
        source: str,
        destination: str,
    ) -> FlowPlan:
        return FlowPlan(
            name=name,
            traffic=self.id,
            source=source,
            destination=destination,
            kind=kind,
            interval_ns=max(1, round(1e9 / self.rate)),
            size_bytes=self.size,
            reply_bytes=self.reply or 0,
            start_ns=self.start,
        )


@TRAFFIC.register("cbr")
class ConstantRate(_Paced):
    """One packet of `size` each 1/`rate`; with `reply`, each is answered with that many bytes."""

    kind: Literal["cbr"]

    def flow(self, name: str, source: str, destination: str) -> FlowPlan:
        return self._flow("request" if self.reply else "cbr", name, source, destination)


@TRAFFIC.register("poisson")
class Poisson(_Paced):
    """Packets with exponential gaps, `rate` a second on average; `reply` as for cbr."""

    kind: Literal["poisson"]

    def flow(self, name: str, source: str, destination: str) -> FlowPlan:
        return self._flow("poisson", name, source, destination)


@TRAFFIC.register("bulk")
class Bulk(Traffic):
    """As many segments of `size` as a TCP-like window allows."""

    kind: Literal["bulk"]
    size: PacketSize = 1200

    def flow(self, name: str, source: str, destination: str) -> FlowPlan:
        return FlowPlan(
            name=name,
            traffic=self.id,
            source=source,
            destination=destination,
            kind="bulk",
            interval_ns=0,
            size_bytes=self.size,
            start_ns=self.start,
        )


def traffic_of(value: Any) -> Traffic:
    """The traffic entry that a mapping of the file describes, by its `kind`."""
    if isinstance(value, Traffic):
        return value
    if not isinstance(value, dict):
        raise ValueError("expected traffic: {id: ..., from: ..., to: ..., kind: ..., ...}")
    kind = value.get("kind")
    if kind is None:
        raise ValueError(f"kind is missing; one of {', '.join(TRAFFIC)}")
    if not isinstance(kind, str) or kind not in TRAFFIC:
        text = f"unknown kind of traffic '{kind}'{TRAFFIC.hint(str(kind))}"
        raise mistakes(value, (("kind",), text))
    return TRAFFIC[kind].model_validate(value)
