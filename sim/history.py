"""Values over time: what was in force at an instant, and until when.

The data plane is evaluated after the fact, each packet at the instants it meets a node or link,
so forwarding entries and link states are kept with the time they took effect.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Generic, TypeVar

T = TypeVar("T")

FOREVER = 2**62


class History(Generic[T]):
    """A piecewise constant value; each change holds from its instant on."""

    __slots__ = ("times_ns", "values")

    def __init__(self, t_ns: int, value: T) -> None:
        self.times_ns = [t_ns]
        self.values = [value]

    def set(self, t_ns: int, value: T) -> None:
        """Times must not fall; the last value set at one instant is the one that counts."""
        times = self.times_ns
        assert t_ns >= times[-1], "a history is written in time order"
        if t_ns == times[-1]:
            self.values[-1] = value
        else:
            times.append(t_ns)
            self.values.append(value)

    @property
    def now(self) -> T:
        return self.values[-1]

    def at(self, t_ns: int) -> T:
        """Value at `t_ns`; before the first change, the first value."""
        if len(self.times_ns) == 1 or t_ns >= self.times_ns[-1]:
            return self.values[-1]
        return self.values[max(0, bisect_right(self.times_ns, t_ns) - 1)]

    def until(self, t_ns: int) -> int:
        """First instant after `t_ns` at which the value changes, `FOREVER` if none."""
        if t_ns >= self.times_ns[-1]:
            return FOREVER
        return self.times_ns[bisect_right(self.times_ns, t_ns)]
