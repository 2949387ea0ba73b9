"""Heal time per fault: every sample on a strip with its median, and the share healed by a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from x0mesh.reports.evidence import Draw
from x0mesh.reports.html import svg
from x0mesh.reports.statistics import Floats, quantile
from x0mesh.reports.words import figure as in_words

MOST_POINTS = 1500
MOST_STEPS = 160
MOST_ROWS = 12


@dataclass(frozen=True, slots=True)
class Group:
    """Heal times of one fault on one engine, ascending; `censored` ones never healed."""

    label: str
    values: Floats
    censored: int


def groups(draws_by_engine: Sequence[tuple[str, Sequence[Draw]]]) -> list[Group]:
    """A group per fault and engine, in order of appearance."""
    found: dict[str, list[tuple[float, bool]]] = {}
    many = len(draws_by_engine) > 1
    for engine, draws in draws_by_engine:
        for draw in draws:
            for sample in draw.samples:
                label = f"{sample.fault} ({engine})" if many else sample.fault
                found.setdefault(label, []).append((sample.value, sample.censored))
    return [
        Group(
            label,
            np.sort(np.array([v for v, censored in samples if not censored])),
            sum(censored for _, censored in samples),
        )
        for label, samples in found.items()
    ]


def strip(found: Sequence[Group], limits: Sequence[float]) -> str:
    """A row per fault: samples, a thick bar from the first to the third quartile, the median."""
    rows = found[:MOST_ROWS]
    with svg.drawing(430, _height(rows)) as figure:
        axes = figure.add_subplot()
        edge = _edge(rows, limits)
        per_row = MOST_POINTS // max(1, len(rows))
        random = np.random.default_rng(0)
        for i, group in enumerate(rows):
            y = -i
            colour = svg.series_colour(i)
            shown = _thinned(group.values, per_row)
            jitter = random.uniform(-0.2, 0.2, len(shown))
            size, alpha = (22, 0.8) if len(shown) < 60 else (9, 0.5)
            axes.scatter(shown, y + jitter, s=size, c=colour, alpha=alpha, linewidths=0, zorder=4)
            if len(group.values):
                low, mid, high = (quantile(group.values, q) for q in (0.25, 0.5, 0.75))
                axes.plot([low, high], [y, y], color=svg.INK, linewidth=6, alpha=0.2, zorder=2)
                axes.plot([mid, mid], [y - 0.27, y + 0.27], color=svg.INK, linewidth=2, zorder=3)
            if group.censored:
                axes.annotate(
                    f"{group.censored} never healed ▸",
                    (edge, y - 0.36),
                    ha="right",
                    va="center",
                    fontsize=10.5,
                    color=svg.BAD,
                    zorder=5,
                )
        axes.set_yticks([-i for i in range(len(rows))], [group.label for group in rows])
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        axes.tick_params(axis="y", length=0, labelcolor=svg.INK)
        _time_axis(axes, edge, limits, named=True)
        return svg.inline(figure, "strip", "Heal time of every hit flow, by fault")


def ecdf(found: Sequence[Group], limits: Sequence[float]) -> str:
    """Share of hit flows healed by a time; flows that never healed keep it below one."""
    rows = found[:MOST_ROWS]
    with svg.drawing(430, _height(rows)) as figure:
        axes = figure.add_subplot()
        edge = _edge(rows, limits)
        for i, group in enumerate(rows):
            n = len(group.values) + group.censored
            shown = _thinned(group.values, MOST_STEPS)
            share = np.searchsorted(group.values, shown, side="right") / n
            x = np.concatenate(([0.0], shown, [edge]))
            y = np.concatenate(([0.0], share, share[-1:] if len(share) else [0.0]))
            axes.step(
                x,
                y * 100,
                where="post",
                color=svg.series_colour(i),
                linewidth=1.8,
                linestyle=("-", "--", "-.", ":")[i // len(svg.SERIES) % 4],
                label=group.label,
            )
        axes.set_ylim(0, 104)
        axes.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
        axes.grid(axis="y", alpha=0.7)
        axes.set_title("share healed by then", fontsize=11, loc="left", color=svg.MUTED)
        _time_axis(axes, edge, limits)
        if len(rows) > 1:
            axes.legend(
                loc="lower right",
                fontsize=10.5,
                facecolor=svg.PAPER,
                edgecolor="none",
                framealpha=0.9,
                labelcolor=svg.INK,
            )
        return svg.inline(figure, "ecdf", "Share of hit flows healed by a time, by fault")


def _height(rows: Sequence[Group]) -> float:
    """The same for both pictures, which stand side by side."""
    return 74 + max(170, 42 * len(rows))


def _edge(rows: Sequence[Group], limits: Sequence[float]) -> float:
    tops = [float(group.values[-1]) for group in rows if len(group.values)]
    return max([*tops, *limits, 1e-3]) * 1.08


def _time_axis(axes: Axes, edge: float, limits: Sequence[float], named: bool = False) -> None:
    axes.set_xlim(0, edge)
    for limit in limits:
        axes.axvline(limit, color=svg.BAD, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        if not named:
            continue
        side = "right" if limit > edge * 0.75 else "left"
        axes.annotate(
            f"limit {in_words(limit, 's')}",
            (limit, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if side == "right" else 4, 1),
            textcoords="offset points",
            ha=side,
            va="bottom",
            fontsize=10.5,
            color=svg.BAD,
        )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: in_words(float(x), "s")))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _thinned(values: Floats, most: int) -> Floats:
    """At most this many of the ascending values, the extremes among them."""
    if len(values) <= most:
        return values
    picked: Floats = values[np.linspace(0, len(values) - 1, most).round().astype(int)]
    return picked
