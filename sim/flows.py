"""Carries packets through the recorded forwarding state, many at a time where nothing changes.

A packet's fate depends on what each node and link did at the instant it came by. Packets sent
while all of that stays constant share one path: their loss and jitter draws are made in blocks.
The others, and all of them once a link has a finite rate, are walked hop by hop. Both ways make
the same draws, numbered by packet, so they agree exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.record import LOST
from x0mesh.sim.fifo import TransmitQueue
from x0mesh.sim.forwarding import MAX_HOPS, Fate, Forwarding, LinkDirection, Packet
from x0mesh.sim.history import FOREVER
from x0mesh.sim.randomness import Streams, mixed, mixed_block

Times = npt.NDArray[np.int64]


class Bursts(Protocol):
    """The realised Gilbert-Elliott process of each link direction."""

    def loss_at(self, entity: str, t_ns: int) -> float:
        """Loss ratio in force at `t_ns`."""


@dataclass(slots=True)
class Drops:
    """Packets that did not arrive, by reason, and those that met a forwarding loop."""

    by_fate: dict[Fate, int] = field(default_factory=dict)
    looped: int = 0

    def add(self, fate: Fate, count: int = 1) -> None:
        if count:
            self.by_fate[fate] = self.by_fate.get(fate, 0) + count


@dataclass(frozen=True, slots=True)
class SharedPath:
    """A path that holds for packets sent until `until_ns` and under way at most `transit_ns`."""

    directions: tuple[LinkDirection, ...]
    fate: Fate
    looped: bool
    transit_ns: int
    until_ns: int


class Carrier:
    """Moves the packets of one run. `bursts` is None when no link loses in bursts."""

    def __init__(self, forwarding: Forwarding, streams: Streams, bursts: Bursts | None) -> None:
        self.forwarding = forwarding
        self.bursts = bursts
        self.drops = Drops()
        self.reroutes: dict[str, list[tuple[int, int]]] = {}
        self._paths: dict[str, tuple[int, ...]] = {}
        self._key = lru_cache(maxsize=65536)(streams.key)
        self._queues: dict[int, TransmitQueue] = {}

    def carry(
        self, flow: str, source: str, destination: str, sent_ns: Times, size_bytes: int
    ) -> Times:
        """Arrival times of packets sent at `sent_ns` (any order), `LOST` where they did not.

        Only for networks without finite rates: packets do not wait for each other.
        """
        order = np.argsort(sent_ns, kind="stable")
        times = sent_ns[order]
        arrivals = np.full(len(times), LOST, dtype=np.int64)
        i = 0
        while i < len(times):
            path = self._shared_path(int(times[i]), source, destination, size_bytes)
            j = int(np.searchsorted(times, path.until_ns - path.transit_ns))
            if j > i:
                arrivals[i:j] = self._carry_block(flow, order[i:j], times[i:j], path)
                if path.fate is Fate.DELIVERED:
                    self.note_path(flow, int(times[i]), [d.index for d in path.directions])
                i = j
            else:
                packet = Packet(source, destination, size_bytes)
                arrivals[i] = self._walk(flow, int(order[i]), packet, int(times[i]))
                if arrivals[i] != LOST:
                    self.note_path(flow, int(times[i]), packet.trail)
                i += 1
        result = np.empty_like(arrivals)
        result[order] = arrivals
        return result

    def note_path(self, flow: str, sent_ns: int, trail: Sequence[int]) -> None:
        """A packet arrived over these link directions; `reroutes` lists (sent, hops) of each
        packet that took another way than the one before it."""
        path = tuple(trail)
        known = self._paths.get(flow)
        self._paths[flow] = path
        if known is not None and known != path:
            self.reroutes.setdefault(flow, []).append((sent_ns, len(path)))

    def _shared_path(self, t_ns: int, source: str, destination: str, size_bytes: int) -> SharedPath:
        """Where packets sent at `t_ns` go if nothing changes, and until when nothing does."""
        forwarding = self.forwarding
        packet = Packet(source, destination, size_bytes)
        directions: list[LinkDirection] = []
        transit = 0
        until = FOREVER
        fate: Fate | None = None
        while fate is None:
            packet.arrive(packet.node)
            hop, fate, holds = forwarding.next_hop(t_ns, packet)
            until = min(until, holds)
            if hop is None:
                break
            if len(directions) >= MAX_HOPS:
                fate = Fate.HOP_LIMIT
                break
            direction = forwarding.directions[hop.link, packet.node]
            directions.append(direction)
            passes, held, impairment = direction.state.at(t_ns)
            # A held packet leaves at an instant of its own: no path is shared.
            until = t_ns if held else min(until, direction.state.until(t_ns))
            is_open, holds = forwarding.gate_open(t_ns, direction.receiver, direction.link)
            until = min(until, holds)
            transit += impairment.delay_ns + impairment.jitter_ns
            packet.node = direction.receiver
            fate = _entry_fault(passes, size_bytes, impairment)
            if fate is None and not is_open:
                fate = Fate.GATE_CLOSED
        assert fate is not None
        return SharedPath(tuple(directions), fate, packet.looped, transit, until)

    def _carry_block(self, flow: str, numbers: Times, times: Times, path: SharedPath) -> Times:
        """`numbers` are the packets' own draw counters."""
        if path.looped:
            self.drops.looped += len(times)
        if path.fate is not Fate.DELIVERED:
            self.drops.add(path.fate, len(times))
            return np.full(len(times), LOST, dtype=np.int64)
        at = times.copy()
        alive = np.ones(len(times), dtype=bool)
        first = int(numbers.min())
        span = int(numbers.max()) - first + 1
        for direction in path.directions:
            impairment = direction.state.at(int(times[0]))[2]

            def draw(what: str, entity: str = direction.entity) -> npt.NDArray[np.float64]:
                key = self._key(entity, f"{what}/{flow}")
                return mixed_block(key, first, span)[numbers - first]

            for fate, ratio in (
                (Fate.LOST, self._loss_ratio(direction, impairment, at)),
                (Fate.CORRUPT, impairment.corrupt),
            ):
                if np.any(ratio):
                    hit = alive & (draw(fate.value) < ratio)
                    self.drops.add(fate, int(hit.sum()))
                    alive &= ~hit
            delay = np.full(len(times), impairment.delay_ns, dtype=np.int64)
            if impairment.jitter_ns:
                offset = (2 * draw("jitter") - 1) * impairment.jitter_ns
                delay = np.maximum(0, delay + offset.astype(np.int64))
            if impairment.reorder:
                delay[draw("reorder") < impairment.reorder] = 0
            at += delay
        return np.where(alive, at, LOST)

    def _loss_ratio(
        self, direction: LinkDirection, impairment: Impairment, at: Times
    ) -> float | npt.NDArray[np.float64]:
        """Share lost of packets that enter the link `at`."""
        if impairment.burst is None or self.bursts is None:
            return impairment.loss
        burst = np.array([self.bursts.loss_at(direction.entity, int(t)) for t in at])
        ratio: npt.NDArray[np.float64] = 1 - (1 - impairment.loss) * (1 - burst)
        return ratio

    def _walk(self, flow: str, number: int, packet: Packet, t_ns: int) -> int:
        """One packet, hop by hop; its arrival or `LOST`."""
        while True:
            step = self.step(flow, number, packet, t_ns)
            if isinstance(step, Fate):
                return t_ns if step is Fate.DELIVERED else LOST
            t_ns = step

    def step(self, flow: str, number: int, packet: Packet, t_ns: int) -> int | Fate:
        """Handle `packet` at its node at `t_ns`.

        Returns the instant it reaches the next node, or the fate that ends its way.
        """
        if packet.arrive(packet.node):
            self.drops.looped += 1
        hop, fate, _ = self.forwarding.next_hop(t_ns, packet)
        if hop is not None and packet.hops >= MAX_HOPS:
            hop, fate = None, Fate.HOP_LIMIT
        if hop is None:
            if fate is not Fate.DELIVERED:
                self.drops.add(fate)
            return fate
        packet.hops += 1
        direction = self.forwarding.directions[hop.link, packet.node]
        crossed = self._cross(flow, number, packet.size_bytes, direction, t_ns)
        if isinstance(crossed, Fate):
            self.drops.add(crossed)
        else:
            packet.node = direction.receiver
            packet.trail.append(direction.index)
        return crossed

    def _cross(
        self, flow: str, number: int, size_bytes: int, direction: LinkDirection, t_ns: int
    ) -> int | Fate:
        """Arrival behind one link, or what befell the packet there."""
        passes, held, impairment = direction.state.at(t_ns)
        while held:
            t_ns = direction.state.until(t_ns)
            if t_ns >= FOREVER:
                return Fate.LINK_DOWN
            passes, held, impairment = direction.state.at(t_ns)
        entry_fault = _entry_fault(passes, size_bytes, impairment)
        if entry_fault is not None:
            return entry_fault

        def draw(what: str) -> float:
            return mixed(self._key(direction.entity, f"{what}/{flow}"), number)

        loss = self._loss_ratio(direction, impairment, np.array([t_ns]))
        if np.any(loss) and draw(Fate.LOST.value) < loss:
            return Fate.LOST
        if impairment.rate_bps:
            queue = self._queues.setdefault(direction.index, TransmitQueue())
            leaves = queue.admit(t_ns, size_bytes, impairment.rate_bps, impairment.queue)
            if leaves is None:
                return Fate.QUEUE_FULL
            t_ns = leaves
        if impairment.corrupt and draw(Fate.CORRUPT.value) < impairment.corrupt:
            return Fate.CORRUPT
        delay = impairment.delay_ns
        if impairment.jitter_ns:
            delay = max(0, delay + int((2 * draw("jitter") - 1) * impairment.jitter_ns))
        if impairment.reorder and draw("reorder") < impairment.reorder:
            delay = 0
        arrives = t_ns + delay
        if not self.forwarding.gate_open(arrives, direction.receiver, direction.link)[0]:
            return Fate.GATE_CLOSED
        return arrives


def _entry_fault(passes: bool, size_bytes: int, impairment: Impairment) -> Fate | None:
    if not passes:
        return Fate.LINK_DOWN
    if impairment.mtu and size_bytes > impairment.mtu:
        return Fate.TOO_BIG
    return None
