"""From records to verdicts: each replication's, each check's, and the one that ends the command.

Only a counter-example outranks doubt: a fault without evidence, a mesh that was not steady before
the faults or a check without data leave the run inconclusive, never passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from x0mesh.reports.checks import Finding, Verdict, judge_check, judge_steady
from x0mesh.reports.evidence import COMPARE, Evidence
from x0mesh.reports.observation import Observation
from x0mesh.reports.reachability import value_at
from x0mesh.reports.statistics import Relation
from x0mesh.reports.summary import MetricSummary, summarize
from x0mesh.reports.words import count, listed
from x0mesh.scenarios.fields import ENGINES
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.plan import EngineName, Plan
from x0mesh.scenarios.record import Evidence as FaultEvidence
from x0mesh.scenarios.record import EvidenceStatus, Record

EXIT_CODES: Final[dict[Verdict, int]] = {
    "pass": 0,
    "skipped": 0,
    "fail": 1,
    "inconclusive": 3,
    "aborted": 7,
    "error": 70,
}
UNDO_FAILED: Final = 6
SIGNAL_BASE: Final = 128
INTERRUPTED: Final = (130, 143)
_WORST_FIRST: Final = (6, 70, *INTERRUPTED, 7, 1, 3, 4, 0)


def exit_code(verdicts: Iterable[Verdict | int]) -> int:
    """The worst of verdicts and exit codes, in the order 6, 70, signals, 7, 1, 3, 4, 0; codes
    outside it (usage errors) are an error of the caller."""
    codes = {EXIT_CODES[v] if isinstance(v, str) else v for v in verdicts}
    unknown = codes - set(_WORST_FIRST)
    if unknown:
        raise ValueError(f"no place in the order of severity for exit codes {sorted(unknown)}")
    return next((code for code in _WORST_FIRST if code in codes), 0)


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """One replication's outcome."""

    engine: EngineName
    seed: int
    fingerprint: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """One check on one engine; `kind` is 'steady_state' for the conditions of that section."""

    id: str
    kind: str
    engine: EngineName
    finding: Finding
    replay: str = ""

    @property
    def verdict(self) -> Verdict:
        return self.finding.verdict

    @property
    def relation(self) -> Relation | None:
        return self.finding.relation


@dataclass(frozen=True, slots=True)
class FaultInstance:
    """A fault in one replication, times in seconds."""

    seed: int
    started: float | None
    ended: float | None
    targets: tuple[str, ...]
    evidence: EvidenceStatus
    observed: tuple[FaultEvidence, ...]
    undo: str
    why: str


@dataclass(frozen=True, slots=True)
class FaultVerdict:
    """A fault on one engine over all replications: `evidence` is the worst, save for
    replications that left it out (`not-armed` only if all did)."""

    id: str
    kind: str
    engine: EngineName
    planned: float | None
    evidence: EvidenceStatus
    instances: tuple[FaultInstance, ...]

    @property
    def undo(self) -> str:
        found = {i.undo for i in self.instances}
        order = ("failed", "none", "permanent", "verified")
        return next((word for word in order if word in found), "none")


@dataclass(slots=True)
class Judgement:
    """Everything the reports say about a run; `reasons` are why it is not simply passed."""

    verdict: Verdict
    reasons: list[str]
    runs: list[RunVerdict]
    checks: list[CheckVerdict]
    faults: list[FaultVerdict]
    metrics: dict[str, dict[EngineName, MetricSummary]]
    notes: list[str] = field(default_factory=list)
    replay: str = ""
    signal_number: int = 0
    """The signal that stopped the run; 0 if none did."""

    @property
    def exit_code(self) -> int:
        codes: list[Verdict | int] = [self.verdict]
        if any(fault.undo == "failed" for fault in self.faults):
            codes.append(UNDO_FAILED)
        if self.signal_number:
            codes.append(SIGNAL_BASE + self.signal_number)
        return exit_code(codes)


def judge(
    scenario: Scenario,
    plans: Sequence[Plan],
    records: Sequence[Record],
    replay_prefix: str = "",
) -> Judgement:
    """Judge records against a scenario; each record belongs to the plan of its seed.

    `replay_prefix` is the command without engine and seed; default `x0mesh run SOURCE`. A record
    without a plan is a ValueError.
    """
    by_seed = {plan.seed: plan for plan in plans}
    missing = [record.seed for record in records if record.seed not in by_seed]
    if missing:
        raise ValueError(f"no plan for the records of seeds {missing}")
    seen = [Observation(by_seed[record.seed], record) for record in records]
    prefix = replay_prefix or f"x0mesh run {scenario.source or scenario.name}"
    engines = [engine for engine in ENGINES if any(r.engine == engine for r in records)]
    faults = [fault for engine in engines for fault in _faults(engine, seen)]
    usable = [one for one in seen if _usable(one, scenario)]
    evidence = [
        Evidence(engine, [one for one in usable if one.record.engine == engine])
        for engine in engines
    ]
    checks: list[CheckVerdict] = []
    for one_engine in evidence:
        checks += _checks(scenario, one_engine, seen, prefix)
    if len(engines) > 1:
        checks = [_undecided(check) if check.kind == "agree" else check for check in checks]
    checks += _not_run(scenario, engines)
    runs = [_run(one, scenario, checks) for one in seen]
    judgement = Judgement(
        "pass",
        [],
        runs,
        checks,
        faults,
        summarize(engines, evidence),
        _notes(scenario, plans, seen),
        _replay(prefix, checks, records),
    )
    _overall(judgement)
    return judgement


