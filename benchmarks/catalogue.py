"""All benchmarks by name, in the order they run and are shown."""

from __future__ import annotations

from benchmarks import engine, memory, protocol, quickstart, thousand
from benchmarks.benchmark import Benchmark

_ALL = (
    engine.BENCHMARK,
    protocol.BENCHMARK,
    quickstart.BENCHMARK,
    thousand.BENCHMARK,
    memory.BENCHMARK,
)
BENCHMARKS: dict[str, Benchmark] = {each.name: each for each in _ALL}


def find(name: str) -> Benchmark:
    """The benchmark of that name; KeyError if there is none."""
    return BENCHMARKS[name]
