"""What the engine is worth under the real protocol: the same nodes on plain SimPy and on `sim`.

A torus of real `mesh.Node`s, started converged, keep-alives every second, four destinations in
use; at 2 s one link is cut and both ends flood the news. Seven simulated seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.benchmark import Benchmark, Figure, Part, Size, per_cpu_second
from benchmarks.meter import Meter
from benchmarks.plain_peers import PlainMesh
from benchmarks.protocol_mesh import CUT, CUT_NS, END_NS, torus_plan
from x0mesh.mesh.converged import converged_database
from x0mesh.mesh.credential import FakeSigner, FakeVerifier
from x0mesh.mesh.effects import Lease, ProtocolEvent, TimerKey
from x0mesh.mesh.graph import GraphStore
from x0mesh.mesh.liveness import steady_content
from x0mesh.mesh.messages import Message
from x0mesh.mesh.node import Node
from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import RouteChange
from x0mesh.scenarios.plan import Plan
from x0mesh.sim.clock import DELIVERY, Clock
from x0mesh.sim.engine import Engine, node_configs, rare_collection
from x0mesh.sim.observer import NoDataPlane
from x0mesh.sim.randomness import Draws, Streams

Input = tuple[str, str, tuple[Any, ...]]
"""(node, method of `Node`, arguments)."""


def plain_simpy(nodes: int, meter: Meter) -> dict[str, float]:
    """`plain_peers` as it stands."""
    mesh = PlainMesh(torus_plan(nodes))
    mesh.at(CUT_NS, lambda: mesh.cut(CUT))
    with meter:
        mesh.run(END_NS)
    counts = mesh.counts
    return _counts(nodes, counts["keep_alives"], counts["messages"], counts["spf.run"])


def our_engine(nodes: int, meter: Meter) -> dict[str, float]:
    """`sim`'s engine without a data plane."""
    engine = build(torus_plan(nodes))
    with meter, rare_collection():
        engine.clock.run_until(END_NS)
    return engine_counts(engine)


def handlers_alone(nodes: int, meter: Meter) -> dict[str, float]:
    """Every input that the engine gave its nodes, given once more to fresh nodes by a loop."""
    plan = torus_plan(nodes)
    engine = build(plan)
    inputs: list[Input] = []
    for name, host in engine.hosts.items():
        host.node = Recorder(name, host.node, inputs)  # type: ignore[assignment]
    with rare_collection():
        engine.clock.run_until(END_NS)
    counts = engine_counts(engine)
    del engine
    again = silent_nodes(plan)
    calls = [(getattr(again[name], method), arguments) for name, method, arguments in inputs]
    with meter, rare_collection():
        for call, arguments in calls:
            call(*arguments)
    return counts | {"inputs": len(calls)}


def build(plan: Plan) -> Engine:
    """A started engine that cuts one link at `CUT_NS`."""
    engine = Engine(plan, observer=NoDataPlane())
    engine.start()

    def cut(_: None) -> None:
        engine.links[CUT].take_down(CUT_NS, (0, 0))

    engine.clock.push(CUT_NS, Clock.order(DELIVERY, 4 * len(plan.links)), cut, None)
    return engine


def engine_counts(engine: Engine) -> dict[str, float]:
    """What an engine's nodes sent and computed."""
    interfaces = [each for host in engine.hosts.values() for each in host.interfaces.values()]
    return _counts(
        len(engine.hosts),
        sum(interface.lease.sent for interface in interfaces),
        engine.counters["control.messages"],
        sum(row[4].kind == "spf.run" for row in engine.events),
    )


def _counts(nodes: int, keep_alives: int, messages: int, spf_runs: int) -> dict[str, float]:
    return {
        "nodes": nodes,
        "keep_alives": keep_alives,
        "messages": messages,
        "spf_runs": spf_runs,
        "deliveries": keep_alives + messages,
    }


