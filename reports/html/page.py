"""What stands on the page, as plain values for the template: chosen, rounded and put in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from x0mesh.reports.evidence import Evidence
from x0mesh.reports.html import delivery, heal, topology, trail
from x0mesh.reports.observation import Observation
from x0mesh.reports.result import Environment
from x0mesh.reports.verdict import CheckVerdict, FaultVerdict, Judgement
from x0mesh.reports.words import count, figure, listed
from x0mesh.scenarios import live
from x0mesh.scenarios.checks import Check, Scope, SteadyState, Within
from x0mesh.scenarios.metrics import METRICS
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.record import Record

MOST_TRAILS = 12
MOST_FINGERPRINTS = 1000


@dataclass(frozen=True, slots=True)
class _Told:
    """A trail and whether its box stands open."""

    trail: trail.Trail
    open: bool

    def __getattr__(self, name: str) -> Any:
        return getattr(self.trail, name)


def page(
    scenario: Scenario,
    plans: Sequence[Plan],
    records: Sequence[Record],
    judgement: Judgement,
    environment: Environment,
) -> dict[str, Any]:
    """Values of the template's `page`."""
    by_seed = {plan.seed: plan for plan in plans}
    seen = [Observation(by_seed[record.seed], record) for record in records]
    shown = _shown(seen, judgement)
    return {
        "name": scenario.name,
        "title": scenario.title or scenario.name,
        "verdict": judgement.verdict,
        "summary": _summary(seen, judgement),
        "reasons": judgement.reasons,
        "replay": judgement.replay if records else "",
        "checks": [_check(check, scenario) for check in judgement.checks],
        "replications": _replications(judgement),
        "faults": [_fault(fault) for fault in judgement.faults],
        "metrics": _metrics(judgement),
        "notes": judgement.notes,
        "environment": _environment(scenario, records, environment),
        "scenario": yaml.safe_dump(scenario.raw, sort_keys=False, allow_unicode=True, width=100),
        "fingerprints": judgement.runs[:MOST_FINGERPRINTS],
        **_topology(shown),
        **_heal(scenario, seen),
        **_course(seen, shown),
        **_trails(shown),
    }


def _shown(seen: Sequence[Observation], judgement: Judgement) -> Observation | None:
    """The replication of the first failed check's worst seed, else the first completed one."""
    completed = [one for one in seen if one.record.status == "complete"] or list(seen)
    for check in judgement.checks:
        if check.verdict == "fail":
            for one in completed:
                if (one.record.engine, one.record.seed) == (
                    check.engine,
                    check.finding.worst_seed,
                ):
                    return one
    return completed[0] if completed else None


def _summary(seen: Sequence[Observation], judgement: Judgement) -> str:
    engines = list(dict.fromkeys(one.record.engine for one in seen))
    parts = []
    for engine in engines:
        own = [one for one in seen if one.record.engine == engine]
        parts.append(f"{count(len(own), 'replication')} on {engine}")
    if seen:
        plan = seen[0].plan
        parts.append(f"{count(len(plan.nodes), 'node')}, {count(len(plan.links), 'link')}")
    states = [i.evidence for fault in judgement.faults for i in fault.instances]
    if states:
        confirmed = sum(state == "confirmed" for state in states)
        armed = sum(state not in ("not-armed", "skipped") for state in states)
        parts.append(f"{confirmed} of {armed} faults with evidence")
    return " · ".join(parts) or "nothing ran"


def _check(check: CheckVerdict, scenario: Scenario) -> dict[str, Any]:
    found = check.finding
    stated = _stated(check, scenario)
    unit = _unit(stated)
    rate = check.kind in ("never", "always", "sometimes", "steady_state")
    shown = "ratio" if rate else unit
    interval = ""
    if found.interval is not None:
        low, high = (figure(end, shown) for end in found.interval)
        interval = f"≥ {low}" if high == "∞" else f"≤ {high}" if low == "-∞" else f"{low} … {high}"
        if low == "-∞" and high == "∞":
            interval = "none"
    return {
        "id": check.id,
        "kind": check.kind.replace("_", " "),
        "engine": check.engine,
        "verdict": found.verdict,
        "statistic": _measured(check, shown),
        "limit": _asked(stated, unit),
        "n": found.n or "",
        "interval": interval,
        "reason": found.reason,
        "replay": check.replay if found.verdict not in ("pass", "skipped") else "",
    }


