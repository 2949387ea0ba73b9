"""A simulated machine: runs one `mesh.Node`, carries out its effects and feeds it its inputs.

Inputs queue for one processor, each takes a service time; a stopped process loses everything, a
paused one reads later what came meanwhile. No decision of the protocol is made here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Literal, Protocol

from x0mesh.mesh.codec import encode
from x0mesh.mesh.credential import Signer
from x0mesh.mesh.effects import KeepAlive, Lease, LeaseChange, ProtocolEvent, TimerKey
from x0mesh.mesh.events import SESSION_REFUSED
from x0mesh.mesh.link_state import Snapshot
from x0mesh.mesh.messages import Message
from x0mesh.mesh.node import Node
from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import RouteChange
from x0mesh.scenarios.fault_timeline import Owner
from x0mesh.sim.clock import NODE, Clock
from x0mesh.sim.lease import LeaseEnd
from x0mesh.sim.link import Direction, Link, LinkWatcher
from x0mesh.sim.observer import DataPlaneObserver
from x0mesh.sim.randomness import Draws, Streams
from x0mesh.sim.stream import StreamEnd, StreamModel

MAX_MESSAGES: Final = 100_000
CARRIER_LOST: Final = "carrier lost"
OVERFLOW: Final = "input queue full"
STALE: Final = "stale after a warm restart"

STALE_NS: Final = 10_000_000_000
"""After a warm restart, routes not installed anew within this are withdrawn (cf. RFC 4724)."""

Restart = Literal["cold", "warm", "never"]


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """Processing time per input, a placeholder until a calibration measures the real peer.

    `message_ns`: decoding, verifying and flooding one stream message in Python; `event_ns`:
    anything else.
    """

    message_ns: int = 50_000
    event_ns: int = 10_000


class World(Protocol):
    """What hosts share; the engine."""

    clock: Clock
    streams: Streams
    observer: DataPlaneObserver

    def record(self, node: str, event: ProtocolEvent) -> None:
        """Note an event at the present instant."""

    def next_channel(self) -> int:
        """A serial number for a new channel, never 0."""

    def neighbour_fault(self, neighbour: str) -> str | None:
        """Why the neighbour's SVID is refused now, or None."""

    def message_sent(self, size_bytes: int) -> None:
        """Count a message that went out on an open channel."""


