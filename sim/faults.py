"""Carries out a plan's faults on the simulated network and writes down what shows they worked.

Each fault is a SimPy process: wait for its trigger, take its steps, take them back. Evidence is
read off the network (carrier, packet counters, processes), never assumed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Mapping
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
from x0mesh.scenarios.plan import After, At, FaultPlan, Plan, When
from x0mesh.scenarios.record import Evidence, EvidenceStatus, FaultRecord
from x0mesh.sim.clock import Clock
from x0mesh.sim.host import Host
from x0mesh.sim.link import Link, Owner

POLL_NS: Final = 10_000_000
"""How often a fault that waits for a state looks at it, in simulated time."""

FIRST_RANK: Final = 16
"""SimPy rank of the plan's first fault; phases come before."""

COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Process = Generator[simpy.Event, Any, Any]


class Network(Protocol):
    """What faults act on and ask; the engine."""

    clock: Clock
    links: dict[str, Link]
    hosts: dict[str, Host]

    def live(self, metric: str) -> float:
        """A live metric now."""

    def record_fault(
        self, kind: str, fault: str, node: str = "", link: str = "", reason: str = ""
    ) -> None:
        """Note a fault's event at the present instant."""


class _Deed:
    """One step in force: what it does, and what shows that it did."""

    def __init__(self, network: Network, action: Action, owner: Owner) -> None:
        self.action = action
        self.target = _target(action)
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


class _Fault:
    """One fault's life."""

    def __init__(self, network: Network, plan: FaultPlan, place: int, chaos_end_ns: int) -> None:
        self.plan = plan
        self.place = place
        planned = plan.trigger.at_ns if isinstance(plan.trigger, At) else None
        self.record = FaultRecord(plan.name, plan.kind, planned, nodes=plan.nodes, links=plan.links)
        self.edges = {
            "started": network.clock.event(),
            "ended": network.clock.event(),
        }
        self.active: dict[int, _Deed] = {}
        self._network = network
        self._chaos_end_ns = chaos_end_ns
        self._evidence: dict[int, Evidence] = {}
        self._undone: list[bool | None] = []

    def leave_out(self, status: EvidenceStatus, observed: str) -> None:
        """Write down why nothing was done."""
        self.record.evidence = [Evidence("", "", status, observed)]

    def run(self) -> Process:
        """Take the steps and take them back, at most until the end of chaos."""
        network, plan = self._network, self.plan
        clock = network.clock
        started_ns = clock.now_ns
        self.record.started_ns = started_ns
        self._note("fault.started", reason=plan.kind)
        self.edges["started"].succeed()
        ends_ns = self._chaos_end_ns
        if plan.duration_ns is not None:
            ends_ns = min(ends_ns, started_ns + plan.duration_ns)
        schedule: list[tuple[int, int, int]] = []  # (instant, undo before do, step)
        for place, step in enumerate(plan.steps):
            from_ns = started_ns + step.offset_ns
            until_ns = ends_ns if step.until_ns is None else started_ns + step.until_ns
            if from_ns < ends_ns:
                schedule.append((from_ns, 1, place))
                schedule.append((min(until_ns, ends_ns), 0, place))
            else:
                self._evidence[place] = Evidence(
                    type(step.action).__name__,
                    _target(step.action),
                    "not-fired",
                    "the fault had ended before",
                )
        for at_ns, is_do, place in sorted(schedule):
            if at_ns > clock.now_ns:
                yield clock.timeout(at_ns - clock.now_ns)
            if is_do:
                deed = _Deed(network, plan.steps[place].action, (self.place, place))
                self.active[place] = deed
                deed.do()
            else:
                self._undo(place)
        if ends_ns > clock.now_ns:
            yield clock.timeout(ends_ns - clock.now_ns)
        self._end()

    def abort(self) -> None:
        """Take back at once whatever is in force."""
        for place in sorted(self.active, reverse=True):
            self._undo(place)
        if self.record.started_ns is not None and self.record.ended_ns is None:
            self._end()

    def _undo(self, place: int) -> None:
        deed = self.active.pop(place)
        self._undone.append(deed.undo())
        self._evidence[place] = deed.evidence()
        if self._undone[-1] is not None:
            action = deed.action
            node = getattr(action, "node", "")
            link = getattr(action, "link", "")
            self._network.record_fault(
                "fault.undone", self.plan.name, node, link, type(action).__name__
            )

    def _end(self) -> None:
        record = self.record
        record.ended_ns = self._network.clock.now_ns
        record.evidence = [self._evidence[place] for place in sorted(self._evidence)]
        if False in self._undone:
            record.undo = "failed"
        elif True in self._undone:
            record.undo = "verified"
        elif self._undone:
            record.undo = "permanent"
        self._note("fault.ended")
        self.edges["ended"].succeed()

    def _note(self, kind: str, reason: str = "") -> None:
        nodes, links = self.plan.nodes, self.plan.links
        self._network.record_fault(
            kind,
            self.plan.name,
            nodes[0] if len(nodes) == 1 else "",
            links[0] if len(links) == 1 else "",
            reason,
        )


