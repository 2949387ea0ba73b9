"""Links between nodes: what each direction does to packets, and which faults hold it.

A packet meets, in this order: blocks and carrier, MTU, loss, the FIFO queue of the rate, then
propagation delay and jitter. Several faults may hold a link; each undoes only what it did.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from math import log
from typing import Final, Literal

from x0mesh.scenarios.fault_timeline import Owner
from x0mesh.scenarios.impairment import GilbertElliott, Impairment
from x0mesh.scenarios.plan import LinkPlan
from x0mesh.sim.fifo import TransmitQueue
from x0mesh.sim.randomness import Draws, Streams

DROPPED: Final = -1
HELD: Final = -2

Release = Literal["fifo", "lifo", "shuffle"]

_MAX_HELD = 10_000
_S = 1_000_000_000


class BurstProcess:
    """Two-state Markov loss in continuous time (Gilbert 1960, Elliott 1963), from `start_ns` on.

    Starts in its stationary distribution; sojourn times are exponential with the given means.
    Whoever builds it from the same arguments sees the same bursts.
    """

    def __init__(self, streams: Streams, entity: str, burst: GilbertElliott, start_ns: int) -> None:
        self.burst = burst
        self._draws = streams.draws(entity, f"burst from {start_ns}")
        share_bad = burst.bad_ns / (burst.good_ns + burst.bad_ns)
        self.bad_at_start = self._draws.at(0) < share_bad
        self._starts_ns: list[int] = [start_ns]  # of sojourns; even places are as at the start

    def _extend(self, until_ns: int) -> None:
        starts = self._starts_ns
        while starts[-1] <= until_ns:
            count = len(starts)
            ending_is_bad = self.bad_at_start == (count % 2 == 1)
            mean_ns = self.burst.bad_ns if ending_is_bad else self.burst.good_ns
            sojourn_ns = round(-mean_ns * log(1.0 - self._draws.at(count)))
            starts.append(starts[-1] + max(1, sojourn_ns))

    def bad(self, t_ns: int) -> bool:
        """State at `t_ns`, which is not before the start."""
        self._extend(t_ns)
        place = bisect_right(self._starts_ns, t_ns) - 1
        return self.bad_at_start == (place % 2 == 0)

    def loss(self, t_ns: int) -> float:
        """Loss ratio for a packet at `t_ns`."""
        return self.burst.loss_bad if self.bad(t_ns) else self.burst.loss_good


class PacketDraws:
    """Draws of one kind of packet in one direction: one stream per purpose, made when needed."""

    __slots__ = ("_entity", "_kind", "_made", "_streams")

    def __init__(self, streams: Streams, entity: str, kind: str) -> None:
        self._streams = streams
        self._entity = entity
        self._kind = kind
        self._made: dict[str, Draws] = {}

    def at(self, purpose: str, n: int) -> float:
        """Packet `n`'s draw for this purpose."""
        draws = self._made.get(purpose)
        if draws is None:
            draws = self._streams.draws(self._entity, f"{self._kind} {purpose}")
            self._made[purpose] = draws
        return draws.at(n)


