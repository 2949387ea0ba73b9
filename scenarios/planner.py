"""From a scenario and a seed to a Plan: targets chosen, times fixed, faults become steps.

A Plan is a pure function of (scenario, seed). Every choice has a stream of its own, so adding a
fault changes no other fault's targets, times or luck.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from x0mesh.scenarios.actions import LinkAction
from x0mesh.scenarios.assemble import TopologyError, assemble
from x0mesh.scenarios.blast import blast_mistakes, spans_of
from x0mesh.scenarios.draws import stream
from x0mesh.scenarios.farthest import farthest_by_delay
from x0mesh.scenarios.faults import FAULTS, FaultContext
from x0mesh.scenarios.fields import edge
from x0mesh.scenarios.flows import MAX_PROBES
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.plan import (
    AbortRule,
    After,
    At,
    EngineName,
    FaultPlan,
    FlowPlan,
    Plan,
    Step,
    When,
)
from x0mesh.scenarios.problems import Problem, ScenarioError, once_per_place
from x0mesh.scenarios.selectors import (
    SelectorError,
    resolve_groups,
    resolve_links,
    resolve_nodes,
)
from x0mesh.scenarios.timeline import TimelineEntry
from x0mesh.scenarios.topology import Topology
from x0mesh.scenarios.windows import Window, windows

MAX_FLOWS: Final = 10_000
MAX_PROBES_TOTAL: Final = 20_000_000
PROBE_INTERVAL_NS: Final = 10_000_000
PROBE_BYTES: Final = 256


def make_plan(scenario: Scenario, replication: int, topology: Topology | None = None) -> Plan:
    """The Plan of one replication, whose seed is the scenario's base seed + `replication`.

    `topology` saves assembling it again: it is the scenario's, the same in every replication.
    Raises ScenarioError with every mistake found.
    """
    return make_plan_for_seed(
        scenario, scenario.run.seeds.base + replication, replication, topology
    )


def make_plan_for_seed(
    scenario: Scenario, seed: int, replication: int = 0, topology: Topology | None = None
) -> Plan:
    """The Plan for a seed; see `make_plan`."""
    return _Planner(scenario, seed, topology or assemble_topology(scenario)).plan(replication)


def assemble_topology(scenario: Scenario) -> Topology:
    """The scenario's topology; its base seed serves generators without one of their own.

    Raises ScenarioError.
    """
    try:
        return assemble(scenario.topology, scenario.run.seeds.base, str(scenario.import_dir))
    except TopologyError as error:
        problem = scenario.problem(("topology", *error.path), str(error))
        raise ScenarioError([problem]) from error


def every_mistake(error: ScenarioError) -> ScenarioError:
    """`error` with what planning the rest of the scenario would find wrong besides."""
    partial = error.partial
    if not isinstance(partial, Scenario):
        return error
    try:
        make_plan(partial, 0)
    except ScenarioError as more:
        # What an unreadable entry would have named or bound is not a mistake of its own.
        lost = [f"'{name}'" for name in _unread(partial)]
        found = [
            problem
            for problem in more.problems
            if "@" not in problem.message and not any(name in problem.message for name in lost)
        ]
        return ScenarioError(once_per_place([*error.problems, *found]))
    return error


def _unread(partial: Scenario) -> list[str]:
    """Names of the timeline's entries that are written but could not be read."""
    read = {entry.id for entry in partial.timeline}
    entries = partial.raw.get("timeline")
    entries = entries if isinstance(entries, list) else []
    written = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    return [str(name) for name in written if name not in read]


def unavailable(plan: Plan, engine: EngineName) -> list[str]:
    """Kinds of this plan's faults that the language knows and `engine` cannot run yet.

    Those the scenario skips on this engine do not count. Exit code 4 names them.
    """
    return sorted(
        {
            fault.kind
            for fault in plan.faults
            if not FAULTS[fault.kind].available and engine not in dict(fault.skip)
        }
    )


