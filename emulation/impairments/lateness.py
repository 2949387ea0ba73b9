"""A histogram of how late frames leave: fixed memory however long a run lasts.

Sixteen buckets per power of two, so that a quantile is within 7 % of the true one.
"""

from __future__ import annotations

from x0mesh.emulation.impairment import Lateness

_SUB_BITS = 4
_SUB = 1 << _SUB_BITS
_BUCKETS = 64 * _SUB


class LatenessHistogram:
    """Counts of nanoseconds."""

    __slots__ = ("_buckets", "_count", "_max_ns")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self._count = 0
        self._max_ns = 0

    def add(self, late_ns: int) -> None:
        """One frame; what left early counts as on time."""
        if late_ns < 0:
            late_ns = 0
        shift = late_ns.bit_length() - _SUB_BITS - 1
        bucket = late_ns if shift <= 0 else shift * _SUB + (late_ns >> shift)
        self._buckets[bucket] += 1
        self._count += 1
        if late_ns > self._max_ns:
            self._max_ns = late_ns

    def summary(self) -> Lateness:
        """Quantiles by nearest rank, as the upper edge of their bucket."""
        return Lateness(self._count, self._quantile(0.50), self._quantile(0.99), self._max_ns)

    def _quantile(self, share: float) -> int:
        rank = share * self._count
        seen = 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if count and seen >= rank:
                return min(_upper_edge_ns(bucket), self._max_ns)
        return 0


def _upper_edge_ns(bucket: int) -> int:
    if bucket < 2 * _SUB:
        return bucket
    shift = bucket // _SUB - 1
    return ((bucket - shift * _SUB + 1) << shift) - 1