class Interface(LinkWatcher):
    """One host's end of a link. Numbers its channels so that nothing stale reaches the node."""

    def __init__(
        self,
        host: Host,
        link: Link,
        neighbour: str,
        out: Direction,
        rank: int,
        model: StreamModel,
    ) -> None:
        world = host.world
        self.host = host
        self.link = link
        self.name = link.name
        self.neighbour = neighbour
        self.lease = LeaseEnd(world.clock, out, 2 * rank, world.streams, self)
        self.stream = StreamEnd(world.clock, out, 2 * rank + 1, world.streams, model, self)
        self.opposite: Interface = self
        self._closings = 0
        link.watchers.append(self)

    def join(self, other: Interface) -> None:
        """Make `other` the interface at the other end."""
        self.opposite = other
        self.lease.join(other.lease)
        self.stream.join(other.stream)

    # StreamUser

    def channel_opened(self, neighbour: str) -> None:
        self.lease.listen(self.stream.channel)
        service_ns = self.host.service.event_ns
        self.host.enqueue(
            service_ns, self._opened, self._closings, (neighbour, self.stream.channel)
        )

    def channel_failed(self, reason: str) -> None:
        self.lease.listen(0)
        self.host.enqueue(self.host.service.event_ns, self._failed, self._closings, reason)

    def message_arrived(self, message: Message) -> None:
        host = self.host
        if host.is_full:
            self.stream.close(OVERFLOW)
            self.channel_failed(OVERFLOW)
        else:
            host.enqueue(host.service.message_ns, self._message, self._closings, message)

    def neighbour_fault(self) -> tuple[str, str | None]:
        fault = self.host.world.neighbour_fault(self.neighbour)
        if fault is not None:
            self.host.emit(ProtocolEvent(SESSION_REFUSED, self.name, self.neighbour, reason=fault))
        return self.neighbour, fault

    def is_present(self) -> bool:
        return self.host.is_running

    def when_running(self, act: Callable[[], None]) -> None:
        self.host.when_running(act)

    # LeaseUser

    def lease_changed(self, heard: KeepAlive, change: LeaseChange, at_ns: int) -> None:
        self.host.enqueue(
            self.host.service.event_ns, self._lease_changed, self._closings, (heard, change, at_ns)
        )

    def lease_report(self, received: int, expected: int) -> None:
        self.host.enqueue(
            self.host.service.event_ns, self._lease_report, self._closings, (received, expected)
        )

    # LinkWatcher

    def carrier_changed(self, now_ns: int, carrier: bool) -> None:
        if not carrier:
            self.lease.carrier_lost()
            self.stream.carrier_lost()
            self.host.enqueue(self.host.service.event_ns, self._carrier_lost, 0, None)

    # Inputs whose turn has come

    def _opened(self, now_ns: int, closings: int, argument: Any) -> None:
        if closings == self._closings:
            neighbour, channel = argument
            self.lease.speak(channel)
            self.host.node.link_up(now_ns, self.name, neighbour)

    def _failed(self, now_ns: int, closings: int, reason: Any) -> None:
        if closings == self._closings:
            self.host.node.channel_failed(now_ns, self.name, reason)
            self.lease.speak(0)

    def _message(self, now_ns: int, closings: int, message: Any) -> None:
        if closings == self._closings:
            self.host.node.receive(now_ns, self.name, message)

    def _lease_changed(self, now_ns: int, closings: int, argument: Any) -> None:
        if closings == self._closings:
            self.host.node.lease_changed(now_ns, self.name, *argument)

    def _lease_report(self, now_ns: int, closings: int, argument: Any) -> None:
        if closings == self._closings:
            self.host.node.lease_report(now_ns, self.name, *argument)

    def _carrier_lost(self, now_ns: int, closings: int, argument: Any) -> None:
        self.host.node.link_down(now_ns, self.name, CARRIER_LOST)

    # Effects on this link

    def close(self, reason: str) -> None:
        """Close the channel; inputs of it that wait in the queue are forgotten."""
        self._closings += 1
        self.lease.speak(0)
        self.lease.listen(0)
        self.stream.close(reason)

    def reset(self) -> None:
        """The process is gone."""
        self._closings += 1
        self.lease.reset()
        self.stream.reset()


