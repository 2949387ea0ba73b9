"""Runs one Plan in simulated time and returns its Record.

Builds links and hosts, starts the mesh cold or converged, lets the timeline act, and stops at
the end of settle. Equal plans give equal records, whatever the host, the hash seed or the load.
"""

from __future__ import annotations

import gc
import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from x0mesh.mesh.config import (
    DampingConfig,
    FloodingConfig,
    LinkConfig,
    LivenessConfig,
    NodeConfig,
    SpfConfig,
)
from x0mesh.mesh.credential import FakeSigner, FakeVerifier
from x0mesh.mesh.effects import ProtocolEvent
from x0mesh.mesh.events import SESSION_REFUSED
from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.node import Node
from x0mesh.scenarios.actions import Action
from x0mesh.scenarios.fault_timeline import COMPARE, FaultTimeline, Owner
from x0mesh.scenarios.plan import AbortRule, Plan
from x0mesh.scenarios.record import Event, Record, Sample
from x0mesh.sim.clock import NODE, Clock
from x0mesh.sim.converged import start_converged
from x0mesh.sim.coverage import installed_coverage
from x0mesh.sim.dataplane import DataPlane
from x0mesh.sim.faults import TIMELINE_RANK, Process, SimulatedDeed, follow
from x0mesh.sim.host import Host, Interface, ServiceModel
from x0mesh.sim.link import Bursts, Link, LinkWatcher
from x0mesh.sim.live import converged, free_memory_bytes, full_ratio
from x0mesh.sim.observer import DataPlaneObserver
from x0mesh.sim.randomness import Streams
from x0mesh.sim.stream import StreamModel

CHECK_NS: Final = 50_000_000
"""How often, in simulated time, abort rules, `stop` and `progress` are looked at."""

MAX_STATES_IN_FULL: Final = 200
"""Above this many nodes the final states are digests; a full one grows with the nodes."""

PHASE_RANK: Final = 0

SHORTEST_SVID_NS: Final = 100_000_000
"""Shorter lives are renewed as if they were this long: an authority has a limit."""

Stop = Callable[[], str | None]
Progress = Callable[[float], None]


def run(plan: Plan, *, stop: Stop | None = None, progress: Progress | None = None) -> Record:
    """Simulate a plan. `stop` may return a reason to abort; `progress` is told 0..1."""
    return Engine(plan).run(stop, progress)


