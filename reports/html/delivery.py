"""Delivery over time: share of probes delivered by sending time, with the faults shaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from x0mesh.reports.html import svg
from x0mesh.reports.observation import Observation
from x0mesh.scenarios.record import LOST

BINS = 240


@dataclass(frozen=True, slots=True)
class Course:
    """Per time bin: share delivered in each replication (NaN where nothing was sent)."""

    edges_s: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]


def course(replications: Sequence[Observation]) -> Course:
    """All flows together; bins of at least 20 ms."""
    end_ns = max(one.record.end_ns for one in replications)
    bins = max(1, min(BINS, end_ns // 20_000_000))
    edges = np.linspace(0, end_ns, bins + 1)
    shares = np.full((len(replications), bins), np.nan)
    for i, one in enumerate(replications):
        sent, arrived = np.zeros(bins), np.zeros(bins)
        for flow in one.record.flows:
            sent += np.histogram(flow.sent_ns, edges)[0]
            arrived += np.histogram(flow.sent_ns[flow.latency_ns != LOST], edges)[0]
        np.divide(arrived, sent, out=shares[i], where=sent > 0)
    return Course(edges / 1e9, shares)


def draw(found: Course, shown: Observation, wide: bool) -> str:
    """The mean of all replications, the worst and best as a band, one replication's faults."""
    width, height = (960, 270) if wide else (390, 300)
    with svg.drawing(width, height) as figure:
        axes = figure.add_subplot()
        middles = (found.edges_s[:-1] + found.edges_s[1:]) / 2
        known = ~np.all(np.isnan(found.shares), axis=0)
        x, shares = middles[known], found.shares[:, known] * 100
        _faults(axes, shown, wide)
        if len(x):
            if len(shares) > 1:
                axes.fill_between(
                    x,
                    np.nanmin(shares, axis=0),
                    np.nanmax(shares, axis=0),
                    color=svg.SERIES[0],
                    alpha=0.22,
                    linewidth=0,
                )
            axes.plot(x, np.nanmean(shares, axis=0), color=svg.SERIES[0], linewidth=1.7)
        end = float(found.edges_s[-1])
        for t_ns in (shown.record.warmup_end_ns, shown.record.chaos_end_ns):
            axes.axvline(t_ns / 1e9, color=svg.MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.set_xlim(0, end)
        axes.set_ylim(0, 103)
        axes.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
        axes.grid(axis="y", alpha=0.7)
        axes.set_xlabel("seconds; dotted lines: end of warmup, end of chaos" if wide else "seconds")
        return svg.inline(figure, "course" if wide else "coursen", "Delivered share over time")


def _faults(axes: Axes, shown: Observation, wide: bool) -> None:
    end = shown.record.end_ns / 1e9
    last_end = [-1.0, -1.0, -1.0]
    for i, life in enumerate(shown.lives):
        start, stop = life.started_ns / 1e9, shown.end_of(life) / 1e9
        colour = svg.series_colour(i + 1)
        axes.axvspan(start, stop, color=colour, alpha=0.2, linewidth=0, zorder=0)
        size = 10.5 if wide else 9
        room = len(life.name) * size * 0.62 * end / (900 if wide else 330)
        lane = next((k for k, free in enumerate(last_end) if free <= start), None)
        if lane is None:
            continue
        last_end[lane] = start + room
        at_edge = start + room > end
        axes.annotate(
            life.name,
            (min(stop, end) if at_edge else start, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3 + lane * 12),
            textcoords="offset points",
            ha="right" if at_edge else "left",
            va="bottom",
            fontsize=size,
            color=svg.INK,
            annotation_clip=False,
        )
