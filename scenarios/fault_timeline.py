"""The life of a plan's faults in time: triggers, steps, their undoing, and the records of it.

Without I/O and without a clock of its own, so that both engines follow the same timeline: an
engine asks `next_due_ns`, waits in its own kind of time, and calls `advance`. What a step does to
a network, and what shows that it did, is the engine's (`Deed`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop, heappush
from typing import Final, Protocol

from x0mesh.scenarios.actions import Action, LinkBlock, LinkDown, LinkImpair
from x0mesh.scenarios.plan import After, At, EngineName, FaultPlan, Plan, When
from x0mesh.scenarios.record import Evidence, EvidenceStatus, FaultRecord

POLL_NS: Final = 10_000_000
"""How often a fault that waits for a state looks at it."""

COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Owner = tuple[int, int]
"""Which step of which fault holds something: their places in the plan."""

GIVES_UP: Final = "its trigger did not come"


class Deed(Protocol):
    """One step in force on an engine's network."""

    def do(self) -> None:
        """Take the step now."""

    def undo(self) -> bool | None:
        """Take it back; whether that worked, or None if it is for good."""

    def evidence(self) -> Evidence:
        """What shows the effect; asked for once undone."""


class FaultWorld(Protocol):
    """What the timeline asks of an engine."""

    def deed(self, action: Action, owner: Owner) -> Deed:
        """The step, not taken yet."""

    def live(self, metric: str) -> float:
        """A live metric now."""

    def record_fault(
        self, kind: str, fault: str, node: str = "", link: str = "", reason: str = ""
    ) -> None:
        """Note a fault's event at the present instant."""


def target_of(action: Action) -> str:
    """What the action is done to, in words."""
    match action:
        case LinkDown():
            return action.link
        case LinkBlock() | LinkImpair():
            return f"{action.link} {action.direction}"
        case _:
            return action.node


class _Fault:
    """One fault, waiting or at work."""

    def __init__(self, plan: FaultPlan, place: int) -> None:
        self.plan = plan
        self.place = place
        planned = plan.trigger.at_ns if isinstance(plan.trigger, At) else None
        self.record = FaultRecord(plan.name, plan.kind, planned, nodes=plan.nodes, links=plan.links)
        self.deeds: dict[int, Deed] = {}
        self.found: dict[int, Evidence] = {}
        self.undone: list[bool | None] = []
        self.waits = False

    def leave_out(self, status: EvidenceStatus, observed: str) -> None:
        """Write down why nothing was done."""
        self.record.evidence = [Evidence("", "", status, observed)]


