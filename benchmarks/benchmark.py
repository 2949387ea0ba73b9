"""What a benchmark is: parts that do the same work, one of them the reference, one figure each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.meter import Measurement, Meter

Run = Callable[[int, Meter], dict[str, float]]
"""(amount, meter) to counts; the work to be measured runs inside `with meter:`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One way of doing the work.

    `gc_off`: the collector is disabled before anything is built. `up_to`: not for larger sizes.
    """

    run: Run
    gc_off: bool = False
    up_to: int | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A number per measurement. `more_is_better` decides which way its ratio is taken."""

    title: str
    unit: str
    of: Callable[[Measurement], float]
    more_is_better: bool


@dataclass(frozen=True, slots=True)
class Size:
    """How much of `Benchmark.size_unit`, how often, and the ratio that `subject` must reach."""

    amount: int
    repetitions: int
    required_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A measured comparison.

    `references` names the parts that stand for the alternative; the best of them by `figure` is
    the reference. A ratio above 1 means better than the reference. `equal` names counts that all
    parts must agree on, or the comparison is void. `limit_s` bounds the subject's wall time.
    """

    name: str
    question: str
    parts: Mapping[str, Part]
    references: tuple[str, ...]
    subject: str
    figure: Figure
    sizes: tuple[Size, ...]
    quick: tuple[Size, ...]
    notes: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()
    limit_s: float | None = None
    size_unit: str = "nodes"
    extras: tuple[Figure, ...] = ()

    def parts_for(self, amount: int) -> dict[str, Part]:
        """The parts that run at this size."""
        return {
            name: part
            for name, part in self.parts.items()
            if part.up_to is None or amount <= part.up_to
        }


def per_cpu_second(count: str, title: str, unit: str) -> Figure:
    """Counted work per CPU second."""
    return Figure(title, unit, lambda m: m.counts[count] / m.cpu_s, more_is_better=True)


CPU = Figure("CPU time", "s", lambda m: m.cpu_s, more_is_better=False)
WALL = Figure("wall time", "s", lambda m: m.wall_s, more_is_better=False)
MEMORY = Figure(
    "peak memory per node",
    "KiB",
    lambda m: (m.peak_bytes - m.base_bytes) / 1024 / m.counts["nodes"],
    more_is_better=False,
)
