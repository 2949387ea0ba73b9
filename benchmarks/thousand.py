"""A thousand nodes, sixty simulated seconds, five faults, every keep-alive: `thousand.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.benchmark import MEMORY, WALL, Benchmark, Figure, Part, Size
from benchmarks.meter import Meter
from benchmarks.plain_keep_alives import PlainKeepAlives
from x0mesh import sim
from x0mesh.scenarios.loader import load
from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.planner import make_plan

SCENARIO: Final = Path(__file__).parent / "thousand.yaml"
REFERENCE_SHARE: Final = 10
S: Final = 1_000_000_000


def simulated(nodes: int, meter: Meter) -> dict[str, float]:
    """`sim.run`: building, converged start, the run, flows and final states."""
    plan = thousand_plan(nodes)
    with meter:
        record = sim.run(plan)
    assert record.status == "complete", record.reason
    confirmed = sum(fault.status == "confirmed" for fault in record.faults)
    return {
        "nodes": nodes,
        "simulated_s": plan.end_ns / S,
        "keep_alives": record.counters["control.keep_alives"],
        "messages": record.counters["control.messages"],
        "entries": record.counters["engine.events"],
        "faults_confirmed": confirmed,
    }


def plain_simpy(nodes: int, meter: Meter) -> dict[str, float]:
    """A tenth of the time, keep-alives only."""
    plan = thousand_plan(nodes)
    mesh = PlainKeepAlives(plan)
    until_ns = plan.end_ns // REFERENCE_SHARE
    with meter:
        mesh.env.run(until=until_ns)
    return {"nodes": nodes, "simulated_s": until_ns / S, "keep_alives": mesh.delivered}


def thousand_plan(nodes: int) -> Plan:
    """The scenario's plan with another number of nodes."""
    return make_plan(load(SCENARIO, {"topology.generator.nodes": str(nodes)}), 0)


BENCHMARK = Benchmark(
    name="thousand",
    question="Does a thousand-node minute with five faults fit into a minute on one core?",
    parts={
        "keep-alives alone on plain SimPy, collector off": Part(plain_simpy, gc_off=True),
        "sim.run": Part(simulated),
    },
    references=("keep-alives alone on plain SimPy, collector off",),
    subject="sim.run",
    figure=Figure(
        "CPU per simulated second",
        "s",
        lambda m: m.cpu_s / m.counts["simulated_s"],
        more_is_better=False,
    ),
    extras=(
        WALL,
        MEMORY,
    ),
    sizes=(Size(1_000, 3),),
    quick=(Size(100, 1),),
    limit_s=60.0,
    notes=(
        "Random geometric, degree 6, 100 ms x 3, converged start, routes in use, 16 probe flows; "
        "a cable, three silent cuts, a crash, five lossy links, a frozen process.",
        "The reference moves the keep-alives of six simulated seconds between empty handlers.",
        "One process; wall time counts against the minute.",
    ),
)
