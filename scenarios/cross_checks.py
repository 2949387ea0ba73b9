"""Mistakes that only show when sections are read together.

Each check yields (path, message); the loader gives it its place. Everything here is known from
the scenario alone; what depends on the assembled topology is the planner's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from x0mesh.scenarios.checks import Agree, Check, Scope
from x0mesh.scenarios.fields import ENGINES, edge
from x0mesh.scenarios.metrics import METRICS
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.registry import did_you_mean
from x0mesh.scenarios.timeline import TimelineEntry
from x0mesh.scenarios.topology_section import LinkSpec, TopologySection
from x0mesh.scenarios.windows import windows
from x0mesh.scenarios.yaml_reader import Path

Found = Iterator[tuple[Path, str]]

DEFAULT_TRAFFIC = "probe"
"""Id of the flow a scenario without `traffic` gets."""


@dataclass(frozen=True, slots=True)
class Names:
    """Ids and bindings the file has, those of entries that could not be read included."""

    faults: tuple[str, ...]
    traffic: tuple[str, ...]
    bindings: tuple[str, ...]

    @classmethod
    def of(cls, raw: Any) -> Names:
        faults = _texts(raw, "timeline", "id")
        traffic = _texts(raw, "traffic", "id") or (DEFAULT_TRAFFIC,)
        return cls(faults, traffic, _texts(raw, "timeline", "as"))


def _texts(raw: Any, section: str, word: str) -> tuple[str, ...]:
    items = raw.get(section) if isinstance(raw, dict) else None
    items = items if isinstance(items, list) else []
    found = (item.get(word) for item in items if isinstance(item, dict))
    return tuple(text for text in found if isinstance(text, str))


def duplicate_ids(raw: Any) -> Found:
    """On the file's own values, so that it works beside other mistakes."""
    for sections, word, what in (
        (("timeline",), "id", "fault id"),
        (("timeline",), "as", "binding"),
        (("traffic",), "id", "traffic id"),
        (("steady_state", "checks"), "id", "check id"),
    ):
        seen: set[str] = set()
        for section in sections:
            items = raw.get(section) if isinstance(raw, dict) else None
            for i, item in enumerate(items if isinstance(items, list) else []):
                name = item.get(word) if isinstance(item, dict) else None
                if not isinstance(name, str):
                    continue
                if name in seen:
                    yield (section, i, word), f"duplicate {what} '{name}'"
                seen.add(name)


def cross_checks(scenario: Scenario, names: Names, samples_fixed: bool) -> Found:
    """All mistakes between sections.

    `samples_fixed` False: seeds were lowered for this run only, so a check that then has too few
    replications is no mistake of the file (it will be inconclusive).
    """
    for part in (_timeline, _bindings, _checks, _engines, _topology, _traffic):
        yield from part(scenario, names)
    if samples_fixed:
        yield from _samples(scenario)


def _timeline(scenario: Scenario, names: Names) -> Found:
    for path, message in windows(scenario.timeline, scenario.run.chaos).mistakes:
        index, word = path[1], path[2:]
        entry = scenario.timeline[index] if isinstance(index, int) else None
        waited = entry and (entry.after.event if entry.after else entry.when and entry.when.after)
        if word in (("after", "event"), ("when", "after")) and waited:
            fault = edge(waited)[0]
            known = {e.id for e in scenario.timeline}
            if fault in names.faults and fault not in known:
                # That entry has a mistake of its own, which is reported there.
                continue
            if fault not in names.faults:
                message = f"names no fault: '{fault}'{did_you_mean(fault, list(names.faults))}"
        yield path, message


