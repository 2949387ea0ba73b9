"""Measures a part: CPU and wall time of one section, and the memory of its whole process."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one part in a process of its own.

    `cpu_s` includes child processes that ended inside the section. `base_bytes` is the resident
    set before the part built anything, `peak_bytes` its highest of the whole life.
    """

    cpu_s: float
    wall_s: float
    base_bytes: int
    peak_bytes: int
    counts: dict[str, float] = field(default_factory=dict)


class Meter:
    """A context manager round the measured section; garbage from building is collected before."""

    def __init__(self) -> None:
        self.base_bytes = _status_bytes("VmRSS")
        self.cpu_s = 0.0
        self.wall_s = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        self._wall_s = time.perf_counter()
        self._cpu_s = _cpu_s()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cpu_s += _cpu_s() - self._cpu_s
        self.wall_s += time.perf_counter() - self._wall_s

    def measurement(self, counts: dict[str, float]) -> Measurement:
        """Everything measured, with what the part counted."""
        peak = _status_bytes("VmHWM")
        return Measurement(self.cpu_s, self.wall_s, self.base_bytes, peak, counts)


def _cpu_s() -> float:
    usages = (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _status_bytes(field_name: str) -> int:
    """A line of /proc/self/status. `ru_maxrss` would count the parent's memory before exec."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field_name}")