class Direction:
    """One direction of a link. Read `plain` first: then a packet just takes `delay_ns`."""

    __slots__ = (
        "_base",
        "_blocks",
        "_burst",
        "_bursts",
        "_held",
        "_impairments",
        "_queue",
        "_release",
        "_streams",
        "blocked",
        "carrier",
        "corrupted",
        "cuts",
        "delay_ns",
        "duplicated",
        "impaired",
        "impairment",
        "lost",
        "name",
        "overflowed",
        "passes",
        "plain",
        "queueing",
        "withheld",
    )

    def __init__(self, name: str, base: Impairment, streams: Streams) -> None:
        self.name = name
        self.carrier = True
        self.impairment = base
        self.blocked = 0  # packets dropped by a block or for want of carrier
        self.withheld = 0  # packets held by a queueing block
        self.impaired = 0  # packets that met an impairment added by a fault
        self.lost = 0
        self.corrupted = 0
        self.duplicated = 0
        self.overflowed = 0
        self.cuts = 0  # times the carrier was lost; a packet from before a cut never arrives
        self._streams = streams
        self._base = base
        self._blocks: dict[Owner, Literal["drop", "queue"]] = {}
        self._impairments: dict[Owner, Impairment] = {}
        self._held: list[Callable[[], None]] = []
        self._release: Release = "fifo"
        self._queue: TransmitQueue | None = None  # there once the rate is finite
        self._burst: BurstProcess | None = None
        self._bursts: list[tuple[int, BurstProcess | None]] = []
        self._update(0)

    def _update(self, now_ns: int) -> None:
        effective = self._base
        for owner in sorted(self._impairments):
            effective = effective.over(self._impairments[owner])
        burst = effective.burst
        if burst != (self._burst.burst if self._burst else None):
            self._burst = BurstProcess(self._streams, self.name, burst, now_ns) if burst else None
            self._bursts.append((now_ns, self._burst))
        self.impairment = effective
        self.passes = self.carrier and "drop" not in self._blocks.values()
        self.queueing = "queue" in self._blocks.values()
        self.delay_ns = effective.delay_ns
        self.plain = (
            self.passes
            and not self.queueing
            and not self._impairments
            and effective.burst is None
            and not (effective.jitter_ns or effective.rate_bps or effective.mtu)
            and not (effective.loss or effective.reorder)
            and not (effective.duplicate or effective.corrupt)
        )

    def burst_loss(self, t_ns: int) -> float:
        """Burst loss ratio at an instant of the past or now."""
        place = bisect_right(self._bursts, t_ns, key=lambda since: since[0]) - 1
        process = self._bursts[place][1] if place >= 0 else None
        return process.loss(t_ns) if process is not None else 0.0

    def transit(self, now_ns: int, size_bytes: int, draws: PacketDraws, n: int) -> int:
        """Arrival time of packet `n` sent now, or DROPPED, or HELD (then call `hold`)."""
        if not self.passes:
            self.blocked += 1
            return DROPPED
        if self.queueing:
            return HELD
        if self.plain:
            return now_ns + self.delay_ns
        impairment = self.impairment
        if self._impairments:
            self.impaired += 1
        if impairment.mtu and size_bytes > impairment.mtu:
            self.lost += 1
            return DROPPED
        burst = self._burst
        if (impairment.loss and draws.at("loss", n) < impairment.loss) or (
            burst is not None and draws.at("burst loss", n) < burst.loss(now_ns)
        ):
            self.lost += 1
            return DROPPED
        leaves_ns = now_ns
        if impairment.rate_bps:
            if self._queue is None:
                self._queue = TransmitQueue()
            admitted = self._queue.admit(now_ns, size_bytes, impairment.rate_bps, impairment.queue)
            if admitted is None:
                self.overflowed += 1
                return DROPPED
            leaves_ns = admitted
        if impairment.corrupt and draws.at("corrupt", n) < impairment.corrupt:
            self.corrupted += 1
            return DROPPED
        if impairment.duplicate and draws.at("duplicate", n) < impairment.duplicate:
            self.duplicated += 1
        if impairment.reorder and draws.at("reorder", n) < impairment.reorder:
            return leaves_ns
        delay_ns = impairment.delay_ns
        if impairment.jitter_ns:
            spread = 2.0 * draws.at("jitter", n) - 1.0
            delay_ns = max(0, delay_ns + round(spread * impairment.jitter_ns))
        return leaves_ns + delay_ns

    def hold(self, send: Callable[[], None]) -> None:
        """Keep a packet until the queueing block ends; `send` then sends it on."""
        if len(self._held) < _MAX_HELD:
            self.withheld += 1
            self._held.append(send)
        else:
            self.blocked += 1

    def block(
        self, now_ns: int, owner: Owner, mode: Literal["drop", "queue"], release: Release
    ) -> None:
        """Drop or hold every packet from now on."""
        self._blocks[owner] = mode
        if mode == "queue":
            self._release = release
        self._update(now_ns)

    def unblock(self, now_ns: int, owner: Owner) -> None:
        """Take the owner's block back; the last queueing one lets what it held go."""
        del self._blocks[owner]
        self._update(now_ns)
        if self._held and not self.queueing:
            held, self._held = self._held, []
            if self._release == "lifo":
                held.reverse()
            elif self._release == "shuffle":
                draws = self._streams.draws(self.name, f"release at {now_ns}")
                keys = [draws.at(n) for n in range(len(held))]
                held = [held[n] for n in sorted(range(len(held)), key=keys.__getitem__)]
            for send in held:
                send()

    def impair(self, now_ns: int, owner: Owner, added: Impairment) -> None:
        """Put an impairment on top of the others."""
        self._impairments[owner] = added
        self._update(now_ns)

    def relieve(self, now_ns: int, owner: Owner) -> None:
        """Take the owner's impairment back."""
        del self._impairments[owner]
        self._update(now_ns)

    def is_held_by(self, owner: Owner) -> bool:
        """The owner's block or impairment is in force."""
        return owner in self._blocks or owner in self._impairments

    def set_carrier(self, now_ns: int, carrier: bool) -> None:
        """Losing carrier also loses what was held and queued."""
        self.carrier = carrier
        if not carrier:
            self.cuts += 1
            self.blocked += len(self._held)
            self._held.clear()
            self._queue = None
        self._update(now_ns)