def _strings(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text in a model or plain value, with its path in the file."""
    if isinstance(value, BaseModel):
        for name, spec in type(value).model_fields.items():
            yield from _strings(getattr(value, name), (*path, spec.alias or name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _strings(item, (*path, i))
    elif isinstance(value, str):
        yield path, value


def _bindings(scenario: Scenario, names: Names) -> Found:
    places: list[tuple[Path, Any]] = []
    for i, entry in enumerate(scenario.timeline):
        places.append((("timeline", i, "target"), entry.target))
    for i, traffic in enumerate(scenario.traffic):
        places.append((("traffic", i, "from"), traffic.from_))
        places.append((("traffic", i, "to"), traffic.to))
    for i, check in enumerate(scenario.checks):
        if where := getattr(check, "where", None):
            places.append((("checks", i, "where"), where))
    for start, value in places:
        for path, text in _strings(value, start):
            if text.startswith("@") and text[1:] not in names.bindings:
                hint = did_you_mean(text[1:], list(names.bindings))
                yield path, f"nothing is named '{text}' by as:{hint}"
    yield from _binding_cycles(scenario.timeline)


def _binding_cycles(timeline: Sequence[TimelineEntry]) -> Found:
    """Targets are chosen in the order in which they need each other."""
    needs = {
        entry.as_: [
            (path, text[1:])
            for path, text in _strings(entry.target, ("timeline", i, "target"))
            if text.startswith("@")
        ]
        for i, entry in enumerate(timeline)
        if entry.as_ is not None
    }
    settled: set[str] = set()
    while ready := [
        name
        for name, wanted in needs.items()
        if name not in settled and all(w in settled or w not in needs for _, w in wanted)
    ]:
        settled.update(ready)
    for name, wanted in needs.items():
        if name not in settled:
            path, other = next((p, w) for p, w in wanted if w in needs and w not in settled)
            yield path, f"'@{name}' cannot be chosen: it needs '@{other}', which needs it in turn"


def _checks(scenario: Scenario, names: Names) -> Found:
    spans = {entry.id: entry for entry in scenario.timeline}
    for i, check in enumerate(scenario.checks):
        path: Path = ("checks", i)
        scope = getattr(check, "scope", None)
        metric = getattr(check, "metric", None)
        if isinstance(scope, Scope) and metric is not None:
            yield from _scope(scope, metric, names, (*path, "scope"))
            if not scenario.timeline and not names.faults and "fault" in METRICS[metric].per:
                text = f"{metric} is counted per {METRICS[metric].per}, and there is no fault"
                yield (*path, "metric"), text
        since = getattr(check, "from_", None)
        if since is not None:
            fault, which = edge(since.event)
            where = (*path, "from", "event")
            if fault not in names.faults:
                hint = did_you_mean(fault, list(names.faults))
                yield where, f"names no fault: '{fault}'{hint}"
            elif which == "ended" and fault in spans and spans[fault].with_.lasting:
                yield where, f"'{fault}' cannot be undone, so it never ends"
        fault_is = getattr(check, "where", {}).get("fault")
        if isinstance(fault_is, str) and not fault_is.startswith("@"):
            yield from _known(fault_is, "fault", names.faults, (*path, "where", "fault"))


def _scope(scope: Scope, metric: str, names: Names, path: Path) -> Found:
    per = METRICS[metric].per
    for word, known, what in (
        ("faults", names.faults, "fault"),
        ("excluding", names.faults, "fault"),
        ("traffic", names.traffic, "traffic"),
    ):
        given = getattr(scope, word)
        for i, name in enumerate(given):
            yield from _known(name, what, known, (*path, word, i))
        if given and ("flow" not in per if what == "traffic" else per == "replication"):
            yield (*path, word), f"{metric} is counted per {per}, so scope cannot name {what}"


def _known(name: str, what: str, known: Sequence[str], path: Path) -> Found:
    if name not in known:
        yield path, f"names no {what}: '{name}'{did_you_mean(name, list(known))}"


def _engines(scenario: Scenario, names: Names) -> Found:
    said = ", ".join(scenario.engines)
    for engine in scenario.engines:
        if scenario.run.seeds.count(engine) == 0:
            text = f"engines has {engine}, which needs at least one replication"
            yield ("run", "seeds", engine), text
    sections: tuple[tuple[str, Sequence[TimelineEntry | Check]], ...] = (
        ("timeline", scenario.timeline),
        ("checks", scenario.checks),
    )
    for section, items in sections:
        for i, item in enumerate(items):
            path: Path = (section, i)
            for engine in item.engines or ():
                if engine not in scenario.engines:
                    text = f"'{item.id}' names {engine}, but the scenario runs on {said} only"
                    yield (*path, "engines"), text
            if not scenario.engines_of(item) and not item.engines:
                kind = item.fault if isinstance(item, TimelineEntry) else item.kind
                yield path, f"{kind} does not run on {said}, so '{item.id}' would never happen"
            if isinstance(item, Agree) and set(scenario.engines_of(item)) != set(ENGINES):
                yield (*path, "kind"), f"'{item.id}' compares engines, so it needs both"


def _samples(scenario: Scenario) -> Found:
    for i, check in enumerate(scenario.checks):
        for engine in scenario.engines_of(check):
            have = scenario.run.seeds.count(engine)
            needed, claim = check.needed(engine)
            if have < needed:
                plural = "" if have == 1 else "s"
                yield (
                    ("checks", i, *_claim_path(check, engine)),
                    f"{have} {engine} replication{plural} cannot carry {claim}: it needs {needed} "
                    f"(run.seeds.{engine})",
                )


def _claim_path(check: Check, engine: str) -> Path:
    """Where the claim stands, as near as the file has it."""
    return ("margin",) if isinstance(check, Agree) else ("across", engine)


def _topology(scenario: Scenario, names: Names) -> Found:
    section = scenario.topology
    known = _node_names(section)
    if known is not None:
        for name in section.nodes:
            if not section.inline and name not in known:
                hint = did_you_mean(name, known)
                yield ("topology", "nodes", name), f"there is no node '{name}' to change{hint}"
        # A clash with a name of the source is a mistake, too.
        for name in section.add.nodes:
            if name in known:
                yield ("topology", "add", "nodes", name), f"there is a node '{name}' already"
        everything = [*known, *(name for name in section.add.nodes if name not in known)]
        yield from _ends(section.links, everything, ("topology", "links"))
        yield from _ends(section.add.links, everything, ("topology", "add", "links"))
        for i, name in enumerate(scenario.safety.never):
            yield from _node(name, everything, ("safety", "never", i))
        if scenario.identity.ca.node is not None:
            yield from _node(scenario.identity.ca.node, everything, ("identity", "ca", "node"))
    linked = {end for link in section.add.links for end in link.endpoints}
    for name in section.add.nodes:
        if name not in linked:
            yield ("topology", "add", "nodes", name), f"new node '{name}' has no link"
    yield from _profiles(section)


def _node_names(section: TopologySection) -> list[str] | None:
    """Names the source gives, where they are known before it is read."""
    if section.inline:
        return list(section.nodes)
    count = getattr(section.generator, "nodes", None)
    return [f"n{i}" for i in range(count)] if isinstance(count, int) else None


def _node(name: str, known: Sequence[str], path: Path) -> Found:
    if name not in known:
        yield path, f"there is no node '{name}'{did_you_mean(name, list(known))}"


def _ends(links: Sequence[LinkSpec], known: Sequence[str], path: Path) -> Found:
    names = set(known)
    for i, link in enumerate(links):
        for j, end in enumerate(link.endpoints):
            if end not in names:
                yield from _node(end, known, (*path, i, "endpoints", j))


def _profiles(section: TopologySection) -> Found:
    named: list[tuple[Path, Any]] = []
    for i, rule in enumerate(section.link_profiles):
        named.append((("topology", "link_profiles", i, "profile"), rule.profile))
    for i, link in enumerate(section.links):
        named.append((("topology", "links", i, "profile"), link.profile))
    for i, link in enumerate(section.add.links):
        named.append((("topology", "add", "links", i, "profile"), link.profile))
    for path, profile in named:
        if isinstance(profile, str) and profile not in section.profiles:
            hint = did_you_mean(profile, list(section.profiles))
            yield path, f"unknown profile '{profile}'{hint}"


def _traffic(scenario: Scenario, names: Names) -> Found:
    run = scenario.run
    chaos = windows(scenario.timeline, run.chaos).chaos_ns
    for i, traffic in enumerate(scenario.traffic):
        if traffic.start >= run.warmup + chaos + run.settle:
            yield ("traffic", i, "start"), f"'{traffic.id}' starts after the end of the run"
