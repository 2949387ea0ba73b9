"""A link's transmit queue: first in, first out, tail drop, serialisation at the link's rate."""

from __future__ import annotations

from collections import deque

NS_PER_S = 1_000_000_000


class TransmitQueue:
    """Departures follow Lindley's recursion; packets must come in time order."""

    __slots__ = ("_departures",)

    def __init__(self) -> None:
        self._departures: deque[int] = deque()

    def admit(self, t_ns: int, size_bytes: int, rate_bps: int, limit: int) -> int | None:
        """When the packet's last bit leaves; None if `limit` packets wait behind the one on the
        wire. `rate_bps` is positive."""
        departures = self._departures
        while departures and departures[0] <= t_ns:
            departures.popleft()
        if len(departures) > limit:
            return None
        begins = departures[-1] if departures else t_ns
        leaves = begins + -(-size_bytes * 8 * NS_PER_S // rate_bps)
        departures.append(leaves)
        return leaves

    def __len__(self) -> int:
        return len(self._departures)
