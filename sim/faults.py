"""Carries out a plan's faults on the simulated network and reads off it what shows they worked.

The timeline is `scenarios.fault_timeline`; here is what its steps do. Evidence is read off the
network (carrier, packet counters, processes), never assumed.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, Protocol

import simpy

from x0mesh.scenarios.actions import (
    Action,
    LinkBlock,
    LinkDown,
    LinkImpair,
    NodeDrain,
    NodePause,
    NodeSlow,
    NodeStop,
)
from x0mesh.scenarios.fault_timeline import FaultTimeline, Owner, target_of
from x0mesh.scenarios.record import Evidence, EvidenceStatus
from x0mesh.sim.clock import Clock
from x0mesh.sim.host import Host
from x0mesh.sim.link import Link

TIMELINE_RANK: Final = 16
"""SimPy rank of the fault timeline; phases come before."""

Process = Generator[simpy.Event, Any, Any]


class Network(Protocol):
    """What faults act on; the engine."""

    clock: Clock
    links: dict[str, Link]
    hosts: dict[str, Host]


def follow(timeline: FaultTimeline, clock: Clock) -> Process:
    """The SimPy process that takes a timeline through simulated time."""
    while (due_ns := timeline.next_due_ns) is not None:
        if due_ns > clock.now_ns:
            yield clock.timeout(due_ns - clock.now_ns)
        timeline.advance(clock.now_ns)


class SimulatedDeed:
    """One step in force: what it does, and what shows that it did."""

    def __init__(self, network: Network, action: Action, owner: Owner) -> None:
        self.action = action
        self.target = target_of(action)
        self._network = network
        self._owner = owner
        self._before = 0
        self._took_effect = False
        self._observed = ""

    def do(self) -> None:
        """Take the step now."""
        network, owner, action = self._network, self._owner, self.action
        now_ns = network.clock.now_ns
        match action:
            case LinkDown():
                self._took_effect = network.links[action.link].take_down(now_ns, owner)
                self._observed = "carrier was lost" if self._took_effect else "had no carrier"
            case LinkBlock():
                self._before = self._count()
                link = network.links[action.link]
                for direction in link.directions(action.direction):
                    direction.block(now_ns, owner, action.mode, action.release)
                link.changed(now_ns, action.direction)
            case LinkImpair():
                self._before = self._count()
                link = network.links[action.link]
                for direction in link.directions(action.direction):
                    direction.impair(now_ns, owner, action.impairment)
                link.changed(now_ns, action.direction)
            case NodeStop():
                self._took_effect = network.hosts[action.node].stop(owner, action.restart)
                self._observed = "process gone" if self._took_effect else "no process ran"
            case NodePause():
                self._took_effect = network.hosts[action.node].pause(owner)
                self._observed = "process stopped" if self._took_effect else "no process ran"
            case NodeSlow():
                self._before = self._count()
                network.hosts[action.node].slow(owner, action.factor)
            case NodeDrain():
                network.hosts[action.node].drain(owner)

    def undo(self) -> bool | None:
        """Take the step back; whether that worked, or None if it is for good."""
        network, owner, action = self._network, self._owner, self.action
        now_ns = network.clock.now_ns
        self._look()
        match action:
            case LinkDown():
                link = network.links[action.link]
                link.bring_up(now_ns, owner)
                return not link.is_held_by(owner) and link.carrier == link.forward.carrier
            case LinkBlock():
                link = network.links[action.link]
                for direction in link.directions(action.direction):
                    direction.unblock(now_ns, owner)
                link.changed(now_ns, action.direction)
                return not any(d.is_held_by(owner) for d in link.directions("both"))
            case LinkImpair():
                link = network.links[action.link]
                for direction in link.directions(action.direction):
                    direction.relieve(now_ns, owner)
                link.changed(now_ns, action.direction)
                return not any(d.is_held_by(owner) for d in link.directions("both"))
            case NodeStop():
                if action.restart == "never":
                    return None
                host = network.hosts[action.node]
                return host.restart(owner) or host.is_held_by_others(owner)
            case NodePause():
                host = network.hosts[action.node]
                return host.resume(owner) or host.is_held_by_others(owner)
            case NodeSlow():
                network.hosts[action.node].quicken(owner)
                return True
            case NodeDrain():
                network.hosts[action.node].undrain(owner)
                return True

    def _count(self) -> int:
        """Counter that rises while the action has an effect."""
        network, action = self._network, self.action
        match action:
            case LinkBlock():
                directions = network.links[action.link].directions(action.direction)
                return sum(d.blocked + d.withheld for d in directions)
            case LinkImpair():
                directions = network.links[action.link].directions(action.direction)
                return sum(d.impaired for d in directions)
            case NodeSlow():
                return network.hosts[action.node].slowed
        return 0

    def _look(self) -> None:
        """Read the effect off the network, while the step is still in force."""
        action = self.action
        match action:
            case LinkBlock() | LinkImpair() | NodeSlow():
                met = self._count() - self._before
                self._took_effect = met > 0
                word = {
                    LinkBlock: "packets dropped or held",
                    LinkImpair: "packets met it",
                    NodeSlow: "inputs delayed",
                }[type(action)]
                self._observed = f"{met} {word}"
            case NodeDrain():
                self._took_effect = self._network.hosts[action.node].advertises_overload
                self._observed = (
                    "advertised overload" if self._took_effect else "did not advertise overload"
                )

    def evidence(self) -> Evidence:
        """What shows the effect; valid once undone."""
        status: EvidenceStatus = "confirmed" if self._took_effect else "mismatch"
        return Evidence(type(self.action).__name__, self.target, status, self._observed)
