"""Metrics of what the protocol cost and how often it erred: counters and events of a replication.

Counters are the engine's totals, warmup included. What an engine did not count has no sample.
"""

from __future__ import annotations

from collections.abc import Callable

from x0mesh.reports.observation import AFTERMATH_NS, View
from x0mesh.scenarios.metrics import MetricSample


def counter(name: str) -> Callable[[View], list[MetricSample]]:
    """The metric that reads the engine's counter of this name."""

    def compute(view: View) -> list[MetricSample]:
        value = view.record.counters.get(name)
        return [] if value is None else [MetricSample(float(value))]

    return compute


def false_positives(view: View) -> list[MetricSample]:
    """Sessions lost that no fault explains; both ends of one loss count once."""
    disturbed = view.seen.disturbed
    count = 0
    blamed: dict[str, int] = {}
    for event in view.seen.events("liveness.down"):
        spans = disturbed.get(event.link, [])
        if any(start <= event.t_ns < end for start, end in spans):
            continue
        previous = blamed.get(event.link)
        if previous is None or event.t_ns - previous > AFTERMATH_NS:
            blamed[event.link] = event.t_ns
            count += 1
    return [MetricSample(float(count))]


def refused(view: View) -> list[MetricSample]:
    """Every engine records refusals as events, so their absence is a zero."""
    value = view.record.counters.get("session.refused")
    events = view.seen.events("session.refused")
    return [MetricSample(float(len(events) if value is None else value))]


def exposure_time(view: View) -> list[MetricSample]:
    """Per fault that voids an identity: to the last packet accepted from it. No sample where
    accepted packets were not recorded."""
    accepted = view.seen.events("packet.accepted")
    samples = []
    for life in view.lives:
        if life.record.kind not in ("identity.revoke", "identity.svid_expiry"):
            continue
        times = [e.t_ns for e in accepted if e.peer in life.record.nodes]
        if times:
            late_ns = max(0, max(times) - life.started_ns)
            samples.append(MetricSample(late_ns / 1e9, fault=life.name, t_ns=life.started_ns))
    return samples
