"""The mesh of the protocol and memory benchmarks as a Plan, and the one cut that happens in it."""

from __future__ import annotations

from random import Random
from typing import Final

from benchmarks.torus import neighbours
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import FlowPlan, LinkPlan, NodePlan, Plan, ProtocolPlan

MS: Final = 1_000_000
HELLO_NS: Final = 1000 * MS
CUT_NS: Final = 2000 * MS
END_NS: Final = 7000 * MS
CUT: Final = "n0-n1"


def torus_plan(nodes: int, routes: str = "in-use", seed: int = 1) -> Plan:
    """Degree 6, keep-alives every second, 1 to 20 ms a link, started converged, no faults.

    With routes in use there are four destinations, spread over the mesh.
    """
    random = Random(seed)
    links = []
    for node, around in enumerate(neighbours(nodes)):
        for other in around:
            if node < other:
                there = Impairment(delay_ns=random.randrange(1 * MS, 20 * MS))
                name = f"n{node}-n{other}"
                links.append(LinkPlan(name, f"n{node}", f"n{other}", there, there))
    ends = [f"n{nodes * part // 4}" for part in range(4)]
    flows = tuple(
        FlowPlan(f"{a}>{b}", "probes", a, b, "cbr", 100 * MS, 256)
        for a, b in zip(ends, ends[1:] + ends[:1], strict=True)
    )
    return Plan(
        scenario="torus",
        scenario_sha256="",
        seed=seed,
        replication=0,
        nodes=tuple(NodePlan(f"n{node}") for node in range(nodes)),
        links=tuple(links),
        flows=flows,
        faults=(),
        warmup_ns=END_NS,
        chaos_ns=0,
        settle_ns=0,
        start="converged",
        routes="all" if routes == "all" else "in-use",
        protocol=ProtocolPlan(liveness=(("interval_ns", HELLO_NS), ("multiplier", 3))),
    )
