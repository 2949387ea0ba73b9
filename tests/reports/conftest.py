"""Small hand-made runs: a ring of four nodes, one flow, one cut link, probes every 10 ms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from x0mesh.scenarios.actions import LinkDown
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.plan import At, FaultPlan, FlowPlan, LinkPlan, NodePlan, Plan, Step
from x0mesh.scenarios.record import LOST, Event, Evidence, FaultRecord, FlowRecord, Record, Sample
from x0mesh.scenarios.yaml_reader import Positions

MS = 1_000_000
S = 1_000_000_000

WARMUP, CHAOS, SETTLE = 2 * S, 10 * S, 3 * S
END = WARMUP + CHAOS + SETTLE
CUT, MENDED = 4 * S, 8 * S
LATENCY = 3 * MS


@dataclass
class Built:
    """A plan and its record; tests change what they are about."""

    plan: Plan
    record: Record
    flow: FlowRecord = field(init=False)

    def __post_init__(self) -> None:
        self.flow = self.record.flows[0]

    def lose(self, from_ns: int, to_ns: int, flow: int = 0) -> Built:
        """Probes sent in [from, to) do not arrive."""
        track = self.record.flows[flow]
        track.latency_ns[(track.sent_ns >= from_ns) & (track.sent_ns < to_ns)] = LOST
        return self

    def event(self, t_ns: int, node: str, kind: str, **fields: Any) -> Built:
        self.record.events.append(Event(t_ns, node, kind, **fields))
        self.record.events.sort(key=lambda e: e.t_ns)
        return self


def plain_link(name: str, a: str, b: str) -> LinkPlan:
    still = Impairment(delay_ns=MS)
    return LinkPlan(name, a, b, still, still)


def cut_fault(name: str = "cut", at_ns: int = CUT, duration_ns: int = MENDED - CUT) -> FaultPlan:
    return FaultPlan(
        name, "link.down", At(at_ns), duration_ns, (Step(0, LinkDown("n0-n1")),), links=("n0-n1",)
    )


def confirmed(fault: FaultPlan, started_ns: int, ended_ns: int | None) -> FaultRecord:
    return FaultRecord(
        fault.name,
        fault.kind,
        started_ns,
        started_ns,
        ended_ns,
        fault.nodes,
        fault.links,
        [Evidence("link down", "n0-n1", "confirmed", "carrier lost at both ends")],
        "verified",
    )


def build(seed: int = 1, faults: tuple[FaultPlan, ...] | None = None) -> Built:
    """A replication in which nothing is lost yet."""
    faults = (cut_fault(),) if faults is None else faults
    names = ["n0", "n1", "n2", "n3"]
    nodes = tuple(
        NodePlan(n, position=(float(i in (1, 2)), float(i > 1))) for i, n in enumerate(names)
    )
    ring = [("n0", "n1"), ("n1", "n2"), ("n2", "n3"), ("n3", "n0")]
    links = tuple(plain_link(f"{a}-{b}", a, b) for a, b in ring)
    plan = Plan(
        scenario="ring",
        scenario_sha256="0" * 64,
        seed=seed,
        replication=seed - 1,
        nodes=nodes,
        links=links,
        flows=(FlowPlan("probe", "probe", "n0", "n2", "cbr", 10 * MS, 100),),
        faults=faults,
        warmup_ns=WARMUP,
        chaos_ns=CHAOS,
        settle_ns=SETTLE,
    )
    sent = np.arange(0, END, 10 * MS, dtype=np.int64)
    flow = FlowRecord(
        "probe", "probe", "n0", "n2", 100, sent, np.full(len(sent), LATENCY), [(0, END)]
    )
    record = Record(
        "sim",
        seed,
        seed - 1,
        WARMUP,
        WARMUP + CHAOS,
        END,
        backend={"clock": "simpy"},
        flows=[flow],
        series=[
            Sample(
                "reachability.ratio",
                np.array([0, S, CUT, CUT + 300 * MS], dtype=np.int64),
                np.array([0.0, 1.0, 0.5, 1.0]),
            )
        ],
        counters={"control.messages": 120.0, "control.bytes": 9000.0},
    )
    for link in links:
        for end in (link.a, link.b):
            record.events.append(
                Event(500 * MS, end, "liveness.up", link=link.name, peer=other(link, end))
            )
            record.events.append(
                Event(600 * MS, end, "adjacency.full", link=link.name, peer=other(link, end))
            )
    record.events.sort(key=lambda e: e.t_ns)
    for fault in faults:
        if fault.armed:
            assert isinstance(fault.trigger, At)
            start = fault.trigger.at_ns
            end_ns = None if fault.duration_ns is None else start + fault.duration_ns
            record.faults.append(confirmed(fault, start, end_ns))
    return Built(plan, record)


def other(link: LinkPlan, end: str) -> str:
    return link.b if end == link.a else link.a


def healed_cut(seed: int = 1, heal_ms: int = 300) -> Built:
    """The cut is felt at once, seen by both ends, healed after `heal_ms`, and taken back."""
    built = build(seed).lose(CUT, CUT + heal_ms * MS)
    for node, peer, late in (("n0", "n1", 10), ("n1", "n0", 20)):
        built.event(CUT + late * MS, node, "liveness.down", link="n0-n1", peer=peer, reason="x")
        built.event(MENDED + 90 * MS, node, "liveness.up", link="n0-n1", peer=peer)
        built.event(MENDED + 100 * MS + late * MS, node, "adjacency.full", link="n0-n1", peer=peer)
    built.event(CUT + (heal_ms - 10) * MS, "n0", "route.changed", value=3.0, reason="spf")
    return built


Builder = Callable[..., Built]
ScenarioOf = Callable[..., Scenario]


@pytest.fixture(scope="session")
def bench() -> Any:
    """The constants and builders above, for tests (which cannot import a conftest)."""

    class Bench:
        ms, s = MS, S
        warmup, end, cut, mended, latency = WARMUP, END, CUT, MENDED, LATENCY
        build = staticmethod(build)
        healed_cut = staticmethod(healed_cut)
        cut_fault = staticmethod(cut_fault)

    return Bench


@pytest.fixture(scope="session")
def scenario_of() -> ScenarioOf:
    """A scenario with these sections on a small topology."""

    def make(**sections: Any) -> Scenario:
        raw: dict[str, Any] = {
            "schema": "x0mesh.scenario/1",
            "name": "ring",
            "topology": {"generator": {"kind": "ring", "nodes": 4}},
            **sections,
        }
        scenario = Scenario.model_validate(raw)
        return scenario.placed(raw, "ring.yaml", Path(), Path(), Positions("ring.yaml"))

    return make
