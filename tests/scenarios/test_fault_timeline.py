"""The timeline of faults, on a network that only writes down what is done to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from x0mesh.scenarios.actions import Action, LinkDown, NodeStop
from x0mesh.scenarios.fault_timeline import POLL_NS, FaultTimeline, Owner
from x0mesh.scenarios.plan import After, At, FaultPlan, Plan, Step, When
from x0mesh.scenarios.record import Evidence

S = 1_000_000_000
CUT = Step(0, LinkDown("ab"))


@dataclass
class Pad:
    """A world: `log` of (instant, what), a live metric to set, and undos that may fail."""

    live_value: float = 0.0
    now: int = 0
    log: list[tuple[int, str]] = field(default_factory=list)
    undo_works: bool | None = True

    def deed(self, action: Action, owner: Owner) -> PadDeed:
        return PadDeed(self, type(action).__name__)

    def live(self, metric: str) -> float:
        return self.live_value

    def record_fault(
        self, kind: str, fault: str, node: str = "", link: str = "", reason: str = ""
    ) -> None:
        self.log.append((self.now, f"{kind} {fault}"))

    def run(self, timeline: FaultTimeline, until: int, late_ns: int = 0) -> None:
        while (due := timeline.next_due_ns) is not None and due <= until:
            self.now = max(self.now, due) + late_ns
            timeline.advance(self.now)

    def said(self, fault: str) -> list[tuple[float, str]]:
        return [(t / S, what.split()[0]) for t, what in self.log if what.endswith(f" {fault}")]


@dataclass
class PadDeed:
    pad: Pad
    name: str

    def do(self) -> None:
        self.pad.log.append((self.pad.now, f"do {self.name}"))

    def undo(self) -> bool | None:
        self.pad.log.append((self.pad.now, f"undo {self.name}"))
        return self.pad.undo_works

    def evidence(self) -> Evidence:
        return Evidence(self.name, "ab", "confirmed", "seen")


def plan(*faults: FaultPlan) -> Plan:
    """Chaos lasts from 10 s to 20 s."""
    return Plan("t", "", 1, 0, (), (), (), faults, 10 * S, 10 * S, 0)


def fault(
    name: str, trigger: At | After | When, duration: int | None = 2 * S, *steps: Step
) -> FaultPlan:
    return FaultPlan(name, "link.down", trigger, duration, steps or (CUT,))


def test_a_fault_starts_ends_and_is_undone() -> None:
    pad = Pad()
    timeline = FaultTimeline(plan(fault("cut", At(12 * S))), "sim", pad)
    pad.run(timeline, 20 * S)
    assert [what for _, what in pad.log] == [
        "fault.started cut",
        "do LinkDown",
        "undo LinkDown",
        "fault.undone cut",
        "fault.ended cut",
    ]
    (record,) = timeline.records
    assert (record.started_ns, record.ended_ns) == (12 * S, 14 * S)
    assert (record.status, record.undo) == ("confirmed", "verified")
    assert timeline.next_due_ns is None


def test_one_fault_follows_the_others_edge_in_the_same_instant() -> None:
    pad = Pad()
    second = fault("second", After("first", "ended", 0))
    timeline = FaultTimeline(plan(fault("first", At(11 * S)), second), "sim", pad)
    pad.run(timeline, 20 * S)
    assert pad.said("second")[0] == (13.0, "fault.started")


def test_a_state_that_comes_starts_the_fault_and_one_that_does_not_leaves_it_out() -> None:
    waiting = When("reachability.ratio", ">", 0.5, ("first", "started"), S)
    for value, said in ((1.0, "fault.started"), (0.0, "fault.not_fired")):
        pad = Pad(live_value=0.0)
        faults = (fault("first", At(11 * S)), fault("waiting", waiting))
        timeline = FaultTimeline(plan(*faults), "sim", pad)
        pad.run(timeline, 11 * S + 20 * POLL_NS)
        pad.live_value = value
        pad.run(timeline, 20 * S)
        assert pad.said("waiting")[0][1] == said
        assert timeline.records[1].status == ("confirmed" if value else "not-fired")


def test_nothing_outlasts_chaos() -> None:
    pad = Pad()
    timeline = FaultTimeline(plan(fault("cut", At(19 * S), 5 * S)), "sim", pad)
    pad.run(timeline, 30 * S)
    assert timeline.records[0].ended_ns == 20 * S


def test_an_engine_that_comes_late_does_all_that_is_due_in_order() -> None:
    pad = Pad()
    flap = tuple(Step(i * S // 10, LinkDown("ab"), i * S // 10 + S // 20) for i in range(4))
    timeline = FaultTimeline(plan(fault("flap", At(11 * S), S, *flap)), "emulation", pad)
    pad.run(timeline, 30 * S, late_ns=S // 5)
    done = [what for _, what in pad.log if what.endswith("LinkDown")]
    assert done == ["do LinkDown", "undo LinkDown"] * 4


def test_an_abort_takes_back_what_is_in_force_last_fault_first() -> None:
    pad = Pad()
    stop = Step(0, NodeStop("a", "cold"))
    faults = (fault("cut", At(11 * S), None), fault("stop", At(12 * S), None, stop))
    timeline = FaultTimeline(plan(*faults), "sim", pad)
    pad.run(timeline, 13 * S)
    pad.now = 13 * S
    timeline.abort(13 * S)
    assert [w for _, w in pad.log if w.startswith("undo")] == ["undo NodeStop", "undo LinkDown"]
    assert timeline.next_due_ns is None
    assert [r.ended_ns for r in timeline.records] == [13 * S, 13 * S]


def test_a_failed_undo_is_said() -> None:
    pad = Pad(undo_works=False)
    timeline = FaultTimeline(plan(fault("cut", At(11 * S))), "sim", pad)
    pad.run(timeline, 20 * S)
    assert timeline.records[0].undo == "failed"