class LinkWatcher:
    """Told of changes of a link; the engine and the nodes' interfaces are watchers."""

    def carrier_changed(self, now_ns: int, carrier: bool) -> None:
        """Both ends' carrier went up or down."""

    def direction_changed(self, now_ns: int, link: Link, forward: bool) -> None:
        """One direction's effective state changed."""


class Link:
    """Both directions of a link. `rank` is its place in the plan."""

    def __init__(self, plan: LinkPlan, rank: int, streams: Streams) -> None:
        self.plan = plan
        self.name = plan.name
        self.rank = rank
        self.forward = Direction(f"{plan.name}:forward", plan.forward, streams)
        self.backward = Direction(f"{plan.name}:backward", plan.backward, streams)
        self.watchers: list[LinkWatcher] = []
        self._down: set[Owner] = set()

    @property
    def carrier(self) -> bool:
        """Physical state of both ends."""
        return not self._down

    def is_held_by(self, owner: Owner) -> bool:
        """The owner's cut is in force."""
        return owner in self._down

    def directions(self, which: Literal["forward", "backward", "both"]) -> list[Direction]:
        """The directions an action names, forward first."""
        chosen = {"forward": [self.forward], "backward": [self.backward]}
        return chosen.get(which, [self.forward, self.backward])

    def take_down(self, now_ns: int, owner: Owner) -> bool:
        """Cut the link; True if it had carrier."""
        had = not self._down
        self._down.add(owner)
        if had:
            self._set_carrier(now_ns, False)
        return had

    def bring_up(self, now_ns: int, owner: Owner) -> bool:
        """Undo one cut; True if carrier is back."""
        self._down.remove(owner)
        if not self._down:
            self._set_carrier(now_ns, True)
        return not self._down

    def _set_carrier(self, now_ns: int, carrier: bool) -> None:
        for direction in (self.forward, self.backward):
            direction.set_carrier(now_ns, carrier)
        self.changed(now_ns, "both")
        for watcher in self.watchers:
            watcher.carrier_changed(now_ns, carrier)

    def changed(self, now_ns: int, which: Literal["forward", "backward", "both"]) -> None:
        """Tell the watchers that the named directions changed."""
        for direction in self.directions(which):
            for watcher in self.watchers:
                watcher.direction_changed(now_ns, self, direction is self.forward)


class Bursts:
    """The realised burst loss of every direction, for whoever carries packets afterwards."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._directions = {
            direction.name: direction
            for link in links
            for direction in (link.forward, link.backward)
        }

    def loss_at(self, entity: str, t_ns: int) -> float:
        """Burst loss ratio of the direction `entity` ('<link>:forward') at `t_ns`."""
        return self._directions[entity].burst_loss(t_ns)