class FaultTimeline:
    """All faults of a plan on one engine; times are those of the Plan.

    At one instant faults go in the plan's order, and within a fault what ends goes before what
    begins.
    """

    def __init__(self, plan: Plan, engine: EngineName, world: FaultWorld) -> None:
        self._plan = plan
        self._world = world
        self._faults = [_Fault(fault, place) for place, fault in enumerate(plan.faults)]
        self._by_name = {fault.plan.name: fault for fault in self._faults}
        # (instant, fault, order within the fault, number, what to do)
        self._queue: list[tuple[int, int, int, int, Callable[[], None]]] = []
        self._numbers = 0
        self._now_ns = 0
        for fault in self._faults:
            skipped = dict(fault.plan.skip).get(engine)
            if not fault.plan.armed:
                fault.leave_out("not-armed", "this seed's draw left it out")
            elif skipped is not None:
                fault.leave_out("skipped", skipped)
            else:
                fault.leave_out("not-fired", GIVES_UP)
                self._wait(fault)

    @property
    def records(self) -> list[FaultRecord]:
        """One per fault, in the plan's order."""
        return [fault.record for fault in self._faults]

    @property
    def next_due_ns(self) -> int | None:
        """When `advance` is wanted next; None: never again."""
        return self._queue[0][0] if self._queue else None

    def advance(self, now_ns: int) -> None:
        """Do everything that is due; `now_ns` may be later than what was due."""
        self._now_ns = now_ns
        while self._queue and self._queue[0][0] <= now_ns:
            heappop(self._queue)[4]()

    def abort(self, now_ns: int) -> None:
        """Take back at once whatever is in force, last fault first, and do nothing more."""
        self._now_ns = now_ns
        for fault in reversed(self._faults):
            for place in sorted(fault.deeds, reverse=True):
                self._undo(fault, place)
            if fault.record.started_ns is not None and fault.record.ended_ns is None:
                self._end(fault)
        self._queue.clear()

    def _at(self, due_ns: int, fault: _Fault, order: int, act: Callable[[], None]) -> None:
        self._numbers += 1
        heappush(self._queue, (due_ns, fault.place, order, self._numbers, act))

    # Waiting

    def _wait(self, fault: _Fault) -> None:
        trigger = fault.plan.trigger
        if isinstance(trigger, At):
            self._at(trigger.at_ns, fault, 1, partial(self._fire, fault))
            return
        fault.waits = True
        self._at(self._plan.chaos_end_ns, fault, 0, partial(self._give_up, fault))
        if isinstance(trigger, When) and trigger.after is None:
            self._at(self._plan.chaos_start_ns, fault, 1, partial(self._watch, fault))

    def _edge(self, name: str, edge: str, now_ns: int) -> None:
        """A fault started or ended: wake those that wait for it."""
        for fault in self._faults:
            trigger = fault.plan.trigger
            if not fault.waits:
                continue
            if isinstance(trigger, After) and (trigger.fault, trigger.edge) == (name, edge):
                due_ns = now_ns + trigger.delay_ns
                self._at(due_ns, fault, 1, partial(self._fire, fault))
            elif isinstance(trigger, When) and trigger.after == (name, edge):
                self._at(now_ns, fault, 1, partial(self._watch, fault))

    def _watch(self, fault: _Fault) -> None:
        trigger = fault.plan.trigger
        assert isinstance(trigger, When)
        gives_up_ns = min(self._now_ns + trigger.give_up_ns, self._plan.chaos_end_ns)
        self._look(fault, trigger, gives_up_ns)

    def _look(self, fault: _Fault, trigger: When, gives_up_ns: int) -> None:
        if not fault.waits:
            return
        if COMPARE[trigger.op](self._world.live(trigger.metric), trigger.value):
            self._fire(fault)
        elif self._now_ns >= gives_up_ns:
            self._give_up(fault)
        else:
            due_ns = min(self._now_ns + POLL_NS, gives_up_ns)
            self._at(due_ns, fault, 1, partial(self._look, fault, trigger, gives_up_ns))

    def _give_up(self, fault: _Fault) -> None:
        if fault.waits:
            fault.waits = False
            self._world.record_fault("fault.not_fired", fault.plan.name)

    # At work

    def _fire(self, fault: _Fault) -> None:
        fault.waits = False
        if fault.record.started_ns is not None:
            return
        now_ns = self._now_ns
        if now_ns >= self._plan.chaos_end_ns:
            self._world.record_fault("fault.not_fired", fault.plan.name)
            return
        plan = fault.plan
        fault.record.evidence = []
        fault.record.started_ns = now_ns
        self._note(fault, "fault.started", plan.kind)
        self._edge(plan.name, "started", now_ns)
        ends_ns = self._plan.chaos_end_ns
        if plan.duration_ns is not None:
            ends_ns = min(ends_ns, now_ns + plan.duration_ns)
        for place, step in enumerate(plan.steps):
            from_ns = now_ns + step.offset_ns
            until_ns = ends_ns if step.until_ns is None else now_ns + step.until_ns
            if from_ns >= ends_ns:
                self._leave_step(fault, place)
                continue
            self._at(from_ns, fault, 1, partial(self._do, fault, place))
            self._at(min(until_ns, ends_ns), fault, 0, partial(self._undo, fault, place))
        self._at(ends_ns, fault, 2, partial(self._end, fault))

    def _leave_step(self, fault: _Fault, place: int) -> None:
        action = fault.plan.steps[place].action
        name = type(action).__name__
        why = "the fault had ended before"
        fault.found[place] = Evidence(name, target_of(action), "not-fired", why)

    def _do(self, fault: _Fault, place: int) -> None:
        deed = self._world.deed(fault.plan.steps[place].action, (fault.place, place))
        fault.deeds[place] = deed
        deed.do()

    def _undo(self, fault: _Fault, place: int) -> None:
        deed = fault.deeds.pop(place)
        fault.undone.append(deed.undo())
        fault.found[place] = deed.evidence()
        if fault.undone[-1] is not None:
            action = fault.plan.steps[place].action
            node, link = getattr(action, "node", ""), getattr(action, "link", "")
            name = type(action).__name__
            self._world.record_fault("fault.undone", fault.plan.name, node, link, name)

    def _end(self, fault: _Fault) -> None:
        record = fault.record
        record.ended_ns = self._now_ns
        record.evidence = [fault.found[place] for place in sorted(fault.found)]
        if False in fault.undone:
            record.undo = "failed"
        elif True in fault.undone:
            record.undo = "verified"
        elif fault.undone:
            record.undo = "permanent"
        self._note(fault, "fault.ended")
        self._edge(fault.plan.name, "ended", self._now_ns)

    def _note(self, fault: _Fault, kind: str, reason: str = "") -> None:
        nodes, links = fault.plan.nodes, fault.plan.links
        self._world.record_fault(
            kind,
            fault.plan.name,
            nodes[0] if len(nodes) == 1 else "",
            links[0] if len(links) == 1 else "",
            reason,
        )