class _Planner:
    """One plan being made. Mistakes are collected and raised together."""

    def __init__(self, scenario: Scenario, seed: int, topology: Topology) -> None:
        self.scenario = scenario
        self.seed = seed
        self.topology = topology
        self.problems: list[Problem] = []
        self.notes = list(topology.notes)
        self.bindings: dict[str, tuple[str, ...]] = {}

    def plan(self, replication: int) -> Plan:
        run = self.scenario.run
        times = windows(self.scenario.timeline, run.chaos)
        for path, message in times.mistakes:
            self._mistake(path, message)
        unknown = [name for name in self.scenario.safety.never if name not in self.topology.nodes]
        for name in unknown:
            index = self.scenario.safety.never.index(name)
            self._mistake(("safety", "never", index), f"there is no node '{name}'")
        faults = self._faults(times.of, times.chaos_ns)
        flows = self._flows(run.warmup + times.chaos_ns + run.settle)
        chaos_end_ns = run.warmup + times.chaos_ns
        spans = spans_of(faults, run.warmup, chaos_end_ns)
        limit = self.scenario.safety.max_blast
        for word, message in blast_mistakes(limit, spans, self.topology, run.warmup):
            self._mistake(("safety", "max_blast", word), message)
        if self.problems:
            raise ScenarioError(self.problems)
        return Plan(
            scenario=self.scenario.name,
            scenario_sha256=self.scenario.sha256,
            seed=self.seed,
            replication=replication,
            nodes=tuple(self.topology.nodes.values()),
            links=tuple(self.topology.links.values()),
            flows=tuple(flows),
            faults=tuple(faults),
            warmup_ns=run.warmup,
            chaos_ns=times.chaos_ns,
            settle_ns=run.settle,
            start=run.start_for(len(self.topology.nodes)),
            routes=run.routes_for(len(self.topology.nodes)),
            protocol=self.scenario.protocol.plan(),
            identity=self.scenario.identity.plan(),
            abort_if=tuple(
                AbortRule(rule.metric, rule.op, rule.value)
                for rule in self.scenario.safety.abort_if
            ),
            bindings=tuple(self.bindings.items()),
            notes=tuple(dict.fromkeys(self.notes)),
        )

    def _mistake(self, path: tuple[str | int, ...], message: str) -> None:
        self.problems.append(self.scenario.problem(path, message))

    def _faults(self, of: dict[str, Window], chaos_ns: int) -> list[FaultPlan]:
        """In the timeline's order, resolved so that `@name` is known before it is used."""
        made: dict[str, FaultPlan] = {}
        waiting = list(enumerate(self.scenario.timeline))
        while waiting:
            known = {f"@{name}" for name in self.bindings}
            ready = [
                (index, entry)
                for index, entry in waiting
                if set(_references(entry.target.model_dump())) <= known
            ]
            # Names that nobody gives are the selectors' mistake to report.
            for index, entry in ready or waiting:
                plan = self._fault(index, entry, of.get(entry.id), chaos_ns)
                if plan is not None:
                    made[entry.id] = plan
            done = {entry.id for _, entry in ready or waiting}
            waiting = [(index, entry) for index, entry in waiting if entry.id not in done]
        return self._disarmed([made[e.id] for e in self.scenario.timeline if e.id in made])

    def _fault(
        self, index: int, entry: TimelineEntry, window: Window | None, chaos_ns: int
    ) -> FaultPlan | None:
        entity = f"fault {entry.id}"
        targets = self._targets(index, entry)
        if targets is None:
            return None
        nodes, links, groups = targets
        if entry.as_ is not None:
            self.bindings[entry.as_] = nodes or links or groups[0]
        if entry.with_.lasting and entry.for_ is not None:
            self._mistake(
                ("timeline", index, "for"),
                f"{entry.fault} cannot be undone with these parameters, so it takes no for:",
            )
        if window is None:
            return None
        steps: tuple[Step, ...] = ()
        if entry.with_.available:
            context = FaultContext(
                topology=self.topology,
                nodes=nodes,
                links=links,
                groups=groups,
                duration_ns=entry.for_ or chaos_ns - window.start_ns,
                random=stream(self.seed, entity, "steps"),
                base_dir=str(self.scenario.base_dir),
            )
            try:
                steps = entry.with_.steps(context)
            except ValueError as error:
                self._mistake(("timeline", index), str(error))
                return None
            steps = self._without_protected(entry, nodes, groups, steps)
        happens = not entry.with_.available or bool(steps)
        lucky = stream(self.seed, entity, "prob").random() < entry.prob
        return FaultPlan(
            name=entry.id,
            kind=entry.fault,
            trigger=self._trigger(entry, window),
            duration_ns=entry.for_,
            steps=steps,
            nodes=nodes or (groups[0] if groups else ()),
            links=links or _links_of(steps),
            parameters=self._parameters(index, entry),
            armed=happens and bool(lucky),
            skip=tuple(self._skip(entry)),
        )

    def _targets(
        self, index: int, entry: TimelineEntry
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, ...], ...]] | None:
        random = stream(self.seed, f"fault {entry.id}", "target")
        target, never = entry.target, self.scenario.safety.never
        nodes: tuple[str, ...] = ()
        links: tuple[str, ...] = ()
        groups: tuple[tuple[str, ...], ...] = ()
        word = next(iter(target.given), "")
        try:
            if target.nodes is not None:
                nodes = resolve_nodes(
                    target.nodes,
                    self.topology,
                    random,
                    bindings=self.bindings,
                    never=never,
                    notes=self.notes,
                )
            elif target.links is not None:
                links = resolve_links(
                    target.links, self.topology, random, bindings=self.bindings, notes=self.notes
                )
            elif target.groups is not None:
                groups = resolve_groups(
                    target.groups,
                    self.topology,
                    random,
                    bindings=self.bindings,
                    never=never,
                    notes=self.notes,
                )
        except SelectorError as error:
            self._mistake(("timeline", index, "target", word), str(error))
            return None
        return nodes, links, groups

    def _without_protected(
        self,
        entry: TimelineEntry,
        nodes: tuple[str, ...],
        groups: tuple[tuple[str, ...], ...],
        steps: tuple[Step, ...],
    ) -> tuple[Step, ...]:
        """A fault that spreads by itself must not reach `safety.never` either."""
        protected = set(self.scenario.safety.never).difference(nodes, *groups)
        kept = []
        for step in steps:
            node = "" if isinstance(step.action, LinkAction) else step.action.node
            if node in protected:
                self.notes.append(f"{entry.id}: spares {node}, which safety.never protects")
            else:
                kept.append(step)
        return tuple(kept)

    def _trigger(self, entry: TimelineEntry, window: Window) -> At | After | When:
        if window.certain:
            return At(self.scenario.run.warmup + window.start_ns)
        if entry.after is not None:
            fault, which = edge(entry.after.event)
            return After(fault, which, entry.after.delay)
        assert entry.when is not None
        when = entry.when
        return When(
            when.metric,
            when.op,
            when.value,
            None if when.after is None else edge(when.after),
            when.give_up,
        )

    def _disarmed(self, faults: list[FaultPlan]) -> list[FaultPlan]:
        """What waits for a fault that this seed leaves out is left out, too."""
        entries = {entry.id: entry for entry in self.scenario.timeline}
        armed = {fault.name: fault.armed for fault in faults}

        def waits_for(name: str) -> str | None:
            entry = entries[name]
            event = entry.after.event if entry.after else entry.when.after if entry.when else None
            return None if event is None else edge(event)[0]

        for name in armed:
            reference = waits_for(name)
            while reference is not None and armed.get(name):
                armed[name] = armed.get(reference, False)
                reference = waits_for(reference) if reference in entries else None
        return [
            fault if fault.armed == armed[fault.name] else replace(fault, armed=False)
            for fault in faults
        ]

    def _parameters(self, index: int, entry: TimelineEntry) -> tuple[tuple[str, str], ...]:
        """As the file has them."""
        given = entry.with_.model_dump(exclude_unset=True)
        written = self.scenario.raw.get("timeline", [])
        if index < len(written) and isinstance(written[index].get("with"), dict):
            given = written[index]["with"]
        return tuple(
            (name, value if isinstance(value, str) else json.dumps(value))
            for name, value in given.items()
        )

    def _skip(self, entry: TimelineEntry) -> Iterator[tuple[EngineName, str]]:
        runs_on = self.scenario.engines_of(entry)
        for engine in self.scenario.engines:
            if engine not in runs_on:
                yield engine, entry.reason or f"{entry.fault} does not run on {engine}"

    def _flows(self, end_ns: int) -> list[FlowPlan]:
        if not self.scenario.traffic:
            return self._default_flow()
        flows: list[FlowPlan] = []
        for index, traffic in enumerate(self.scenario.traffic):
            path = ("traffic", index)
            ends: list[tuple[str, ...]] = []
            for word, selector in (("from", traffic.from_), ("to", traffic.to)):
                try:
                    ends.append(
                        resolve_nodes(
                            selector,
                            self.topology,
                            stream(self.seed, f"traffic {traffic.id}", word),
                            bindings=self.bindings,
                            notes=self.notes,
                        )
                    )
                except SelectorError as error:
                    self._mistake((*path, word), str(error))
            if len(ends) < 2:
                continue
            if len(ends[0]) * len(ends[1]) > MAX_FLOWS:
                pairs = f"{len(ends[0])} x {len(ends[1])}"
                self._mistake(path, f"{pairs} flows, at most {MAX_FLOWS}; use pick")
                continue
            made = [
                traffic.flow(f"{traffic.id}:{source}>{destination}", source, destination)
                for source in ends[0]
                for destination in ends[1]
                if source != destination
            ]
            if not made:
                self._mistake(path, f"'{traffic.id}' would only send from a node to itself")
            elif traffic.start >= end_ns:
                self._mistake((*path, "start"), f"'{traffic.id}' starts after the end of the run")
            elif (probes := _probes(made[0], end_ns)) > MAX_PROBES:
                self._mistake(path, f"{probes} packets a flow, at most {MAX_PROBES}")
            else:
                flows += made
        if len(flows) > MAX_FLOWS:
            self._mistake(("traffic",), f"{len(flows)} flows, at most {MAX_FLOWS}; use pick")
        if (probes := sum(_probes(flow, end_ns) for flow in flows)) > MAX_PROBES_TOTAL:
            self._mistake(("traffic",), f"{probes} packets in all, at most {MAX_PROBES_TOTAL}")
        return flows

    def _default_flow(self) -> list[FlowPlan]:
        """One probe between the two farthest nodes, so that healing shows in any scenario."""
        ends = farthest_by_delay(self.topology)
        if ends is None:
            self.notes.append("no probe flow: the mesh has no link")
            return []
        source, destination = ends
        self.notes.append(f"no traffic given: one probe flow from {source} to {destination}")
        return [
            FlowPlan(
                name=f"probe:{source}>{destination}",
                traffic="probe",
                source=source,
                destination=destination,
                kind="cbr",
                interval_ns=PROBE_INTERVAL_NS,
                size_bytes=PROBE_BYTES,
            )
        ]


def _probes(flow: FlowPlan, end_ns: int) -> int:
    return (end_ns - flow.start_ns) // flow.interval_ns if flow.interval_ns else 0


def _links_of(steps: tuple[Step, ...]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(step.action.link for step in steps if isinstance(step.action, LinkAction))
    )


def _references(value: Any) -> Iterator[str]:
    """Every `@name` in a selector."""
    if isinstance(value, str):
        if value.startswith("@"):
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)