class Recorder:
    """Stands before a node and notes its inputs."""

    INPUTS = ("channel_failed", "lease_changed", "lease_report", "link_down", "receive", "timer")

    def __init__(self, name: str, node: Node, inputs: list[Input]) -> None:
        self._node = node
        for method in self.INPUTS:
            setattr(self, method, self._noting(name, method, inputs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def _noting(self, name: str, method: str, inputs: list[Input]) -> Any:
        call = getattr(self._node, method)

        def noted(*arguments: Any) -> None:
            inputs.append((name, method, arguments))
            call(*arguments)

        return noted


class Silence:
    """Effects that do nothing."""

    def __init__(self, name: str, streams: Streams) -> None:
        self._name = name
        self._streams = streams
        self._draws: dict[str, tuple[Draws, int]] = {}

    def draw(self, purpose: str) -> float:
        draws, counter = self._draws.get(purpose) or (self._streams.draws(self._name, purpose), 0)
        self._draws[purpose] = (draws, counter + 1)
        return draws.at(counter)

    def dial(self, link: str) -> None: ...

    def send(self, link: str, message: Message) -> None: ...

    def keep_alive(self, link: str, lease: Lease | None) -> None: ...

    def gate(self, link: str, is_open: bool) -> None: ...

    def set_timer(self, key: TimerKey, due_ns: int) -> None: ...

    def cancel_timer(self, key: TimerKey) -> None: ...

    def install(self, changes: Sequence[RouteChange]) -> None: ...

    def answer_by(self, view: RouteView) -> None: ...

    def close(self, link: str, reason: str) -> None: ...

    def emit(self, event: ProtocolEvent) -> None: ...


def silent_nodes(plan: Plan) -> dict[str, Node]:
    """Fresh nodes of the plan, started converged, whose effects go nowhere."""
    configs = node_configs(plan)
    streams, store, verifier = Streams(plan.seed), GraphStore(), FakeVerifier()
    signers = {name: FakeSigner(name, plan.identity.svid_ttl_ns) for name in configs}
    database = converged_database(((configs[name], signers[name]) for name in configs), 0, store)
    nodes: dict[str, Node] = {}
    for name, config in configs.items():
        effects = Silence(name, streams)
        node = nodes[name] = Node(config, effects, effects.draw, signers[name], verifier, store)
        heard = {link.link: steady_content(configs[link.peer].liveness) for link in config.links}
        node.start_converged(0, database, heard)
    return nodes


BENCHMARK = Benchmark(
    name="protocol",
    question="How many packets a second with the real protocol behind every one?",
    parts={
        "SimPy process per node": Part(plain_simpy),
        "SimPy process per node, collector off": Part(plain_simpy, gc_off=True),
        "sim": Part(our_engine),
        "the nodes' handlers alone": Part(handlers_alone),
    },
    references=("SimPy process per node", "SimPy process per node, collector off"),
    subject="sim",
    figure=per_cpu_second("deliveries", "packets per CPU second", "1/s"),
    extras=(
        Figure(
            "CPU per packet",
            "us",
            lambda m: m.cpu_s * 1e6 / m.counts["deliveries"],
            more_is_better=False,
        ),
    ),
    sizes=(Size(1_000, 5), Size(10_000, 3, required_ratio=2.0)),
    quick=(Size(1_000, 3),),
    equal=("keep_alives", "messages", "spf_runs"),
    notes=(
        "Packets are keep-alives and flooded advertisements, counted when sent.",
        "Same plan, service times and random draws in every part; the parts must agree on the "
        "numbers of keep-alives, messages and SPF runs.",
        "sim also models TCP's acknowledgements and encodes messages for their size; plain SimPy "
        "does neither.",
        "sim runs with the collector thresholds it sets itself (100,000, 50, 100); the others "
        "with Python's defaults, unless the name says off.",
        "Handlers alone: the inputs of a recorded run given to fresh nodes whose effects do "
        "nothing; keep-alives that say nothing new are no input of a node.",
    ),
)
