"""Every metric's samples from a replication: ours by name, other packages' by their `compute`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from x0mesh.reports import control, healing, reachability, traffic
from x0mesh.reports.observation import View
from x0mesh.scenarios.metrics import METRICS, MetricSample

COMPUTE: Final[dict[str, Callable[[View], list[MetricSample]]]] = {
    "detect.time": healing.detect_time,
    "heal.time": healing.heal_time,
    "reconverge.loss": healing.reconverge_loss,
    "restore.loss": healing.restore_loss,
    "restore.time": healing.restore_time,
    "converge.time": healing.converge_time,
    "reachability.ratio": reachability.series("reachability.ratio"),
    "traffic.delivered_ratio": traffic.delivered_ratio,
    "traffic.outage": traffic.outage,
    "traffic.latency": traffic.latency,
    "traffic.jitter": traffic.jitter,
    "traffic.throughput": traffic.throughput,
    "control.messages": control.counter("control.messages"),
    "control.bytes": control.counter("control.bytes"),
    "control.keep_alives": control.counter("control.keep_alives"),
    "liveness.false_positives": control.false_positives,
    "backup.coverage": control.counter("backup.coverage"),
    "backup.node_coverage": control.counter("backup.node_coverage"),
    "microloops": control.counter("microloops"),
    "session.handshake_time": control.counter("session.handshake_time"),
    "session.refused": control.refused,
    "svid.rotation_lag": control.counter("svid.rotation_lag"),
    "exposure.time": control.exposure_time,
    "signing.peak": control.counter("signing.peak"),
}


def samples(metric: str, view: View) -> list[MetricSample]:
    """Samples of one replication, faults and traffic not yet narrowed; KeyError if unknown."""
    spec = METRICS[metric]
    if spec.compute is not None:
        return [s for s in spec.compute(view.plan, view.record) if _judged(s, view)]
    return COMPUTE[metric](view)


def _judged(sample: MetricSample, view: View) -> bool:
    if sample.fault in view.excluding:
        return False
    return sample.t_ns is None or any(a <= sample.t_ns < b for a, b in view.spans)
