from collections.abc import Callable, Sequence
from typing import Any

import pytest

from x0mesh.mesh.routes import RouteChange
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
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import AbortRule, After, At, FaultPlan, Plan, Step, When
from x0mesh.scenarios.record import Record
from x0mesh.sim import run
from x0mesh.sim.engine import Engine
from x0mesh.sim.observer import NoDataPlane

MS = 1_000_000
S = 1_000_000_000

MakePlan = Callable[..., Plan]
Edges = Callable[[int], list[tuple[str, str]]]


def fault(name: str, *actions: Action, trigger: Any = None, **rest: Any) -> FaultPlan:
    steps = tuple(Step(0, action) for action in actions)
    rest = {"duration_ns": 2 * S, "steps": steps, **rest}
    return FaultPlan(name, "test", trigger or At(3 * S), **rest)


def times(record: Record, kind: str, **where: str) -> list[int]:
    return [
        e.t_ns
        for e in record.events
        if e.kind == kind and all(getattr(e, field) == value for field, value in where.items())
    ]


ACTIONS = [
    (LinkDown("n0-n1"), "carrier was lost"),
    (LinkBlock("n0-n1", "forward", "drop"), "packets dropped or held"),
    (LinkBlock("n0-n1", "both", "queue"), "packets dropped or held"),
    (LinkImpair("n0-n1", "both", Impairment(delay_ns=MS)), "packets met it"),
    (NodeStop("n1", "cold"), "process gone"),
    (NodeStop("n1", "warm"), "process gone"),
    (NodePause("n1"), "process stopped"),
    (NodeSlow("n1", 5.0), "inputs delayed"),
    (NodeDrain("n1"), "advertised overload"),
]


@pytest.mark.parametrize(("action", "observed"), ACTIONS, ids=lambda p: type(p).__name__)
def test_every_action_leaves_evidence_is_undone_and_the_mesh_is_whole_again(
    plan: MakePlan, ring: Edges, action: Action, observed: str
) -> None:
    record = run(plan(ring(5), [fault("f", action)], chaos_ns=14 * S, settle_ns=8 * S))
    (found,) = record.faults
    assert found.status == "confirmed"
    assert observed in found.evidence[0].observed
    assert found.undo == "verified"
    assert (found.started_ns, found.ended_ns) == (3 * S, 5 * S)
    assert times(record, "fault.started", fault="f") == [3 * S]
    assert times(record, "fault.undone", fault="f") == [5 * S]
    assert times(record, "fault.ended", fault="f") == [5 * S]
    full = next(s for s in record.series if s.metric == "adjacency.full_ratio")
    assert full.values[-1] == 1.0
    undisturbed = run(plan(ring(5), [], chaos_ns=14 * S, settle_ns=8 * S))
    assert record.final_state == undisturbed.final_state


def test_a_cut_of_a_link_that_is_already_down_is_a_mismatch(plan: MakePlan, ring: Edges) -> None:
    first = fault("first", LinkDown("n0-n1"), trigger=At(3 * S))
    second = fault("second", LinkDown("n0-n1"), trigger=At(4 * S))
    record = run(plan(ring(4), [first, second]))
    assert [f.status for f in record.faults] == ["confirmed", "mismatch"]
    # The link stays down until the last fault lets go of it at 6 s.
    assert [t > 6 * S for t in times(record, "session.established", link="n0-n1")] == [True, True]


def test_a_block_that_no_packet_meets_is_a_mismatch(plan: MakePlan, ring: Edges) -> None:
    stops = [fault("a", NodeStop("n0", "never")), fault("b", NodeStop("n1", "never"))]
    late = fault("late", LinkBlock("n0-n1", "both", "drop"), trigger=At(6 * S))
    record = run(plan(ring(4), [*stops, late]))
    assert record.faults[2].status == "mismatch"
    assert record.faults[2].evidence[0].observed.startswith("0 packets")
    assert record.faults[0].undo == "permanent"
    assert "n0" not in record.final_state


def test_a_fault_is_left_out_with_its_reason(plan: MakePlan, ring: Edges) -> None:
    cut = LinkDown("n0-n1")
    faults = [
        fault("unarmed", cut, armed=False),
        fault("skipped", cut, skip=(("sim", "no such thing here"),)),
        fault("elsewhere", cut, skip=(("emulation", "only there"),)),
        fault("orphan", cut, trigger=After("unarmed", "started", 0)),
        fault("never", cut, trigger=When("adjacency.full_ratio", "<", 0.0, None, S)),
    ]
    record = run(plan(ring(4), faults))
    assert [f.status for f in record.faults] == [
        "not-armed",
        "skipped",
        "confirmed",
        "not-fired",
        "not-fired",
    ]
    assert record.faults[1].evidence[0].observed == "no such thing here"
    assert times(record, "fault.not_fired", fault="never") == [3 * S]
    assert [f.started_ns for f in record.faults] == [None, None, 3 * S, None, None]


def test_triggers_follow_other_faults_and_the_state_of_the_mesh(
    plan: MakePlan, ring: Edges
) -> None:
    faults = [
        fault("cut", LinkDown("n0-n1"), trigger=At(3 * S), duration_ns=S),
        fault("after", LinkDown("n1-n2"), trigger=After("cut", "ended", 500 * MS)),
        fault(
            "when",
            NodeDrain("n3"),
            trigger=When("adjacency.full_ratio", "==", 1.0, ("cut", "ended"), 3 * S),
            duration_ns=S,
        ),
    ]
    record = run(plan(ring(4), faults, chaos_ns=10 * S))
    full = times(record, "adjacency.full", link="n0-n1")[-1]
    when_ns = record.faults[2].started_ns
    assert record.faults[1].started_ns == 4500 * MS
    assert when_ns is not None
    assert full <= when_ns <= full + 10 * MS


