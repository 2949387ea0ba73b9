"""Bounds on what one fault may become, so that a typing error cannot fill the memory."""

from __future__ import annotations

from typing import Final

from x0mesh.scenarios.plan import Step

MAX_STEPS: Final = 100_000
"""Steps of one fault in one replication."""


def bounded(steps: list[Step]) -> tuple[Step, ...]:
    """The steps in order of time (stable); ValueError above `MAX_STEPS`."""
    if len(steps) > MAX_STEPS:
        raise ValueError(f"more than {MAX_STEPS} steps; shorten the fault or take fewer targets")
    return tuple(sorted(steps, key=lambda step: step.offset_ns))


def until(end_ns: int, duration_ns: int) -> int | None:
    """A step's `until_ns`: None where the fault's own end undoes it."""
    return end_ns if end_ns < duration_ns else None
