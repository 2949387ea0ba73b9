"""The simulated data plane: notes every change while the run lasts, carries the flows after it.

No event is spent on a packet during the run. What the live metric needs is worked out from the
state in force; what happened to each probe, at the end, from the state at the instants it met.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import RouteChange
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import FlowPlan, Plan
from x0mesh.scenarios.record import LOST, Event, FlowRecord, Sample
from x0mesh.sim.flows import Bursts, Carrier
from x0mesh.sim.forwarding import Forwarding
from x0mesh.sim.history import History
from x0mesh.sim.randomness import Streams
from x0mesh.sim.reachability import Reachability, sampled_destinations
from x0mesh.sim.surviving import components
from x0mesh.sim.traffic import Probes, run_flows

T = TypeVar("T")

SETTLED_NS = 10_000_000
"""Changes closer together than this are one sample of the reachability series."""
HEALED_RUN = 20
"""Consecutive delivered probes that end an outage."""


class DataPlane:
    """Implements `DataPlaneObserver` for one replication."""

    def __init__(self, plan: Plan, streams: Streams, bursts: Bursts | None = None) -> None:
        self.plan = plan
        self.forwarding = Forwarding(plan)
        self.carrier = Carrier(self.forwarding, streams, bursts)
        names = [node.name for node in plan.nodes]
        if plan.routes == "in-use":
            in_use = {end for flow in plan.flows for end in (flow.source, flow.destination)}
            names = [name for name in names if name in in_use]
        self._reachability = Reachability(self.forwarding, sampled_destinations(names, plan.seed))
        self._labels: dict[str, str] | None = None
        self._ratio: float | None = None
        self._changed_at: int | None = 0
        self._series: list[tuple[int, float]] = []

    def link_state(
        self, t: int, link: str, forward: bool, passes: bool, held: bool, impairment: Impairment
    ) -> None:
        self._sample_before(t)
        direction = self.forwarding.by_link[link][0 if forward else 1]
        direction.state.set(t, (passes, held, impairment))
        self._labels = None

    def node_forwarding(self, t: int, node: str, on: bool) -> None:
        self._sample_before(t)
        self.forwarding.on[node].set(t, on)
        self._labels = None

    def install(self, t: int, node: str, changes: Sequence[RouteChange]) -> None:
        self._sample_before(t)
        self.forwarding.install(t, node, changes)

    def answer_by(self, t: int, node: str, view: RouteView) -> None:
        self._sample_before(t)
        self.forwarding.answer_by(t, node, view)

    def flush(self, t: int, node: str) -> None:
        self._sample_before(t)
        self.forwarding.flush(t, node)

    def gate(self, t: int, node: str, link: str, is_open: bool) -> None:
        self._sample_before(t)
        self.forwarding.set_gate(t, node, link, is_open)

    def reachability(self, t: int) -> float:
        if self._ratio is None:
            self._ratio = self._reachability.ratio(t, self._components())
        return self._ratio

    def finish(
        self, end_ns: int
    ) -> tuple[list[FlowRecord], list[Sample], dict[str, float], list[Event]]:
        self._sample_before(end_ns + SETTLED_NS)
        records: list[FlowRecord] = []
        events: list[Event] = []
        surviving = self._surviving()
        probes = run_flows(self.carrier, self.plan.flows, self.plan.seed, end_ns)
        for flow, sent in zip(self.plan.flows, probes, strict=True):
            possible = _possible(flow, surviving, end_ns)
            records.append(
                FlowRecord(
                    name=flow.name,
                    traffic=flow.traffic,
                    source=flow.source,
                    destination=flow.destination,
                    size_bytes=flow.size_bytes,
                    sent_ns=sent.sent_ns,
                    latency_ns=sent.latency_ns,
                    possible=possible,
                )
            )
            events += _path_events(flow, possible, end_ns)
            events += _outage_events(flow, sent)
            events += [
                Event(t, flow.source, "flow.rerouted", flow=flow.name, value=float(hops))
                for t, hops in self.carrier.reroutes.get(flow.name, ())
            ]
        drops = self.carrier.drops
        counters = {
            f"packets.{fate.name.lower()}": float(drops.by_fate[fate])
            for fate in sorted(drops.by_fate, key=lambda f: f.name)
        }
        counters["microloops"] = float(drops.looped)
        series = Sample(
            "reachability.ratio",
            np.array([t for t, _ in self._series], dtype=np.int64),
            np.array([value for _, value in self._series], dtype=np.float64),
        )
        return records, [series], counters, events

    def _sample_before(self, t: int) -> None:
        """Sample the state in force since the last change, unless more changes are close."""
        changed = self._changed_at
        if changed is not None and t >= changed + SETTLED_NS:
            value = self.reachability(changed)
            if not self._series or self._series[-1][1] != value:
                self._series.append((changed, value))
        self._changed_at = t
        self._ratio = None

    def _components(self) -> dict[str, str]:
        """Components of the surviving graph in force."""
        if self._labels is None:
            self._labels = self._label(None)
        return self._labels

    def _label(self, t_ns: int | None) -> dict[str, str]:
        """Components at `t_ns`, or in force (None). A link that loses everything is cut."""
        forwarding = self.forwarding

        def value(history: History[T]) -> T:
            return history.now if t_ns is None else history.at(t_ns)

        on = [name for name, history in forwarding.on.items() if value(history)]
        alive = set(on)
        links: list[tuple[str, str]] = []
        for pair in forwarding.by_link.values():
            if pair[0].sender not in alive or pair[0].receiver not in alive:
                continue
            states = [value(direction.state) for direction in pair]
            if all(passes and not held and link.loss < 1.0 for passes, held, link in states):
                links.append((pair[0].sender, pair[0].receiver))
        return components(on, links)

    def _surviving(self) -> list[tuple[int, dict[str, str]]]:
        """The surviving graph's components from each instant at which they may have changed."""
        times = {0}
        for power in self.forwarding.on.values():
            times.update(power.times_ns)
        for pair in self.forwarding.by_link.values():
            for direction in pair:
                times.update(direction.state.times_ns)
        return [(t, self._label(t)) for t in sorted(times)]


