"""Memory of a simulated node with the real protocol, beside the same node on plain SimPy."""

from __future__ import annotations

from benchmarks.benchmark import MEMORY, Benchmark, Part, Size
from benchmarks.meter import Meter
from benchmarks.plain_peers import PlainMesh
from benchmarks.protocol import build, engine_counts
from benchmarks.protocol_mesh import CUT, CUT_NS, END_NS, torus_plan
from x0mesh.sim.engine import rare_collection


def plain_simpy(nodes: int, meter: Meter) -> dict[str, float]:
    """The protocol benchmark's plain part, routes to four destinations."""
    mesh = PlainMesh(torus_plan(nodes))
    mesh.at(CUT_NS, lambda: mesh.cut(CUT))
    with meter:
        mesh.run(END_NS)
    return {"nodes": nodes, "messages": mesh.counts["messages"]}


def routes_in_use(nodes: int, meter: Meter) -> dict[str, float]:
    """`sim`, routes to four destinations."""
    return _simulated(nodes, "in-use", meter)


def all_routes(nodes: int, meter: Meter) -> dict[str, float]:
    """`sim`, routes and repairs to every node."""
    return _simulated(nodes, "all", meter)


def _simulated(nodes: int, routes: str, meter: Meter) -> dict[str, float]:
    engine = build(torus_plan(nodes, routes))
    with meter, rare_collection():
        engine.clock.run_until(END_NS)
    counts = engine_counts(engine)
    return {name: counts[name] for name in ("nodes", "messages")}


BENCHMARK = Benchmark(
    name="memory",
    question="How much memory does a simulated node take?",
    parts={
        "SimPy process per node, routes in use": Part(plain_simpy),
        "sim, routes in use": Part(routes_in_use),
        "sim, all routes": Part(all_routes, up_to=1_000),
    },
    references=("SimPy process per node, routes in use",),
    subject="sim, routes in use",
    figure=MEMORY,
    sizes=(Size(100, 3), Size(1_000, 3), Size(10_000, 1)),
    quick=(Size(100, 1),),
    equal=("messages",),
    notes=(
        "Highest resident set of the process less what it had after its imports, over the nodes.",
        "The torus of `protocol`: degree 6, started converged, one cut, seven simulated seconds.",
        "Four destinations are in use. Plain SimPy models no TCP, no data gate and no impairments.",
    ),
)
