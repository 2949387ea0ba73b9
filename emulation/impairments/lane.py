"""What one direction of a link does to each frame, worked out without any I/O.

A frame meets, in this order: MTU, loss, the FIFO queue of the rate, damage, duplication, then
delay and jitter unless it overtakes. The order is the simulator's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import log

from x0mesh.scenarios.draws import stream
from x0mesh.scenarios.impairment import GilbertElliott, Impairment

_NS_PER_S = 1_000_000_000


def _uniform(seed: int, entity: str, purpose: str) -> Iterator[float]:
    source = stream(seed, entity, purpose)
    while True:
        yield from source.random(256).tolist()


class _Burst:
    """Gilbert-Elliott state in continuous time; begins in its stationary distribution."""

    def __init__(self, burst: GilbertElliott, sojourns: Iterator[float], now_ns: int) -> None:
        self.burst = burst
        self._sojourns = sojourns
        self._bad = next(sojourns) < burst.bad_ns / (burst.good_ns + burst.bad_ns)
        self._until_ns = now_ns
        self._stay()

    def _stay(self) -> None:
        mean_ns = self.burst.bad_ns if self._bad else self.burst.good_ns
        self._until_ns += max(1, round(-mean_ns * log(1.0 - next(self._sojourns))))

    def loss(self, now_ns: int) -> float:
        """Loss ratio of a frame now; time does not go back."""
        while self._until_ns <= now_ns:
            self._bad = not self._bad
            self._stay()
        return self.burst.loss_bad if self._bad else self.burst.loss_good


class Lane:
    """One direction. `entity` ('<link>:forward') names its streams of random numbers.

    Every frame takes one number of each purpose in force, whatever becomes of it, from streams
    that begin anew with each change of the impairment: the n-th frame after the k-th change
    meets the same luck in every run with the same seed. Only bursts depend on time.
    """

    __slots__ = (
        "_burst",
        "_changes",
        "_departures_ns",
        "_entity",
        "_plain",
        "_seed",
        "_streams",
        "corrupted",
        "duplicated",
        "impairment",
        "lost",
        "overflowed",
        "oversized",
        "reordered",
    )

    def __init__(self, seed: int, entity: str, impairment: Impairment, now_ns: int) -> None:
        self.lost = 0
        self.oversized = 0
        self.overflowed = 0
        self.corrupted = 0
        self.duplicated = 0
        self.reordered = 0
        self._seed = seed
        self._entity = entity
        self._changes = 0
        self._departures_ns: deque[int] = deque()
        self._burst: _Burst | None = None
        self.set(impairment, now_ns)

    def set(self, impairment: Impairment, now_ns: int) -> None:
        """Replace the impairment. A burst process that stays the same goes on."""
        self.impairment = impairment
        self._streams = {
            purpose: _uniform(self._seed, self._entity, f"{purpose} after change {self._changes}")
            for purpose in ("loss", "burst", "corrupt", "duplicate", "reorder", "jitter_ns")
            if getattr(impairment, purpose)
        }
        burst = impairment.burst
        if burst is None:
            self._burst = None
        elif self._burst is None or self._burst.burst != burst:
            purpose = f"sojourns after change {self._changes}"
            self._burst = _Burst(burst, _uniform(self._seed, self._entity, purpose), now_ns)
        if not impairment.rate_bps:
            self._departures_ns.clear()
        self._plain = not (self._streams or impairment.rate_bps or impairment.mtu)
        self._changes += 1

    def admit(
        self, now_ns: int, size_bytes: int, largest_bytes: int
    ) -> tuple[int, int, float | None] | None:
        """(when it is due, copies, draw that places the damage) or None: it is dropped.

        Calls must come in time order. `largest_bytes` is what the MTU is compared with.
        """
        impairment = self.impairment
        if self._plain:
            return now_ns + impairment.delay_ns, 1, None
        draws = {purpose: next(source) for purpose, source in self._streams.items()}
        if impairment.mtu and largest_bytes > impairment.mtu:
            self.oversized += 1
            return None
        burst = self._burst
        if draws.get("loss", 1.0) < impairment.loss or (
            burst is not None and draws["burst"] < burst.loss(now_ns)
        ):
            self.lost += 1
            return None
        due_ns = now_ns
        if impairment.rate_bps:
            leaves_ns = self._transmit(now_ns, size_bytes)
            if leaves_ns is None:
                self.overflowed += 1
                return None
            due_ns = leaves_ns
        damage = None
        if draws.get("corrupt", 1.0) < impairment.corrupt:
            self.corrupted += 1
            damage = draws["corrupt"] / impairment.corrupt
        copies = 1
        if draws.get("duplicate", 1.0) < impairment.duplicate:
            self.duplicated += 1
            copies = 2
        if draws.get("reorder", 1.0) < impairment.reorder:
            self.reordered += 1
            return due_ns, copies, damage
        delay_ns = impairment.delay_ns
        if impairment.jitter_ns:
            spread = 2.0 * draws["jitter_ns"] - 1.0
            delay_ns = max(0, delay_ns + round(spread * impairment.jitter_ns))
        return due_ns + delay_ns, copies, damage

    def _transmit(self, now_ns: int, size_bytes: int) -> int | None:
        """When the last bit leaves (Lindley's recursion); None: `queue` frames wait already."""
        departures = self._departures_ns
        while departures and departures[0] <= now_ns:
            departures.popleft()
        if len(departures) > self.impairment.queue:
            return None
        begins_ns = departures[-1] if departures else now_ns
        departures.append(begins_ns + -(-size_bytes * 8 * _NS_PER_S // self.impairment.rate_bps))
        return departures[-1]

    def cut(self) -> None:
        """Carrier was lost: the queue is empty."""
        self._departures_ns.clear()