class Engine(LinkWatcher):
    """One replication. `observer` replaces the data plane where a study needs none."""

    def __init__(
        self,
        plan: Plan,
        observer: DataPlaneObserver | None = None,
        stream_model: StreamModel | None = None,
        service: ServiceModel | None = None,
    ) -> None:
        self.plan = plan
        self.clock = Clock()
        self.streams = Streams(plan.seed)
        self.links = {
            link.name: Link(link, place, self.streams) for place, link in enumerate(plan.links)
        }
        self.observer: DataPlaneObserver = observer or DataPlane(
            plan, self.streams, Bursts(self.links.values())
        )
        self.events: list[tuple[int, int, str, int, Event]] = []
        self.counters: Counter[str] = Counter()
        self._channels = 0
        self._event_numbers: Counter[str] = Counter()
        self._verifier = FakeVerifier()
        self._serials: Counter[str] = Counter()
        self._signers: dict[str, FakeSigner] = {}
        self._store = GraphStore()
        self._full_ratio: list[tuple[int, float]] = []
        self._coverage: dict[str, float] = {}
        self._configs = node_configs(plan)
        self.hosts: dict[str, Host] = {}
        service = service or ServiceModel()
        for place, node in enumerate(plan.nodes):
            self.hosts[node.name] = Host(self, node.name, place, service, self._make_node)
            self._renew(node.name)
        stream_model = stream_model or StreamModel()
        for link in self.links.values():
            link.watchers.append(self)
            a, b = self.hosts[link.plan.a], self.hosts[link.plan.b]
            at_a = Interface(a, link, b.name, link.forward, 2 * link.rank, stream_model)
            at_b = Interface(b, link, a.name, link.backward, 2 * link.rank + 1, stream_model)
            at_a.join(at_b)
            at_b.join(at_a)
            a.interfaces[link.name] = at_a
            b.interfaces[link.name] = at_b
        self.timeline = FaultTimeline(plan, "sim", self)

    def run(self, stop: Stop | None = None, progress: Progress | None = None) -> Record:
        """Simulate to the end of settle, or until a rule or `stop` aborts."""
        with rare_collection():
            return self._run(stop, progress)

    def _run(self, stop: Stop | None, progress: Progress | None) -> Record:
        self.start()
        plan, clock = self.plan, self.clock
        status = reason = ""
        while clock.now_ns < plan.end_ns:
            clock.run_until(min(clock.now_ns + CHECK_NS, plan.end_ns))
            if progress is not None:
                progress(clock.now_ns / plan.end_ns)
            reason = self._abort_reason(stop)
            if reason:
                status = "aborted"
                self.timeline.abort(clock.now_ns)
                self._record(0, Event(clock.now_ns, "", "run.aborted", reason=reason))
                break
        self._sample_full_ratio()
        record = self._finish()
        if status:
            record.status = "aborted"
            record.reason = reason
        return record

    def start(self) -> None:
        """Everything that happens at instant 0."""
        for link in self.links.values():
            self.direction_changed(0, link, True)
            self.direction_changed(0, link, False)
        for host in self.hosts.values():
            self.observer.node_forwarding(0, host.name, True)
            host.boot()
        self.clock.spawn(PHASE_RANK, self._phases())
        self.clock.spawn(TIMELINE_RANK, follow(self.timeline, self.clock))
        if self.plan.start == "converged":
            start_converged(self.hosts.values(), self._signers, self._store)
        else:
            for host in self.hosts.values():
                host.node.start(0)
        if self.plan.identity.svid_ttl_ns < 2 * self.plan.end_ns:
            for place, name in enumerate(self.hosts):
                self._schedule_renewal(name, place)

    def live(self, metric: str) -> float:
        """A live metric (`scenarios.live`) now; KeyError for an unknown one."""
        readings: dict[str, Callable[[], float]] = {
            "reachability.ratio": lambda: self.observer.reachability(self.clock.now_ns),
            "adjacency.full_ratio": lambda: full_ratio(self.links.values(), self.hosts),
            "routes.converged": lambda: converged(self.hosts.values()),
            "host.free_memory": free_memory_bytes,
            "engine.event_backlog": lambda: float(self.clock.backlog),
        }
        return readings[metric]()

    def _abort_reason(self, stop: Stop | None) -> str:
        for rule in self.plan.abort_if:
            value = self.live(rule.metric)
            if COMPARE[rule.op](value, rule.value):
                return _broken(rule, value)
        return (stop() if stop is not None else None) or ""

    def _phases(self) -> Process:
        plan, clock = self.plan, self.clock
        lengths = (("warmup", plan.warmup_ns), ("chaos", plan.chaos_ns), ("settle", plan.settle_ns))
        for name, length_ns in lengths:
            self._record(0, Event(clock.now_ns, "", "phase.started", reason=name))
            if length_ns:
                yield clock.timeout(length_ns)
                self._sample_full_ratio()
            if name == "warmup":
                self._coverage = self._installed_coverage()

    def _installed_coverage(self) -> dict[str, float]:
        working = {
            name: (link.plan.a, link.plan.b)
            for name, link in self.links.items()
            if link.forward.passes and link.backward.passes
        }
        tables = {name: host.node.routes for name, host in self.hosts.items()}
        return installed_coverage(working, tables)

    def _sample_full_ratio(self) -> None:
        now_ns = self.clock.now_ns
        if not self._full_ratio or self._full_ratio[-1][0] < now_ns:
            ratio = full_ratio(self.links.values(), self.hosts)
            self._full_ratio.append((now_ns, ratio))

    # World: what hosts share.

    def record(self, node: str, event: ProtocolEvent) -> None:
        now_ns = self.clock.now_ns
        self._record(
            1,
            Event(
                now_ns,
                node,
                event.kind,
                link=event.link,
                peer=event.peer,
                value=event.value,
                reason=event.reason,
            ),
        )
        if event.kind == SESSION_REFUSED:
            self.counters["session.refused"] += 1

    def deed(self, action: Action, owner: Owner) -> SimulatedDeed:
        """A fault's step on this network, not taken yet."""
        return SimulatedDeed(self, action, owner)

    def record_fault(
        self, kind: str, fault: str, node: str = "", link: str = "", reason: str = ""
    ) -> None:
        """Note a fault's event at the present instant."""
        self._record(0, Event(self.clock.now_ns, node, kind, fault=fault, link=link, reason=reason))

    def _record(self, kind: int, event: Event) -> None:
        """`kind`: 0 the run and its faults, 1 the protocol, 2 the data plane."""
        node = event.node if kind == 1 else ""
        self._event_numbers[node] += 1
        self.events.append((event.t_ns, kind, node, self._event_numbers[node], event))

    def next_channel(self) -> int:
        self._channels += 1
        return self._channels

    def neighbour_fault(self, neighbour: str) -> str | None:
        credential = self._signers[neighbour].credential()
        return self._verifier.credential_fault(credential, self.clock.now_ns)

    def message_sent(self, size_bytes: int) -> None:
        self.counters["control.messages"] += 1
        self.counters["control.bytes"] += size_bytes

    # LinkWatcher

    def direction_changed(self, now_ns: int, link: Link, forward: bool) -> None:
        direction = link.forward if forward else link.backward
        self.observer.link_state(
            now_ns,
            link.name,
            forward,
            direction.passes,
            direction.queueing,
            direction.impairment,
        )

    # Identities

    def _make_node(self, host: Host, boot_epoch: int) -> Node:
        config = self._configs[host.name]
        if boot_epoch != config.boot_epoch:
            config = replace(config, boot_epoch=boot_epoch)
        return Node(config, host, host.draw, self._signers[host.name], self._verifier, self._store)

    def _renew(self, name: str) -> FakeSigner:
        self._serials[name] += 1
        expires_ns = self.clock.now_ns + self.plan.identity.svid_ttl_ns
        self._signers[name] = FakeSigner(name, expires_ns, self._serials[name])
        return self._signers[name]

    def _schedule_renewal(self, name: str, place: int) -> None:
        """SVIDs are renewed at half their life, give or take a twentieth of it."""
        serial = self._serials[name]
        draw = self.streams.uniform(name, "svid renewal", serial)
        ttl_ns = max(self.plan.identity.svid_ttl_ns, SHORTEST_SVID_NS)
        delay_ns = round(ttl_ns * (0.45 + 0.1 * draw))
        order = Clock.order(NODE, len(self.hosts) + place) + serial
        self.clock.push(self.clock.now_ns + delay_ns, order, self._renewal_due, (name, place))

    def _renewal_due(self, argument: Any) -> None:
        name, place = argument
        host = self.hosts[name]
        host.identity_renewed(self._renew(name))
        self._schedule_renewal(name, place)

    # The end

    def _finish(self) -> Record:
        plan, end_ns = self.plan, self.clock.now_ns
        flows, series, flow_counters, flow_events = self.observer.finish(end_ns)
        for event in flow_events:
            self._record(2, event)
        series.append(
            Sample(
                "adjacency.full_ratio",
                np.array([t for t, _ in self._full_ratio], dtype=np.int64),
                np.array([ratio for _, ratio in self._full_ratio], dtype=np.float64),
            )
        )
        self.events.sort(key=lambda row: row[:4])
        return Record(
            engine="sim",
            seed=plan.seed,
            replication=plan.replication,
            warmup_end_ns=plan.chaos_start_ns,
            chaos_end_ns=plan.chaos_end_ns,
            end_ns=end_ns,
            backend={
                "queue": "calendar",
                "keep_alives": "full",
                "start": plan.start,
                "routes": plan.routes,
                "final_state": "full" if self._states_in_full else "sha256",
            },
            events=[row[4] for row in self.events],
            faults=self.timeline.records,
            flows=flows,
            series=series,
            counters=self._totals() | self._coverage | flow_counters,
            final_state=self._final_state(),
        )

    def _totals(self) -> dict[str, float]:
        interfaces = [i for host in self.hosts.values() for i in host.interfaces.values()]
        handshakes = [ns for i in interfaces for ns in i.stream.handshake_ns]
        totals: dict[str, float] = {
            "control.messages": self.counters["control.messages"],
            "control.bytes": self.counters["control.bytes"],
            "control.keep_alives": sum(i.lease.sent for i in interfaces),
            "control.retransmissions": sum(i.stream.retransmissions for i in interfaces),
            "session.refused": self.counters["session.refused"],
            "session.handshakes": len(handshakes),
            "engine.events": self.clock.entries,
        }
        if handshakes:
            totals["session.handshake_time"] = statistics.median(handshakes) / 1e9
        return {name: float(value) for name, value in totals.items()}

    @property
    def _states_in_full(self) -> bool:
        return len(self.hosts) <= MAX_STATES_IN_FULL

    def _final_state(self) -> dict[str, str]:
        """Canonical JSON of every running node's state, or of its parts' digests."""
        running = {name: host.node for name, host in self.hosts.items() if host.is_running}
        if self._states_in_full:
            return {name: _canonical(node.canonical_state()) for name, node in running.items()}
        known: dict[Graph, dict[str, str]] = {}  # nodes whose databases agree share one graph
        return {name: _canonical(_digests(node, known)) for name, node in running.items()}


