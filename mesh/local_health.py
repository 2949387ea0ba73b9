"""A node's doubt about itself: one whose own timers run late stretches its own time-outs first.

Lifeguard's local health multiplier (Dadgar, Phillips, Currey, arXiv:1707.00788 s.IV.A).
"""

from __future__ import annotations

MAX_MULTIPLIER = 8


class LocalHealth:
    """Score from 0 (healthy) to 7; time-outs are multiplied by score + 1.

    `tolerance_ns`: lateness that is still ordinary. `recovery_ns`: a point of the score is
    forgiven for each such stretch at whose end a timer was on time.
    """

    __slots__ = ("_counted_ns", "_recovery_ns", "_score", "_stepped_ns", "_tolerance_ns")

    def __init__(self, tolerance_ns: int, recovery_ns: int) -> None:
        assert tolerance_ns > 0, tolerance_ns
        assert recovery_ns > 0, recovery_ns
        self._tolerance_ns = tolerance_ns
        self._recovery_ns = recovery_ns
        self._score = 0
        self._counted_ns = -1
        self._stepped_ns = 0

    @property
    def multiplier(self) -> int:
        """1 (healthy) to 8."""
        return self._score + 1

    def is_late(self, lateness_ns: int) -> bool:
        """Whether this lateness says something about the node itself."""
        return lateness_ns > self._tolerance_ns

    def observe(self, now: int, lateness_ns: int) -> bool:
        """Judge one timer that ran `lateness_ns` after its due time; true if the score changed."""
        if lateness_ns > self._tolerance_ns:
            # Every timer that fell due during one stall is late: the stall counts once.
            if now - lateness_ns <= self._counted_ns:
                return False
            self._counted_ns = self._stepped_ns = now
            return self._step(1)
        if self._score == 0 or now - self._stepped_ns < self._recovery_ns:
            return False
        self._stepped_ns = now
        return self._step(-1)

    def _step(self, by: int) -> bool:
        before = self._score
        self._score = min(MAX_MULTIPLIER - 1, max(0, before + by))
        return self._score != before