def _replay(prefix: str, checks: Sequence[CheckVerdict], records: Sequence[Record]) -> str:
    """Of the first failed check if one has a seed, else of the first replication."""
    failed = [check.replay for check in checks if check.verdict == "fail" and check.replay]
    if failed or not records:
        return failed[0] if failed else prefix
    return f"{prefix} --engine {records[0].engine} --seed {records[0].seed}"


def _completed(seen: Observation) -> bool:
    return seen.record.status == "complete"


def _unsteady(seen: Observation, scenario: Scenario) -> str:
    """The condition that did not hold at the end of warmup, or ''."""
    for condition in scenario.steady_state:
        value = value_at(seen.record, condition.metric, seen.record.warmup_end_ns)
        if value is None:
            return f"{condition.id}: {condition.metric} was not recorded"
        if not COMPARE[condition.op](value, condition.value):
            return f"{condition.id}: the mesh was not steady before the faults"
    return ""


def _usable(seen: Observation, scenario: Scenario) -> bool:
    return _completed(seen) and not _unsteady(seen, scenario)


def _checks(
    scenario: Scenario, evidence: Evidence, seen: Sequence[Observation], prefix: str
) -> list[CheckVerdict]:
    engine = evidence.engine
    own = [one for one in seen if one.record.engine == engine and _completed(one)]
    found = [
        CheckVerdict(condition.id, "steady_state", engine, judge_steady(condition, own))
        for condition in scenario.steady_state
    ]
    for check in scenario.checks:
        if engine in scenario.engines_of(check):
            finding = judge_check(check, evidence)
            found.append(CheckVerdict(check.id, check.kind, engine, finding))
    return [_replayable(check, prefix) for check in found]


def _undecided(check: CheckVerdict) -> CheckVerdict:
    finding = Finding(
        "inconclusive",
        "agreement of engines is not judged by this version",
        limit=check.finding.limit,
        relation="undecided",
    )
    return CheckVerdict(check.id, check.kind, check.engine, finding)


def _replayable(check: CheckVerdict, prefix: str) -> CheckVerdict:
    seed = check.finding.worst_seed
    replay = "" if seed is None else f"{prefix} --engine {check.engine} --seed {seed}"
    return CheckVerdict(check.id, check.kind, check.engine, check.finding, replay)


def _not_run(scenario: Scenario, ran: Sequence[EngineName]) -> list[CheckVerdict]:
    """Checks meant for engines that did not run: skipped, and said."""
    found = []
    for check in scenario.checks:
        wanted = scenario.engines_of(check)
        if ran and not any(engine in ran for engine in wanted):
            for engine in wanted:
                finding = Finding("skipped", f"{engine} did not run")
                found.append(CheckVerdict(check.id, check.kind, engine, finding))
    return found


def _run(seen: Observation, scenario: Scenario, checks: Sequence[CheckVerdict]) -> RunVerdict:
    record = seen.record
    verdict, reason = _run_outcome(seen, scenario, checks)
    return RunVerdict(record.engine, record.seed, record.fingerprint, verdict, reason)


def _run_outcome(
    seen: Observation, scenario: Scenario, checks: Sequence[CheckVerdict]
) -> tuple[Verdict, str]:
    record = seen.record
    failed_undo = [fault.name for fault in record.faults if fault.undo == "failed"]
    if failed_undo:
        return "error", f"undo failed: {listed(failed_undo)}"
    if record.status == "error":
        return "error", record.reason or "the engine failed"
    if record.status == "aborted":
        return "aborted", record.reason or "aborted"
    refuted = [
        f"{check.id}: {check.finding.counterexamples[record.seed]}"
        for check in checks
        if check.engine == record.engine and record.seed in check.finding.counterexamples
    ]
    if refuted:
        return "fail", "; ".join(refuted)
    if record.status == "overloaded":
        return "inconclusive", record.reason or "the host was overloaded"
    unsteady = _unsteady(seen, scenario)
    if unsteady:
        return "inconclusive", unsteady
    unproven = [
        f"fault {name} {status} ({why})" if why else f"fault {name} {status}"
        for name, status, why in _unproven(seen)
    ]
    if unproven:
        return "inconclusive", "; ".join(unproven)
    return "pass", ""


def _unproven(seen: Observation) -> list[tuple[str, EvidenceStatus, str]]:
    found: list[tuple[str, EvidenceStatus, str]] = []
    for fault in seen.plan.faults:
        status, why = seen.status(fault)
        if status in ("mismatch", "not-fired"):
            found.append((fault.name, status, why))
    return found