def _digests(node: Node, known: dict[Graph, dict[str, str]]) -> dict[str, str]:
    """SHA-256 of each part of `Node.canonical_state`; `known` keeps those of a graph."""
    graph = node.database.graph
    if graph not in known:
        state = node.canonical_state()
        known[graph] = {part: _sha256(state[part]) for part in ("database", "overloaded")}
    adjacencies = {link: state.value for link, state in node.adjacency_states().items()}
    routes = {name: msgspec.to_builtins(route) for name, route in sorted(node.routes.items())}
    return {"adjacencies": _sha256(adjacencies), "routes": _sha256(routes)} | known[graph]


def _sha256(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


@contextmanager
def rare_collection() -> Iterator[None]:
    """Look for garbage cycles seldom: a run makes few, and queues of tuples that keep it busy.

    Measured on 1,000 nodes: a quarter of the run's time with Python's defaults.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _broken(rule: AbortRule, value: float) -> str:
    return f"{rule.metric} is {value:g}, {rule.op} {rule.value:g}"


def node_configs(plan: Plan) -> dict[str, NodeConfig]:
    """Every node's configuration; in-use routes go to the ends of flows."""
    links: dict[str, list[LinkConfig]] = {node.name: [] for node in plan.nodes}
    for link in plan.links:
        links[link.a].append(LinkConfig(link.name, link.b, link.cost_forward))
        links[link.b].append(LinkConfig(link.name, link.a, link.cost_backward))
    destinations = None
    if plan.routes == "in-use":
        destinations = frozenset(
            name for flow in plan.flows for name in (flow.source, flow.destination)
        )
    protocol = plan.protocol
    return {
        name: NodeConfig(
            name=name,
            links=tuple(ends),
            liveness=LivenessConfig(**dict(protocol.liveness)),
            spf=SpfConfig(**dict(protocol.spf)),
            flooding=FloodingConfig(**dict(protocol.flooding)),
            damping=DampingConfig(**dict(protocol.damping)),
            destinations=destinations,
            repairs=protocol.repairs,
        )
        for name, ends in links.items()
    }
