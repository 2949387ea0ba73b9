"""Names, units and meaning of metrics (what a check may ask); `reports` computes them.

A metric yields samples per replication: numbers with the fault and traffic they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.record import Record
from x0mesh.scenarios.registry import Registry

Unit = Literal["s", "ratio", "count", "B", "bit/s"]
Per = Literal["fault and flow", "fault and link end", "fault", "flow", "replication", "time"]


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One value in SI units. `censored`: the true value is at least this (never healed)."""

    value: float
    censored: bool = False
    fault: str = ""
    flow: str = ""
    traffic: str = ""
    node: str = ""
    t_ns: int | None = None


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """`per` says what one sample stands for; `compute` is given by other packages' metrics."""

    unit: Unit
    per: Per
    description: str
    compute: Callable[[Plan, Record], list[MetricSample]] | None = None


METRICS: Registry[MetricSpec] = Registry("x0mesh.metrics")

for _name, _unit, _per, _text in (
    ("detect.time", "s", "fault and link end", "fault start to each end declaring it down"),
    ("heal.time", "s", "fault and flow", "until the first of 20 consecutive delivered probes"),
    ("reconverge.loss", "count", "fault and flow", "probes lost after healing, fault lasting"),
    ("restore.loss", "count", "fault and flow", "probes lost after the fault ended"),
    ("restore.time", "s", "fault", "fault end until its adjacencies are Full again"),
    ("converge.time", "s", "fault", "fault start to the last route change it caused"),
    ("reachability.ratio", "ratio", "time", "pairs reached over pairs that could be"),
    ("traffic.delivered_ratio", "ratio", "flow", "probes delivered over probes sent"),
    ("traffic.outage", "s", "flow", "longest gap between delivered probes"),
    ("traffic.latency", "s", "flow", "median one-way delay (round trip with replies)"),
    ("traffic.jitter", "s", "flow", "mean absolute difference of consecutive delays (RFC 3550)"),
    ("traffic.throughput", "bit/s", "flow", "payload delivered over the flow's time"),
    ("control.messages", "count", "replication", "protocol messages sent on streams"),
    ("control.bytes", "B", "replication", "their encoded size"),
    ("control.keep_alives", "count", "replication", "keep-alives sent"),
    ("liveness.false_positives", "count", "replication", "sessions lost with link and node up"),
    ("backup.coverage", "ratio", "replication", "link-protected over protectable routes"),
    ("backup.node_coverage", "ratio", "replication", "node-protected over protectable routes"),
    ("microloops", "count", "replication", "probes that met a forwarding loop"),
    ("session.handshake_time", "s", "replication", "median time to open a channel"),
    ("session.refused", "count", "replication", "channels refused"),
    ("svid.rotation_lag", "s", "replication", "latest rotation after its due time"),
    ("exposure.time", "s", "fault", "revocation to the last byte accepted from that identity"),
    ("signing.peak", "count", "replication", "most signatures asked of the authority in 1 s"),
):
    METRICS.add(_name, MetricSpec(_unit, _per, _text))  # type: ignore[arg-type]
