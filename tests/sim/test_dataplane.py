"""The data plane: what becomes of probes while forwarding and links change under them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from x0mesh.mesh.routes import (
    Active,
    AdjacencySegment,
    NextHop,
    NodeSegment,
    Protection,
    Repair,
    RepairKind,
    Route,
    RouteChange,
)
from x0mesh.scenarios.impairment import GilbertElliott, Impairment
from x0mesh.scenarios.plan import FlowPlan, LinkPlan, NodePlan, Plan
from x0mesh.scenarios.record import LOST, Event, FlowRecord
from x0mesh.sim.dataplane import DataPlane
from x0mesh.sim.flows import Carrier
from x0mesh.sim.randomness import Streams

MS = 1_000_000
S = 1000 * MS
PLAIN = Impairment(delay_ns=MS)


def ring(size: int, flows: tuple[FlowPlan, ...], link: Impairment = PLAIN) -> Plan:
    """n0..n(size-1) in a ring; link `li` joins ni and its successor."""
    names = [f"n{i}" for i in range(size)]
    return Plan(
        scenario="t",
        scenario_sha256="",
        seed=7,
        replication=0,
        nodes=tuple(NodePlan(n) for n in names),
        links=tuple(
            LinkPlan(f"l{i}", names[i], names[(i + 1) % size], link, link) for i in range(size)
        ),
        flows=flows,
        faults=(),
        warmup_ns=0,
        chaos_ns=10 * S,
        settle_ns=0,
    )


def probe(source: str, destination: str, **changes: object) -> FlowPlan:
    flow = FlowPlan(f"{source}>{destination}", "probe", source, destination, "cbr", 10 * MS, 100)
    return replace(flow, **changes)  # type: ignore[arg-type]


def running(plan: Plan) -> DataPlane:
    """Everything on, gates open, clockwise routes to every node (ni to its successor)."""
    plane = DataPlane(plan, Streams(plan.seed))
    size = len(plan.nodes)
    for i in range(size):
        for link in (f"l{i}", f"l{(i - 1) % size}"):
            plane.gate(0, f"n{i}", link, True)
        plane.install(
            0,
            f"n{i}",
            [RouteChange(f"n{d}", clockwise(i, d, size), "test") for d in range(size) if d != i],
        )
    return plane


def clockwise(i: int, d: int, size: int) -> Route:
    return Route(f"n{d}", NextHop(f"l{i}", f"n{(i + 1) % size}"), None, 10)


def cut(plane: DataPlane, t: int, link: str, passes: bool = False, held: bool = False) -> None:
    for forward in (True, False):
        plane.link_state(t, link, forward, passes, held, PLAIN)


def only(plane: DataPlane, end_ns: int = 10 * S) -> FlowRecord:
    return plane.finish(end_ns)[0][0]


def test_probes_take_the_sum_of_link_delays() -> None:
    flow = only(running(ring(6, (probe("n0", "n2"),))))
    assert len(flow.sent_ns) == 1000
    assert set(flow.latency_ns.tolist()) == {2 * MS}
    assert flow.possible == [(0, 10 * S)]


def test_a_cut_loses_the_probes_under_way_and_all_later_ones() -> None:
    plane = running(ring(6, (probe("n0", "n3", interval_ns=100_000),)))
    cut(plane, 5 * S, "l2")
    flow = only(plane)
    lost = flow.latency_ns == LOST
    # A probe needs 2 ms to reach the cut link: those sent in the last 2 ms before it are lost.
    assert flow.sent_ns[lost].min() >= 5 * S - 2 * MS
    assert flow.sent_ns[lost].min() < 5 * S - 2 * MS + 100_000
    assert lost[flow.sent_ns >= 5 * S].all()


def test_local_repair_carries_over_segments() -> None:
    plan = ring(6, (probe("n0", "n2"),))
    plane = running(plan)
    cut(plane, 1 * S, "l1")
    around = Repair(
        NextHop("l0", "n0"),
        (NodeSegment("n4"), AdjacencySegment("n4", NextHop("l3", "n3"))),
        RepairKind.EXPLICIT,
        Protection.LINK,
    )
    repaired = replace(clockwise(1, 2, 6), repair=around, active=Active.REPAIR)
    plane.install(2 * S, "n1", [RouteChange("n2", repaired, "lease expired")])
    # n0 sends to n4 counter-clockwise, and n3 on to n2.
    back = {("n0", "n4"): "l5", ("n5", "n4"): "l4", ("n3", "n2"): "l2"}
    peers = {"l5": "n5", "l4": "n4", "l2": "n2"}
    for (node, to), link in back.items():
        hop = NextHop(link, peers[link])
        plane.install(0 + 2 * S, node, [RouteChange(to, Route(to, hop, None, 10), "test")])
    plane_flow = only(plane)
    sent, latency = plane_flow.sent_ns, plane_flow.latency_ns
    assert (latency[(sent > 1 * S) & (sent < 2 * S - 2 * MS)] == LOST).all()
    assert set(latency[sent > 2 * S].tolist()) == {(1 + 1 + 2 + 1 + 1) * MS}


def test_a_repaired_packet_that_meets_a_second_failure_is_dropped_not_repaired_again() -> None:
    plane = running(ring(6, (probe("n0", "n2"),)))

    def repair_by(node: str, link: str, neighbour: str) -> None:
        detour = Repair(NextHop(link, neighbour), (), RepairKind.LFA, Protection.LINK)
        failed = Route("n2", NextHop("l0", "n1"), detour, 10, Active.REPAIR)
        plane.install(0, node, [RouteChange("n2", failed, "lease expired")])

    repair_by("n0", "l5", "n5")
    repair_by("n5", "l4", "n4")
    for node, link, neighbour in (("n4", "l3", "n3"), ("n3", "l2", "n2")):
        onwards = Route("n2", NextHop(link, neighbour), None, 10)
        plane.install(0, node, [RouteChange("n2", onwards, "test")])
    flows, _, counters, _ = plane.finish(1 * S)
    assert (flows[0].latency_ns == LOST).all()
    assert counters["packets.second_failure"] == len(flows[0].sent_ns)


def test_a_flow_led_another_way_says_when_and_over_how_many_hops() -> None:
    plane = running(ring(6, (probe("n0", "n2"),)))
    for node, link, neighbour in (("n0", "l5", "n5"), ("n5", "l4", "n4"), ("n4", "l3", "n3")):
        onwards = Route("n2", NextHop(link, neighbour), None, 10)
        plane.install(2 * S, node, [RouteChange("n2", onwards, "test")])
    back = Route("n2", NextHop("l2", "n2"), None, 10)
    plane.install(2 * S, "n3", [RouteChange("n2", back, "test")])
    flows, _, _, events = plane.finish(4 * S)
    (event,) = [e for e in events if e.kind == "flow.rerouted"]
    assert event.value == 4
    assert event.t_ns == flows[0].sent_ns[flows[0].sent_ns >= 2 * S].min()
    assert (flows[0].latency_ns != LOST).all()


def test_a_loop_is_counted_and_ends_at_the_hop_limit() -> None:
    plane = running(ring(4, (probe("n0", "n2"),)))
    plane.install(0, "n1", [RouteChange("n2", Route("n2", NextHop("l0", "n0"), None, 10), "wrong")])
    flows, _, counters, _ = plane.finish(1 * S)
    assert (flows[0].latency_ns == LOST).all()
    assert counters["microloops"] == counters["packets.hop_limit"] == len(flows[0].sent_ns)


def test_a_closed_gate_refuses_what_a_neighbour_sends() -> None:
    plane = running(ring(4, (probe("n0", "n2"),)))
    plane.gate(3 * S, "n1", "l0", False)
    flows, _, counters, events = plane.finish(5 * S)
    late = flows[0].sent_ns > 3 * S
    assert (flows[0].latency_ns[late] == LOST).all()
    assert counters["packets.gate_closed"] == (flows[0].latency_ns == LOST).sum()
    assert [e.kind for e in events] == ["flow.lost"]


def test_a_holding_link_delivers_at_its_release() -> None:
    plane = running(ring(4, (probe("n0", "n1"),)))
    cut(plane, 2 * S, "l0", passes=True, held=True)
    cut(plane, 4 * S, "l0", passes=True)
    flow = only(plane)
    during = (flow.sent_ns >= 2 * S) & (flow.sent_ns < 4 * S)
    arrival = flow.sent_ns[during] + flow.latency_ns[during]
    assert set(arrival.tolist()) == {4 * S + MS}
    assert (flow.latency_ns != LOST).all()
    # Held is not offered: the surviving graph of four still joins the ends the other way round.
    assert flow.possible == [(0, 10 * S)]


def test_possible_is_ground_truth_not_routing() -> None:
    plane = running(ring(4, (probe("n0", "n1"),)))
    cut(plane, 1 * S, "l0")
    cut(plane, 2 * S, "l2")
    cut(plane, 3 * S, "l2", passes=True)
    plane.node_forwarding(6 * S, "n1", False)
    flows, series, _, events = plane.finish(10 * S)
    assert flows[0].possible == [(0, 2 * S), (3 * S, 6 * S)]
    assert [(e.t_ns, e.kind) for e in events if e.kind.startswith("path")] == [
        (2 * S, "path.lost"),
        (3 * S, "path.offered"),
        (6 * S, "path.lost"),
    ]
    assert series[0].values[0] == 1.0
    assert series[0].values.min() < 1.0


def test_a_source_that_is_off_sends_nothing() -> None:
    plane = running(ring(4, (probe("n0", "n1"),)))
    plane.node_forwarding(2 * S, "n0", False)
    plane.node_forwarding(5 * S, "n0", True)
    sent = only(plane).sent_ns
    assert not ((sent >= 2 * S) & (sent < 5 * S)).any()
    assert len(sent) == 700


def test_an_outage_ends_with_twenty_delivered_probes() -> None:
    plane = running(ring(4, (probe("n0", "n1"),)))
    for t, passes in ((1000, False), (1105, True), (1255, False), (1300, True)):
        cut(plane, t * MS, "l0", passes=passes)
    events = plane.finish(3 * S)[3]
    marks = [(e.kind, e.value) for e in events if e.kind.startswith("flow")]
    assert [kind for kind, _ in marks] == ["flow.lost", "flow.restored"]
    assert 99 <= marks[0][1] <= 100  # type: ignore[operator]
    assert 129 <= marks[1][1] <= 131  # type: ignore[operator]


@pytest.mark.parametrize(
    "link",
    [
        Impairment(delay_ns=3 * MS, jitter_ns=2 * MS, loss=0.1, corrupt=0.05, reorder=0.02),
        Impairment(delay_ns=3 * MS, burst=GilbertElliott(200 * MS, 50 * MS)),
    ],
)
def test_blocks_and_single_steps_agree(link: Impairment, monkeypatch: pytest.MonkeyPatch) -> None:
    class Alternating:
        def loss_at(self, entity: str, t_ns: int) -> float:
            return 0.5 if t_ns // (100 * MS) % 2 else 0.0

    flows = (probe("n0", "n3"), probe("n1", "n2", reply_bytes=50))

    def outcome() -> tuple[list[list[int]], list[Event]]:
        plan = ring(6, flows, link)
        plane = running(plan)
        plane.carrier.bursts = Alternating()
        for forward in (True, False):
            plane.link_state(4 * S, "l1", forward, True, False, replace(link, loss=0.3))
        carried, _, _, events = plane.finish(6 * S)
        return [f.latency_ns.tolist() for f in carried], events

    blocks = outcome()
    shared = Carrier._shared_path
    monkeypatch.setattr(
        Carrier,
        "_shared_path",
        lambda self, *args: replace(shared(self, *args), until_ns=0),
    )
    assert outcome() == blocks
    assert LOST in blocks[0][0]


def test_packets_wait_for_each_other_on_a_slow_link() -> None:
    slow = Impairment(delay_ns=MS, rate_bps=80_000, queue=4)
    burst = (probe("n0", "n1"), probe("n0", "n1", name="b", traffic="b", size_bytes=200))
    flows, _, counters, _ = running(ring(4, burst, slow)).finish(2 * S)
    # 100 B and 200 B every 10 ms need 30 ms of a link that offers 10: the queue fills and drops.
    assert counters["packets.queue_full"] > 0
    arrived = flows[0].latency_ns[flows[0].latency_ns != LOST]
    assert arrived.max() > 11 * MS
    assert arrived.max() <= (4 * 20 + 1) * MS


def test_bulk_fills_the_link_and_backs_off() -> None:
    slow = Impairment(delay_ns=5 * MS, rate_bps=10_000_000, queue=50)
    bulk = probe("n0", "n1", kind="bulk", size_bytes=1250)
    plan = ring(4, (bulk,), slow)
    names = {"n1": NextHop("l0", "n0")}
    plane = running(plan)
    plane.install(0, "n1", [RouteChange("n0", Route("n0", names["n1"], None, 10), "test")])
    flow = only(plane)
    delivered = (flow.latency_ns != LOST).sum() * 1250 * 8 / 10
    assert 0.85 * 10e6 <= delivered <= 10e6
    assert (flow.latency_ns == LOST).any()


def test_another_flow_does_not_change_a_flows_luck() -> None:
    lossy = Impairment(delay_ns=MS, loss=0.2)
    alone = running(ring(6, (probe("n0", "n2"),), lossy)).finish(3 * S)[0][0]
    beside = running(ring(6, (probe("n1", "n4"), probe("n0", "n2")), lossy)).finish(3 * S)[0][1]
    assert np.array_equal(alone.latency_ns, beside.latency_ns)