class Host:
    """Implements `mesh.effects.Effects` for one node on the simulated clock."""

    def __init__(
        self,
        world: World,
        name: str,
        rank: int,
        service: ServiceModel,
        make_node: Callable[[Host, int], Node],
    ) -> None:
        self.world = world
        self.name = name
        self.service = service
        self.interfaces: dict[str, Interface] = {}
        self.node: Node
        self.boot_epoch = 0
        self.settling = False  # effects of a converged start are taken over in mid-course
        self._make_node = make_node
        self._clock = world.clock
        self._order = Clock.order(NODE, rank)
        self._draws: dict[str, tuple[Draws, int]] = {}
        self._running = False
        self._lives = 0
        self._timers: dict[TimerKey, int] = {}
        self._inputs: deque[tuple[int, Callable[..., None], int, Any]] = deque()
        self._busy: tuple[Callable[..., None], int, Any] | None = None
        self._stalled = False
        self._waiting: list[Callable[[], None]] = []
        self._snapshot: Snapshot | None = None
        self._inherited: frozenset[str] = frozenset()
        self._stops: dict[Owner, Restart] = {}
        self._pauses: set[Owner] = set()
        self._slow: dict[Owner, float] = {}
        self._drains: set[Owner] = set()
        self._factor = 1.0
        self._slowed = 0
        self._sized: tuple[Message | None, int] = (None, 0)

    # Life

    @property
    def is_running(self) -> bool:
        """The process exists (it may be paused)."""
        return self._running

    @property
    def is_paused(self) -> bool:
        """The process is stopped but not gone."""
        return bool(self._pauses)

    @property
    def is_busy(self) -> bool:
        """An input is being processed or waits."""
        return self._busy is not None or bool(self._inputs)

    @property
    def advertises_overload(self) -> bool:
        """The node's own advertisement asks others not to transit it."""
        if not self._running:
            return False
        own = self.node.database.newest(self.name)
        return own is not None and own.overload

    def is_held_by_others(self, owner: Owner) -> bool:
        """Another fault keeps the process stopped or paused."""
        return any(other != owner for other in (*self._stops, *self._pauses))

    def boot(self) -> None:
        """A fresh node with the next boot epoch, not started."""
        self.boot_epoch += 1
        self._running = True
        self.node = self._make_node(self, self.boot_epoch)

    def stop(self, owner: Owner, restart: Restart) -> bool:
        """Kill the process; False if it was gone already."""
        was_running = self._running
        self._stops[owner] = restart
        if not was_running:
            return False
        now_ns = self._clock.now_ns
        self._snapshot = None
        if restart == "warm":
            self._snapshot = self.node.snapshot()
            self._inherited |= frozenset(self.node.routes)
        self._running = False
        self._lives += 1
        self._timers.clear()
        self._inputs.clear()
        self._waiting.clear()
        self._busy = None
        self._stalled = False
        for interface in self.interfaces.values():
            interface.reset()
        if restart != "warm":
            self.world.observer.node_forwarding(now_ns, self.name, False)
            self.world.observer.flush(now_ns, self.name)
            for link in self.interfaces:
                self.world.observer.gate(now_ns, self.name, link, False)
        return True

    def restart(self, owner: Owner) -> bool:
        """Take one stop back; True if the process runs again."""
        del self._stops[owner]
        if self._stops or self._running:
            return self._running
        self.boot()
        for interface in self.interfaces.values():
            if self._pauses:
                interface.lease.pause()
        if self._snapshot is None:
            self.world.observer.node_forwarding(self._clock.now_ns, self.name, True)
        self.enqueue(self.service.event_ns, self._start, 0, self._snapshot)
        if self._drains:
            self.enqueue(self.service.event_ns, self._set_overload, 0, True)
        return True

    def _start(self, now_ns: int, _: int, snapshot: Any) -> None:
        if snapshot is None:
            self.node.start(now_ns)
            return
        self._order += 1
        self._clock.push(now_ns + STALE_NS, self._order, self._sweep_due, self._lives)
        self.node.start_warm(now_ns, snapshot)

    def _sweep_due(self, life: int) -> None:
        if life == self._lives:
            self.enqueue(self.service.event_ns, self._sweep, 0, None)

    def _sweep(self, now_ns: int, _: int, __: Any) -> None:
        """Withdraw routes of the life before that this one did not take over."""
        stale = sorted(self._inherited - set(self.node.routes))
        self._inherited = frozenset()
        if stale:
            self.install([RouteChange(name, None, STALE) for name in stale])

    def pause(self, owner: Owner) -> bool:
        """Stop the process in its tracks; False if there is none that runs."""
        was_going = self._running and not self._pauses
        self._pauses.add(owner)
        if was_going:
            for interface in self.interfaces.values():
                interface.lease.pause()
        return was_going

    def resume(self, owner: Owner) -> bool:
        """Take one pause back; True if the process goes on."""
        self._pauses.remove(owner)
        if self._pauses or not self._running:
            return False
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()
        for interface in self.interfaces.values():
            interface.lease.resume()
        if self._stalled:
            self._stalled = False
            self._complete(self._lives)
        elif self._busy is None and self._inputs:
            self._begin(*self._inputs.popleft())
        return True

    def slow(self, owner: Owner, factor: float) -> None:
        """Multiply service times, and so delay keep-alives by what sending them takes longer."""
        self._slow[owner] = factor
        self._set_pace()

    def quicken(self, owner: Owner) -> None:
        """Take one slowing back."""
        del self._slow[owner]
        self._set_pace()

    def _set_pace(self) -> None:
        self._factor = prod(self._slow.values(), start=1.0)
        lag_ns = round(self.service.event_ns * (self._factor - 1.0))
        for interface in self.interfaces.values():
            interface.lease.lag_ns = max(0, lag_ns)

    @property
    def slowed(self) -> int:
        """Inputs and keep-alives that slowness delayed."""
        return self._slowed + sum(i.lease.lagged for i in self.interfaces.values())

    def drain(self, owner: Owner) -> None:
        """Ask the node to ask others not to transit it."""
        self._drains.add(owner)
        self.enqueue(self.service.event_ns, self._set_overload, 0, True)

    def undrain(self, owner: Owner) -> None:
        """Take one drain back."""
        self._drains.remove(owner)
        if not self._drains:
            self.enqueue(self.service.event_ns, self._set_overload, 0, False)

    def _set_overload(self, now_ns: int, _: int, on: Any) -> None:
        self.node.set_overload(now_ns, on)

    def identity_renewed(self, signer: Signer) -> None:
        """A new SVID for the running node."""
        self.enqueue(self.service.event_ns, self._identity, 0, signer)

    def _identity(self, now_ns: int, _: int, signer: Any) -> None:
        self.node.identity_changed(now_ns, signer)

    # Inputs

    @property
    def is_full(self) -> bool:
        """No room for another message."""
        return len(self._inputs) >= MAX_MESSAGES

    def enqueue(
        self, service_ns: int, handle: Callable[..., None], tag: int, argument: Any
    ) -> None:
        """Queue an input: `handle(now, tag, argument)` once it is processed."""
        if not self._running:
            return
        if self._busy is not None or self._pauses:
            self._inputs.append((service_ns, handle, tag, argument))
        else:
            self._begin(service_ns, handle, tag, argument)

    def _begin(self, service_ns: int, handle: Callable[..., None], tag: int, argument: Any) -> None:
        self._busy = (handle, tag, argument)
        if self._factor != 1.0:
            self._slowed += 1
            service_ns = round(service_ns * self._factor)
        self._order += 1
        clock = self._clock
        done_ns: int = clock._now + service_ns  # type: ignore[assignment]
        clock.push(done_ns, self._order, self._complete, self._lives)

    def _complete(self, life: int) -> None:
        if life != self._lives:
            return
        if self._pauses:
            self._stalled = True
            return
        if self._busy is not None:
            handle, tag, argument = self._busy
            handle(self._clock._now, tag, argument)
        self._busy = None
        if self._inputs:
            self._begin(*self._inputs.popleft())

    def when_running(self, act: Callable[[], None]) -> None:
        """Call `act` now, at the end of the pause, or never if the process is gone."""
        if self._pauses:
            self._waiting.append(act)
        elif self._running:
            act()

    def _timer_due(self, argument: Any) -> None:
        key, due_ns, life = argument
        if life == self._lives and self._timers.get(key) == due_ns:
            self.enqueue(self.service.event_ns, self._timer, due_ns, key)

    def _timer(self, now_ns: int, due_ns: int, key: Any) -> None:
        if self._timers.get(key) == due_ns:
            del self._timers[key]
            self.node.timer(now_ns, key, due_ns)

    def draw(self, purpose: str) -> float:
        """The node's next number of this purpose; goes on after a restart."""
        draws, counter = self._draws.get(purpose) or (
            self.world.streams.draws(self.name, purpose),
            0,
        )
        self._draws[purpose] = (draws, counter + 1)
        return draws.at(counter)

    # Effects

    def dial(self, link: str) -> None:
        self.interfaces[link].stream.dial(self.world.next_channel())

    def send(self, link: str, message: Message) -> None:
        known, size_bytes = self._sized
        if message is not known:
            size_bytes = len(encode(message))
            self._sized = (message, size_bytes)
        if self.interfaces[link].stream.send(message, size_bytes):
            self.world.message_sent(size_bytes)

    def keep_alive(self, link: str, lease: Lease | None) -> None:
        interface = self.interfaces[link]
        if self.settling and lease is not None:
            phase = self.draw(f"phase {link}")
            interface.lease.settle(interface.stream.channel, lease, phase)
        else:
            interface.lease.keep_alive(lease)

    def gate(self, link: str, is_open: bool) -> None:
        self.world.observer.gate(self._clock.now_ns, self.name, link, is_open)

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        self._timers[key] = due_ns
        self._order += 1
        at_ns = max(due_ns, self._clock.now_ns)
        self._clock.push(at_ns, self._order, self._timer_due, (key, due_ns, self._lives))

    def cancel_timer(self, key: TimerKey) -> None:
        self._timers.pop(key, None)

    def install(self, changes: Sequence[RouteChange]) -> None:
        self.world.observer.install(self._clock.now_ns, self.name, changes)

    def answer_by(self, view: RouteView) -> None:
        self.world.observer.answer_by(self._clock.now_ns, self.name, view)

    def close(self, link: str, reason: str) -> None:
        self.interfaces[link].close(reason)

    def emit(self, event: ProtocolEvent) -> None:
        self.world.record(self.name, event)