class Timeline:
    """All faults of a plan. `start` once; `records` when the run is over."""

    def __init__(self, network: Network, plan: Plan) -> None:
        self._network = network
        self._plan = plan
        self._faults = {
            fault.name: _Fault(network, fault, place, plan.chaos_end_ns)
            for place, fault in enumerate(plan.faults)
        }

    def start(self) -> None:
        """Let every fault that takes part wait for its trigger."""
        for fault in self._faults.values():
            skipped = dict(fault.plan.skip).get("sim")
            if not fault.plan.armed:
                fault.leave_out("not-armed", "this seed's draw left it out")
            elif skipped is not None:
                fault.leave_out("skipped", skipped)
            else:
                fault.leave_out("not-fired", "its trigger did not come")
                self._network.clock.spawn(FIRST_RANK + fault.place, self._live(fault))

    def abort(self) -> None:
        """Take back everything that is in force, last fault first."""
        for fault in reversed(self._faults.values()):
            fault.abort()

    @property
    def records(self) -> list[FaultRecord]:
        """One per fault, in the plan's order."""
        return [fault.record for fault in self._faults.values()]

    def _live(self, fault: _Fault) -> Process:
        clock = self._network.clock
        fired = yield from self._wait(fault)
        if fired and clock.now_ns < self._plan.chaos_end_ns:
            fault.record.evidence = []
            yield from fault.run()
        else:
            self._network.record_fault("fault.not_fired", fault.plan.name)

    def _wait(self, fault: _Fault) -> Generator[simpy.Event, Any, bool]:
        """True when the trigger came; waits at most until the end of chaos."""
        clock, trigger = self._network.clock, fault.plan.trigger
        match trigger:
            case At():
                yield clock.timeout(trigger.at_ns - clock.now_ns)
                return True
            case After():
                came = yield from self._edge(trigger.fault, trigger.edge)
                if came and trigger.delay_ns:
                    yield clock.timeout(trigger.delay_ns)
                return came
            case When():
                return (yield from self._when(trigger))

    def _edge(self, name: str, edge: str) -> Generator[simpy.Event, Any, bool]:
        clock = self._network.clock
        event = self._faults[name].edges[edge]
        left_ns = self._plan.chaos_end_ns - clock.now_ns
        yield clock.any_of([event, clock.timeout(left_ns)])
        return event.triggered

    def _when(self, trigger: When) -> Generator[simpy.Event, Any, bool]:
        clock, network = self._network.clock, self._network
        if trigger.after is None:
            yield clock.timeout(self._plan.chaos_start_ns - clock.now_ns)
        elif not (yield from self._edge(*trigger.after)):
            return False
        gives_up_ns = min(clock.now_ns + trigger.give_up_ns, self._plan.chaos_end_ns)
        holds = COMPARE[trigger.op]
        while not holds(network.live(trigger.metric), trigger.value):
            if clock.now_ns >= gives_up_ns:
                return False
            yield clock.timeout(min(POLL_NS, gives_up_ns - clock.now_ns))
        return True


def _target(action: Action) -> str:
    match action:
        case LinkDown():
            return action.link
        case LinkBlock() | LinkImpair():
            return f"{action.link} {action.direction}"
        case _:
            return action.node