def _stated(check: CheckVerdict, scenario: Scenario) -> Check | SteadyState | None:
    items: list[Check | SteadyState] = (
        list(scenario.steady_state) if check.kind == "steady_state" else list(scenario.checks)
    )
    return next((item for item in items if item.id == check.id), None)


def _unit(stated: Check | SteadyState | None) -> str:
    metric = str(getattr(stated, "metric", None))
    return METRICS[metric].unit if metric in METRICS else live.UNITS.get(metric, "count")


def _measured(check: CheckVerdict, unit: str) -> str:
    value = check.finding.statistic
    if value is None:
        return ""
    if check.kind in ("never", "always"):
        return f"{round(value * check.finding.n)} exceptions"
    if check.kind == "steady_state":
        return f"held in {figure(value, 'ratio')}"
    if check.kind == "sometimes":
        return f"in {figure(value, 'ratio')}"
    return f"≥ {figure(value, unit)}" if check.finding.at_least else figure(value, unit)


def _asked(stated: Check | SteadyState | None, unit: str) -> str:
    match stated:
        case Within():
            return f"≤ {figure(stated.limit, unit)}"
        case None:
            return ""
    signs = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}
    op = getattr(stated, "op", None)
    if op:
        return f"{signs.get(op, op)} {figure(getattr(stated, 'value', None), unit)}"
    margin = getattr(stated, "margin", None)
    if margin is not None:
        return f"± {figure(margin, unit)}"
    return str(getattr(stated, "event", None) or "")


def _replications(judgement: Judgement) -> list[dict[str, Any]]:
    strips = []
    for engine in dict.fromkeys(run.engine for run in judgement.runs):
        runs = [run for run in judgement.runs if run.engine == engine]
        words = [
            f"{sum(run.verdict == verdict for run in runs)} {verdict}"
            for verdict in dict.fromkeys(run.verdict for run in runs)
        ]
        seeds = f"seeds {runs[0].seed} to {runs[-1].seed}" if len(runs) > 1 else "one seed"
        strips.append({"engine": engine, "label": f"{seeds}: {', '.join(words)}", "runs": runs})
    return strips


def _fault(fault: FaultVerdict) -> dict[str, Any]:
    first = next((i for i in fault.instances if i.started is not None), None)
    same = sum(i.evidence == fault.evidence for i in fault.instances)
    told = next((i for i in fault.instances if i.evidence == fault.evidence), None)
    observed = ""
    if told is not None:
        observed = told.why or listed([f"{e.target}: {e.observed}" for e in told.observed], 2)
    targets = list(dict.fromkeys(t for i in fault.instances for t in i.targets))
    return {
        "id": fault.id,
        "kind": fault.kind,
        "engine": fault.engine,
        "evidence": fault.evidence,
        "share": f"in {same} of {len(fault.instances)}",
        "started": figure(first.started, "s") if first else "–",
        "lasted": _lasted(first.started, first.ended) if first else "–",
        "targets": listed(targets, 4),
        "observed": observed,
        "undo": fault.undo,
    }


def _lasted(started: float | None, ended: float | None) -> str:
    if started is None or ended is None:
        return "to the end"
    return figure(ended - started, "s")


def _metrics(judgement: Judgement) -> list[dict[str, Any]]:
    rows = []
    for name, by_engine in judgement.metrics.items():
        spec = METRICS[name]
        for engine, found in by_engine.items():
            row: dict[str, Any] = {"name": name, "about": spec.description, "engine": engine}
            row |= {"n": found.n, "censored": found.censored}
            for column in ("median", "p95", "mean", "min", "max"):
                value = getattr(found, column)
                row[column] = "never" if value is None else figure(value, spec.unit)
            rows.append(row)
    return rows