def _faults(engine: EngineName, seen: Sequence[Observation]) -> list[FaultVerdict]:
    instances: dict[str, list[FaultInstance]] = {}
    kinds: dict[str, str] = {}
    planned: dict[str, float | None] = {}
    for one in seen:
        if one.record.engine != engine:
            continue
        records = {fault.name: fault for fault in one.record.faults}
        for plan in one.plan.faults:
            record = records.get(plan.name)
            began = record is not None and record.started_ns is not None
            if not began and one.record.status in ("aborted", "error"):
                # It did not come to that; no evidence is missing.
                continue
            status, why = one.status(plan)
            kinds[plan.name] = plan.kind
            if record is not None and record.planned_ns is not None:
                planned.setdefault(plan.name, record.planned_ns / 1e9)
            instances.setdefault(plan.name, []).append(
                FaultInstance(
                    seed=one.record.seed,
                    started=_seconds(record.started_ns if record else None),
                    ended=_seconds(record.ended_ns if record else None),
                    targets=tuple(plan.nodes) + tuple(plan.links),
                    evidence=status,
                    observed=tuple(record.evidence) if record else (),
                    undo=record.undo if record else "none",
                    why=why,
                )
            )
    return [
        FaultVerdict(name, kinds[name], engine, planned.get(name), _aggregate(found), tuple(found))
        for name, found in instances.items()
    ]


def _seconds(t_ns: int | None) -> float | None:
    return None if t_ns is None else t_ns / 1e9


def _aggregate(instances: Sequence[FaultInstance]) -> EvidenceStatus:
    order: tuple[EvidenceStatus, ...] = (
        "mismatch",
        "not-fired",
        "confirmed",
        "skipped",
        "not-armed",
    )
    found = {instance.evidence for instance in instances}
    return next(status for status in order if status in found)


def _overall(judgement: Judgement) -> None:
    """Worst verdict of runs, checks and faults, with every reason that is not a pass."""
    verdicts: list[Verdict] = []
    reasons = judgement.reasons
    for check in judgement.checks:
        if check.verdict == "skipped":
            continue
        verdicts.append(check.verdict)
        if check.verdict != "pass":
            text = f"{check.id} ({check.engine}): {check.finding.reason}"
            if check.verdict == "fail" and check.finding.worst_seed is not None:
                text += f" (seed {check.finding.worst_seed})"
            reasons.append(text)
    for fault in judgement.faults:
        if fault.evidence == "not-armed":
            verdicts.append("inconclusive")
            reasons.append(
                f"fault {fault.id} ({fault.engine}) was armed in none of "
                f"{count(len(fault.instances), 'replication')}"
            )
    # Why a replication failed stands with its check.
    grouped: dict[tuple[EngineName, Verdict, str], list[str]] = {}
    for run in judgement.runs:
        verdicts.append(run.verdict)
        if run.verdict not in ("pass", "fail"):
            grouped.setdefault((run.engine, run.verdict, run.reason), []).append(str(run.seed))
    for (engine, verdict, reason), seeds in grouped.items():
        reasons.append(f"{reason} ({engine}, {verdict}, seed {listed(seeds)})")
    if not judgement.runs:
        verdicts.append("inconclusive")
        reasons.append("nothing ran")
    worst = exit_code(verdicts)
    judgement.verdict = next(
        verdict for verdict, code in EXIT_CODES.items() if code == worst and verdict != "skipped"
    )


def _notes(scenario: Scenario, plans: Sequence[Plan], seen: Sequence[Observation]) -> list[str]:
    """What the reader must know to read the figures, each once."""
    notes: dict[str, None] = {}
    for plan in plans:
        notes.update(dict.fromkeys(plan.notes))
    for one in seen:
        for plan_fault in one.plan.faults:
            status, why = one.status(plan_fault)
            if status == "skipped":
                notes[f"{one.record.engine} skips {plan_fault.name}: {why}"] = None
    starts = sorted({one.plan.start for one in seen})
    if starts:
        notes[f"start: {', '.join(starts)}"] = None
    if any(one.plan.routes == "in-use" for one in seen):
        notes["routes: only towards destinations in use"] = None
    if not scenario.checks:
        notes["the scenario states no checks"] = None
    if any(one.record.engine == "sim" for one in seen):
        without_effect = [".".join(path) for path in _NOT_SIMULATED if _is_written(scenario, path)]
        if "pcap-on-fail" in scenario.report.keep:
            without_effect.append("report.keep: pcap-on-fail")
        if without_effect:
            notes[f"without effect on the simulator: {', '.join(without_effect)}"] = None
    return list(notes)


_NOT_SIMULATED: Final = (
    ("dataplane", "xdp"),
    ("identity", "ca"),
    ("identity", "svid", "rotate_at"),
    ("identity", "svid", "rotate_jitter"),
    ("identity", "revocation"),
)


def _is_written(scenario: Scenario, path: tuple[str, ...]) -> bool:
    here: object = scenario.raw
    for word in path:
        if not isinstance(here, Mapping) or word not in here:
            return False
        here = here[word]
    return True