def _possible(
    flow: FlowPlan, surviving: list[tuple[int, dict[str, str]]], end_ns: int
) -> list[tuple[int, int]]:
    """[from, to) in which both ends are on and in one component."""
    intervals: list[tuple[int, int]] = []
    for (t, labels), until in zip(surviving, [t for t, _ in surviving[1:]] + [end_ns], strict=True):
        here = labels.get(flow.source)
        if here is None or labels.get(flow.destination) != here or until <= t:
            continue
        if intervals and intervals[-1][1] == t:
            intervals[-1] = (intervals[-1][0], until)
        else:
            intervals.append((t, until))
    return intervals


def _path_events(flow: FlowPlan, possible: list[tuple[int, int]], end_ns: int) -> list[Event]:
    events: list[Event] = []
    if not possible or possible[0][0] > 0:
        events.append(Event(0, flow.source, "path.lost", flow=flow.name))
    for begins, ends in possible:
        if begins > 0:
            events.append(Event(begins, flow.source, "path.offered", flow=flow.name))
        if ends < end_ns:
            events.append(Event(ends, flow.source, "path.lost", flow=flow.name))
    return events


def _outage_events(flow: FlowPlan, probes: Probes) -> list[Event]:
    """Each outage: its first lost probe and the first of the next `HEALED_RUN` delivered."""
    lost = np.flatnonzero(probes.latency_ns == LOST)
    events: list[Event] = []
    for place, number in enumerate(lost.tolist()):
        after = int(lost[place + 1]) if place + 1 < len(lost) else len(probes.sent_ns)
        if place == 0 or number - int(lost[place - 1]) > HEALED_RUN:
            t = int(probes.sent_ns[number])
            events.append(Event(t, flow.source, "flow.lost", flow=flow.name, value=float(number)))
        if after - number > HEALED_RUN:
            t = int(probes.sent_ns[number + 1])
            events.append(
                Event(t, flow.source, "flow.restored", flow=flow.name, value=float(number + 1))
            )
    return events