def _environment(
    scenario: Scenario, records: Sequence[Record], environment: Environment
) -> list[tuple[str, str]]:
    backends: dict[str, str] = {}
    for record in records:
        backends.update({f"{record.engine} {k}": v for k, v in record.backend.items()})
    pairs = [
        ("scenario", scenario.source or scenario.name),
        ("sha256 as run", scenario.sha256),
        ("command", environment.command),
        ("versions", _pairs(environment.versions)),
        ("host", _pairs(environment.host)),
        ("capabilities", _pairs(environment.capabilities)),
        ("backends", _pairs(backends)),
    ]
    return [(key, value) for key, value in pairs if value]


def _pairs(values: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _topology(shown: Observation | None) -> dict[str, Any]:
    hit = None if shown is None else topology.hardest_hit(shown)
    if shown is None or hit is None:
        return {"pictures": []}
    life, flow = hit
    about = f"Seed {shown.record.seed} on {shown.record.engine}, around {life.name}"
    if flow is not None:
        about += (
            f", with the flow {flow.source} → {flow.destination}. Its path here is the cheapest "
            "in the graph at that instant, found when this page was made"
        )
    return {
        "pictures": topology.pictures(shown, life, flow),
        "picture_note": about + ".",
    }


def _heal(scenario: Scenario, seen: Sequence[Observation]) -> dict[str, Any]:
    draws = []
    for engine in dict.fromkeys(one.record.engine for one in seen):
        usable = [
            one for one in seen if one.record.engine == engine and one.record.status == "complete"
        ]
        draws.append((engine, Evidence(engine, usable).draws("heal.time", Scope())))
    found = heal.groups(draws)
    if not found:
        return {"heal": []}
    limits = sorted(
        {c.limit for c in scenario.checks if isinstance(c, Within) and c.metric == "heal.time"}
    )
    n = sum(len(group.values) + group.censored for group in found)
    note = (
        f"{count(n, 'sample')}, one for each fault and flow that lost a probe to it: from the "
        "fault, or from the moment a path existed again, to the first of 20 probes delivered in "
        "a row. Bar: quartiles; line: median."
    )
    left_out = len(found) - heal.MOST_ROWS
    if left_out > 0:
        note += f" {count(left_out, 'fault')} more did not fit."
    return {"heal": [heal.strip(found, limits), heal.ecdf(found, limits)], "heal_note": note}


def _course(seen: Sequence[Observation], shown: Observation | None) -> dict[str, Any]:
    if shown is None or not any(one.record.flows for one in seen):
        return {"course": []}
    own = [one for one in seen if one.record.engine == shown.record.engine]
    found = delivery.course(own)
    note = (
        f"Share of the probes sent at a moment that arrived, all flows together, mean of "
        f"{count(len(own), 'replication')} on {shown.record.engine}"
    )
    if len(own) > 1:
        note += "; the band runs from the worst to the best"
    note += f". Shaded: the faults of seed {shown.record.seed}."
    return {
        "course": [delivery.draw(found, shown, wide) for wide in (True, False)],
        "course_note": note,
    }


def _trails(shown: Observation | None) -> dict[str, Any]:
    if shown is None or not shown.lives:
        return {"trails": []}
    hit = topology.hardest_hit(shown)
    told = [
        _Told(trail.trail(shown, life), hit is not None and life.name == hit[0].name)
        for life in shown.lives[:MOST_TRAILS]
    ]
    note = (
        f"What seed {shown.record.seed} on {shown.record.engine} recorded after each fault, until "
        "a second after its end or the next fault. Events alike that follow each other closely "
        "share a row; a flow is lost and back when the probes in question were sent."
    )
    return {"trails": told, "trail_note": note}
