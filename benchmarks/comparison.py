"""Runs a benchmark's parts in turn, each in a process of its own, and compares what came out.

Parts take turns within every repetition, so that a machine whose speed drifts slows all of them;
ratios are taken inside a repetition and summarised after that.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks.benchmark import Benchmark, Figure, Size
from benchmarks.meter import Measurement

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Spread:
    """Several values of one thing."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Row:
    """One part at one size. `ratio` is None for the reference itself; above 1 is better than it."""

    benchmark: str
    amount: int
    part: str
    figures: dict[str, Spread]
    ratio: Spread | None
    counts: dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One benchmark at one size. `misses` says which requirement was not met."""

    benchmark: Benchmark
    size: Size
    reference: str
    rows: tuple[Row, ...]
    misses: tuple[str, ...]


def compare(benchmark: Benchmark, size: Size, progress: Progress) -> Comparison:
    """Measure every part `size.repetitions` times; raises CalledProcessError if one fails."""
    parts = benchmark.parts_for(size.amount)
    measured: dict[str, list[Measurement]] = {name: [] for name in parts}
    for repetition in range(size.repetitions):
        for name in parts:
            progress(
                f"{benchmark.name}: {size.amount:,} {benchmark.size_unit}, "
                f"repetition {repetition + 1} of {size.repetitions}: {name}"
            )
            measured[name].append(measure(benchmark.name, name, size.amount))
    return summarise(benchmark, size, measured)


def measure(name: str, part: str, amount: int) -> Measurement:
    """One part once, in a fresh interpreter."""
    command = [sys.executable, "-m", "benchmarks.child", name, part, str(amount)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def summarise(
    benchmark: Benchmark, size: Size, measured: dict[str, list[Measurement]]
) -> Comparison:
    """Medians, extremes and ratios to the best reference; and what falls short."""
    sign = 1.0 if benchmark.figure.more_is_better else -1.0
    reference = max(
        benchmark.references,
        key=lambda name: sign * median(map(benchmark.figure.of, measured[name])),
    )
    rows = tuple(
        Row(
            benchmark.name,
            size.amount,
            name,
            {
                figure.title: Spread.of([figure.of(m) for m in runs])
                for figure in (benchmark.figure, *benchmark.extras)
            },
            None
            if name == reference
            else Spread.of(_ratios(benchmark.figure, runs, measured[reference])),
            runs[0].counts,
        )
        for name, runs in measured.items()
    )
    return Comparison(benchmark, size, reference, rows, _misses(benchmark, size, measured, rows))


def _ratios(figure: Figure, runs: list[Measurement], references: list[Measurement]) -> list[float]:
    pairs = [(figure.of(a), figure.of(b)) for a, b in zip(runs, references, strict=True)]
    return [a / b if figure.more_is_better else b / a for a, b in pairs]


def _misses(
    benchmark: Benchmark,
    size: Size,
    measured: dict[str, list[Measurement]],
    rows: tuple[Row, ...],
) -> tuple[str, ...]:
    misses = []
    for count in benchmark.equal:
        seen = {m.counts[count] for runs in measured.values() for m in runs if count in m.counts}
        if len(seen) > 1:
            misses.append(f"parts did different work: {count} {sorted(seen)}")
    subject = next(row for row in rows if row.part == benchmark.subject)
    if size.required_ratio is not None and subject.ratio is not None:
        reached = subject.ratio.median
        if reached < size.required_ratio:
            misses.append(f"{reached:.2f}x the reference, required {size.required_ratio:g}x")
    if benchmark.limit_s is not None:
        wall_s = median(m.wall_s for m in measured[benchmark.subject])
        if wall_s > benchmark.limit_s:
            misses.append(f"{wall_s:.1f} s of wall time, limit {benchmark.limit_s:g} s")
    return tuple(misses)