def test_steps_come_and_go_at_their_offsets(plan: MakePlan, ring: Edges) -> None:
    steps = tuple(
        Step(k * 600 * MS, LinkDown("n0-n1"), until_ns=k * 600 * MS + 200 * MS) for k in range(3)
    )
    record = run(plan(ring(4), [fault("flap", steps=steps)]))
    assert times(record, "fault.undone") == [3200 * MS, 3800 * MS, 4400 * MS]
    assert [e.status for e in record.faults[0].evidence] == ["confirmed"] * 3
    assert record.faults[0].ended_ns == 5 * S


def test_a_fault_without_duration_ends_with_chaos(plan: MakePlan, ring: Edges) -> None:
    record = run(plan(ring(4), [fault("cut", LinkDown("n0-n1"), duration_ns=None)]))
    assert record.faults[0].ended_ns == record.chaos_end_ns
    assert record.faults[0].undo == "verified"


def test_an_aborted_run_undoes_its_faults_and_says_why(plan: MakePlan, ring: Edges) -> None:
    asked = iter(range(1000))
    made = plan(ring(4), [fault("stop", NodeStop("n1", "cold"))])
    record = run(made, stop=lambda: "user" if next(asked) > 80 else None)
    assert record.status == "aborted"
    assert record.reason == "user"
    assert record.end_ns < made.end_ns
    assert record.faults[0].undo == "verified"
    assert record.faults[0].ended_ns == record.end_ns
    assert times(record, "run.aborted") == [record.end_ns]


def test_an_abort_rule_that_holds_aborts(plan: MakePlan, ring: Edges) -> None:
    rule = AbortRule("engine.event_backlog", ">", 1.0)
    record = run(plan(ring(4), abort_if=(rule,)))
    assert record.status == "aborted"
    assert "engine.event_backlog" in record.reason


def test_a_paused_node_is_missed_keeps_forwarding_and_comes_back(
    plan: MakePlan, ring: Edges
) -> None:
    class Watch(NoDataPlane):
        forwarding: list[tuple[int, str, bool]] = []  # noqa: RUF012

        def node_forwarding(self, t: int, node: str, on: bool) -> None:
            self.forwarding.append((t, node, on))

    watch = Watch()
    pause = fault("pause", NodePause("n1"))
    record = Engine(plan(ring(4), [pause], chaos_ns=12 * S), watch).run()
    assert {(t, on) for t, _, on in watch.forwarding} == {(0, True)}
    downs = times(record, "liveness.down", peer="n1")
    assert len(downs) == 2
    assert all(3 * S + 200 * MS < t < 3 * S + 400 * MS for t in downs)


def test_a_cold_stop_empties_the_data_plane_and_a_warm_one_leaves_it(
    plan: MakePlan, ring: Edges
) -> None:
    class Watch(NoDataPlane):
        def __init__(self) -> None:
            self.seen: list[tuple[int, str]] = []

        def node_forwarding(self, t: int, node: str, on: bool) -> None:
            self.seen.append((t, f"{node} {'on' if on else 'off'}"))

        def flush(self, t: int, node: str) -> None:
            self.seen.append((t, f"{node} flushed"))

    for restart, expected in (
        ("cold", [(3 * S, "n1 off"), (3 * S, "n1 flushed"), (5 * S, "n1 on")]),
        ("warm", []),
        ("never", [(3 * S, "n1 off"), (3 * S, "n1 flushed")]),
    ):
        watch = Watch()
        stop = fault("stop", NodeStop("n1", restart))  # type: ignore[arg-type]
        Engine(plan(ring(4), [stop]), watch).run()
        assert [seen for seen in watch.seen if seen[0]] == expected


def test_routes_that_a_warm_restart_did_not_take_over_are_withdrawn(
    plan: MakePlan, ring: Edges
) -> None:
    class Watch(NoDataPlane):
        def __init__(self) -> None:
            self.withdrawn: list[tuple[int, str, str]] = []

        def install(self, t: int, node: str, changes: Sequence[RouteChange]) -> None:
            self.withdrawn += [(t, node, c.destination) for c in changes if c.route is None]

    watch = Watch()
    faults = [
        fault("warm", NodeStop("n1", "warm")),
        fault("gone", NodeStop("n3", "never"), trigger=At(3500 * MS)),
        fault("gone too", NodeStop("n2", "never"), trigger=At(3500 * MS)),
    ]
    Engine(plan(ring(4), faults, chaos_ns=20 * S), watch).run()
    swept = {(t, d) for t, node, d in watch.withdrawn if node == "n1"}
    assert swept == {(15 * S + 20_000, "n2"), (15 * S + 20_000, "n3")}


def test_a_node_that_is_stopped_while_paused_starts_when_both_are_over(
    plan: MakePlan, ring: Edges
) -> None:
    faults = [
        fault("pause", NodePause("n1"), trigger=At(3 * S), duration_ns=4 * S),
        fault("stop", NodeStop("n1", "cold"), trigger=At(4 * S), duration_ns=S),
    ]
    record = run(plan(ring(4), faults, chaos_ns=12 * S))
    assert [f.status for f in record.faults] == ["confirmed", "confirmed"]
    assert [f.undo for f in record.faults] == ["verified", "verified"]
    said = [e.t_ns for e in record.events if e.node == "n1" and not e.kind.startswith("fault")]
    assert not [t for t in said if 3 * S < t < 7 * S]
    assert len(times(record, "adjacency.full", node="n1")) == 2
