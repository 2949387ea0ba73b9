"""Metrics of the traffic: delivery, outage, latency, jitter, throughput, per flow.

Only probes sent in judged time and while the surviving graph offered the flow a path count, so
that a cut bridge is not held against the mesh.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from x0mesh.reports.observation import Span, View, common, without
from x0mesh.scenarios.metrics import MetricSample
from x0mesh.scenarios.record import LOST, FlowRecord

_S = 1e9


def _mask(flow: FlowRecord, spans: list[Span]) -> npt.NDArray[np.bool_]:
    """Probes sent in these spans."""
    mask = np.zeros(len(flow.sent_ns), dtype=np.bool_)
    for start, end in spans:
        low, high = np.searchsorted(flow.sent_ns, (start, end), side="left")
        mask[low:high] = True
    return mask


def _judged(view: View, flow: FlowRecord) -> list[Span]:
    return common(view.spans, flow.possible)


def _sample(flow: FlowRecord, value: float, censored: bool = False) -> MetricSample:
    return MetricSample(value, censored=censored, flow=flow.name, traffic=flow.traffic)


def delivered_ratio(view: View) -> list[MetricSample]:
    samples = []
    for flow in view.record.flows:
        sent = _mask(flow, _judged(view, flow))
        if sent.any():
            delivered = np.count_nonzero(flow.latency_ns[sent] != LOST)
            samples.append(_sample(flow, delivered / int(np.count_nonzero(sent))))
    return samples


def outage(view: View) -> list[MetricSample]:
    """Longest gap between sending times of delivered probes, less the time without a path or
    outside judged time; a gap that lasts to the end is censored."""
    samples = []
    for flow in view.record.flows:
        spans = _judged(view, flow)
        sent = _mask(flow, spans)
        if not sent.any():
            continue
        first, last = int(flow.sent_ns[sent][0]), int(flow.sent_ns[sent][-1])
        arrived = flow.sent_ns[sent & (flow.latency_ns != LOST)]
        edges = np.concatenate(([first], arrived, [last]))
        impossible = without([(first, last)], spans)
        gaps = np.diff(edges)
        for start, end in impossible:
            inside = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
            gaps = gaps - np.maximum(0, inside)
        longest = int(np.argmax(gaps))
        lasting = longest == len(gaps) - 1 and bool(gaps[-1] > 0)
        samples.append(_sample(flow, int(gaps[longest]) / _S, censored=lasting))
    return samples


def _latencies(view: View, flow: FlowRecord) -> npt.NDArray[np.int64]:
    arrived = _mask(flow, view.spans) & (flow.latency_ns != LOST)
    latencies: npt.NDArray[np.int64] = flow.latency_ns[arrived]
    return latencies


def latency(view: View) -> list[MetricSample]:
    return [
        _sample(flow, float(np.median(found)) / _S)
        for flow in view.record.flows
        if len(found := _latencies(view, flow))
    ]


def jitter(view: View) -> list[MetricSample]:
    return [
        _sample(flow, float(np.mean(np.abs(np.diff(found)))) / _S)
        for flow in view.record.flows
        if len(found := _latencies(view, flow)) > 1
    ]


def throughput(view: View) -> list[MetricSample]:
    """Over all judged time, with or without a path."""
    judged_ns = sum(end - start for start, end in view.spans)
    return [
        _sample(flow, len(_latencies(view, flow)) * flow.size_bytes * 8 * _S / judged_ns)
        for flow in view.record.flows
        if judged_ns and len(flow.sent_ns)
    ]
