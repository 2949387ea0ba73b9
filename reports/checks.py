"""Judges one check on one engine's replications.

Verdicts are honest: no data is inconclusive, a censored value is only known to be at least what
was seen, and a claim about runs not made needs the replications that can carry it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from x0mesh.reports import statistics
from x0mesh.reports.evidence import (
    COMPARE,
    RECORDED_ON_DEMAND,
    Draw,
    Evidence,
    NotJudgeableError,
    judged_from,
    matching,
)
from x0mesh.reports.healing import healing
from x0mesh.reports.observation import Observation, View
from x0mesh.reports.reachability import TimeSample, value_at
from x0mesh.reports.words import count, figure, listed
from x0mesh.scenarios import live
from x0mesh.scenarios.checks import (
    Agree,
    Always,
    Check,
    Never,
    Scope,
    Slo,
    Sometimes,
    State,
    SteadyState,
    Within,
)
from x0mesh.scenarios.claims import Claim, RateClaim, claim_of
from x0mesh.scenarios.metrics import METRICS, MetricSample
from x0mesh.scenarios.units import format_duration

Verdict = Literal["pass", "fail", "inconclusive", "error", "aborted", "skipped"]


@dataclass(slots=True)
class Finding:
    """What a check came to on one engine.

    `n` counts what `statistic` is over (samples, or replications for never, always, sometimes).
    `counterexamples` are seeds that alone refute the check, with what happened. `seconds` is
    the time of the worst one within its replication. `at_least`: censored samples make
    `statistic` a lower bound.
    """

    verdict: Verdict
    reason: str
    n: int = 0
    statistic: float | None = None
    interval: tuple[float, float] | None = None
    limit: float | None = None
    relation: statistics.Relation | None = None
    worst_seed: int | None = None
    seconds: float | None = None
    at_least: bool = False
    counterexamples: dict[int, str] = field(default_factory=dict)


def judge_check(check: Check, evidence: Evidence) -> Finding:
    """Dispatch on the check's class; a check of another package brings
    `judge(evidence) -> Finding` of its own."""
    if not evidence.seen:
        return Finding("inconclusive", "no usable replication")
    own: Callable[[Evidence], Finding] | None = getattr(check, "judge", None)
    if own is not None:
        return own(evidence)
    judge = JUDGES.get(check.kind)
    if judge is None:
        raise TypeError(f"check kind '{check.kind}' has no judge")
    try:
        return judge(check, evidence)
    except NotJudgeableError as problem:
        return Finding("inconclusive", str(problem))


def _within(check: Within, evidence: Evidence) -> Finding:
    claim = claim_of(check.across, evidence.engine)
    return _statistic(check.metric, check.scope, "<=", check.limit, claim, evidence)


def _slo(check: Slo, evidence: Evidence) -> Finding:
    claim = claim_of(check.across, evidence.engine)
    return _statistic(check.metric, check.scope, check.op, check.value, claim, evidence)


def _statistic(
    metric: str, scope: Scope, op: str, limit: float, claim: Claim, evidence: Evidence
) -> Finding:
    """`claim` of the metric `op` `limit`. The samples themselves may refute it; to uphold it for
    runs not made, the bound must satisfy it, too."""
    draws = evidence.draws(metric, scope)
    if not draws:
        return Finding("inconclusive", _no_samples(metric, scope, evidence), limit=limit)
    unit = METRICS[metric].unit
    test = COMPARE[op]
    least, most = _point(draws, claim, censored=False), _point(draws, claim, censored=True)
    n = sum(len(d.samples) for d in draws)
    censored = sum(s.censored for d in draws for s in d.samples)
    upper = op in ("<", "<=")
    worst, sample = _worst(draws, largest=op not in (">", ">="))
    name = f"{claim.stat} of {metric}"
    over = f"{count(n, 'sample')} in {count(len(draws), 'replication')}"
    relation = f"{op} {figure(limit, unit)}"
    shown = figure(least, unit) if least == most else f"at least {figure(least, unit)}"
    finding = Finding(
        "pass",
        f"{name} is {shown} over {over}, asked {relation}",
        n=n,
        statistic=least,
        interval=_interval(draws, claim, upper),
        limit=limit,
        worst_seed=worst.seed,
        seconds=None if sample.t_ns is None else sample.t_ns / 1e9,
        at_least=least != most,
    )
    if censored:
        finding.reason += f"; {count(censored, 'sample')} never came to an end (censored)"
    if not test(least, limit) and not test(most, limit):
        finding.verdict = "fail"
        if claim.confidence is None and claim.stat == ("max" if upper else "min"):
            finding.counterexamples = _each(draws, metric, op, limit)
        return finding
    if not (test(least, limit) and test(most, limit)):
        finding.verdict = "inconclusive"
        finding.reason += "; censored samples leave it open"
        return finding
    return _claimed(finding, claim, op, limit, unit, len(draws))


def _claimed(
    finding: Finding, claim: Claim, op: str, limit: float, unit: str, replications: int
) -> Finding:
    """The samples satisfy it; does what they say about other runs?"""
    if claim.confidence is None:
        return finding
    needs = claim.replications_needed(upper=op in ("<", "<="))
    if replications < needs:
        finding.verdict = "inconclusive"
        finding.reason += f"; {claim} needs {needs} replications with samples, got {replications}"
        return finding
    assert finding.interval is not None
    ends = finding.interval
    judged = [end for end in ends if math.isfinite(end)] or list(ends)
    if not all(COMPARE[op](end, limit) for end in judged):
        bound = ends[1] if op in ("<", "<=") else ends[0]
        finding.verdict = "inconclusive"
        finding.reason += f"; its bound at that confidence is {figure(bound, unit)}"
    return finding


def _point(draws: list[Draw], claim: Claim, censored: bool) -> float:
    """The statistic over all samples; `censored`: with +inf in place of lower bounds."""
    values = np.concatenate([d.most if censored else d.least for d in draws])
    weights = np.concatenate([d.weights for d in draws])
    match claim.stat:
        case "max":
            return float(values.max())
        case "min":
            return float(values.min())
        case "mean":
            return float(np.sum(values * weights) / np.sum(weights))
        case _:
            assert claim.quantile is not None
            return statistics.quantile(values, claim.quantile, weights)


def _interval(draws: list[Draw], claim: Claim, upper: bool) -> tuple[float, float] | None:
    """One-sided bound of the claimed statistic, the other end open; None without a confidence."""
    if claim.confidence is None:
        return None
    weights = [d.weights for d in draws]
    if claim.quantile is not None:
        if upper:
            groups = [d.most for d in draws]
            bound, _ = statistics.quantile_upper(groups, claim.quantile, claim.confidence, weights)
            return -math.inf, bound
        groups = [d.least for d in draws]
        bound, _ = statistics.quantile_lower(groups, claim.quantile, claim.confidence, weights)
        return bound, math.inf
    two_sided = max(0.0, 2 * claim.confidence - 1) or claim.confidence
    groups = [d.most if upper else d.least for d in draws]
    found = statistics.bootstrap_mean(groups, two_sided, weights)
    return (-math.inf, found.high) if upper else (found.low, math.inf)


def _worst(draws: list[Draw], largest: bool) -> tuple[Draw, MetricSample]:
    pairs = [(d, s) for d in draws for s in d.samples]
    sign = 1 if largest else -1
    return max(pairs, key=lambda pair: (pair[1].censored and largest, sign * pair[1].value))


def _each(draws: list[Draw], metric: str, op: str, limit: float) -> dict[int, str]:
    """Per replication the samples that alone refute the limit, the worst in words."""
    found = {}
    for draw in draws:
        bad = [s for s in draw.samples if not COMPARE[op](s.value, limit)]
        if bad:
            worst = max(bad, key=lambda s: abs(s.value - limit))
            found[draw.seed] = _sample_words(metric, worst)
    return found


def _sample_words(metric: str, sample: MetricSample) -> str:
    at_least = "at least " if sample.censored else ""
    text = f"{metric} {at_least}{figure(sample.value, METRICS[metric].unit)}"
    for word, name in (("fault", sample.fault), ("flow", sample.flow), ("node", sample.node)):
        if name:
            text += f", {word} {name}"
    if isinstance(sample, TimeSample):
        text += f" for {figure(sample.lasted_ns / 1e9, 's')}"
    return text if sample.t_ns is None else f"{text}, at {sample.t_ns / 1e9:.6g} s"


def _no_samples(metric: str, scope: Scope, evidence: Evidence) -> str:
    """Why there may be nothing to judge."""
    text = f"no samples of {metric} in {count(len(evidence.seen), 'replication')}"
    if metric == "heal.time":
        untouched = sum(
            healing(View.of(seen, scope.excluding), faults=scope.faults).untouched
            for seen in evidence.seen
        )
        if untouched:
            text += f": {count(untouched, 'pair')} of fault and flow lost no probe"
    return text


def _never(check: Never, evidence: Evidence) -> Finding:
    """One occurrence in one replication refutes it."""
    return _occurrences(check, check.across, evidence, wanted=False)


def _always(check: Always, evidence: Evidence) -> Finding:
    """One replication without the event, or one sample off the condition, refutes it."""
    return _occurrences(check, check.across, evidence, wanted=True)


def _occurrences(
    check: State, across: RateClaim | None, evidence: Evidence, wanted: bool
) -> Finding:
    found = _incidents(check, evidence, wanted)
    seeds = found.judged
    if not seeds:
        return Finding("inconclusive", found.why_nothing, limit=0.0)
    bad = found.counterexamples
    n = len(seeds)
    confidence = across.confidence if across else 0.95
    bound = statistics.rate_upper(len(bad), n, confidence)
    finding = Finding(
        "fail" if bad else "pass",
        f"{_condition(check, wanted)} held in all {count(n, 'replication')}",
        n=n,
        statistic=len(bad) / n,
        interval=(statistics.rate_lower(len(bad), n, confidence), bound),
        limit=across.at_most if across else 0.0,
        counterexamples=bad,
    )
    if bad:
        finding.worst_seed, what = next(iter(bad.items()))
        finding.seconds = found.seconds.get(finding.worst_seed)
        finding.reason = f"{len(bad)} of {count(n, 'replication')} had a counter-example: {what}"
    elif found.open:
        finding.verdict = "inconclusive"
        finding.reason = f"censored samples leave {count(len(found.open), 'replication')} open"
    elif across is not None and bound > across.at_most:
        needs = across.replications_needed()
        finding.verdict = "inconclusive"
        finding.reason += (
            f", which bounds the rate at {figure(bound, 'ratio')}; {across} needs {needs}"
        )
    return finding


@dataclass(slots=True)
class _Incidents:
    """Replications with data, and what refutes the statement in some of them."""

    judged: list[int] = field(default_factory=list)
    counterexamples: dict[int, str] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    open: list[int] = field(default_factory=list)
    why_nothing: str = ""


def _incidents(check: State, evidence: Evidence, wanted: bool) -> _Incidents:
    if check.event is not None:
        return _event_incidents(check, check.event, evidence, wanted)
    assert check.metric is not None
    assert check.op is not None
    assert check.value is not None
    found = _Incidents(why_nothing=_no_samples(check.metric, check.scope, evidence))
    test = COMPARE[check.op]
    for draw in evidence.draws(check.metric, check.scope, check.from_):
        found.judged.append(draw.seed)
        for sample, most in zip(draw.samples, draw.most, strict=True):
            outcomes = {test(sample.value, check.value), test(float(most), check.value)}
            if wanted not in outcomes:
                found.counterexamples[draw.seed] = _sample_words(check.metric, sample)
                if sample.t_ns is not None:
                    found.seconds[draw.seed] = sample.t_ns / 1e9
                break
            if len(outcomes) == 2 and draw.seed not in found.open:
                found.open.append(draw.seed)
    return found


def _event_incidents(check: State, kind: str, evidence: Evidence, wanted: bool) -> _Incidents:
    waits = f" after {check.from_.event}" if check.from_ else ""
    found = _Incidents(why_nothing=f"no replication in which {kind} could be judged{waits}")
    for seen in evidence.seen:
        from_ns = judged_from(seen, check.from_)
        if from_ns is None or (kind in RECORDED_ON_DEMAND and not seen.events(kind)):
            continue
        seed = seen.record.seed
        found.judged.append(seed)
        events = matching(seen, kind, dict(check.where), from_ns)
        if bool(events) is wanted:
            continue
        if events:
            first = events[0]
            at = ", ".join(
                f"{word} {value}"
                for word, value in (
                    ("node", first.node),
                    ("link", first.link),
                    ("peer", first.peer),
                    ("flow", first.flow),
                )
                if value
            )
            found.counterexamples[seed] = f"{kind} at {first.t_ns / 1e9:.6g} s ({at})"
            found.seconds[seed] = first.t_ns / 1e9
        else:
            found.counterexamples[seed] = f"{kind} did not happen"
    return found


def _condition(check: State, wanted: bool) -> str:
    if check.event is not None:
        what = check.event + (f" where {_where(dict(check.where))}" if check.where else "")
    else:
        assert check.metric is not None
        what = f"{check.metric} {check.op} {figure(check.value, METRICS[check.metric].unit)}"
    what = what if wanted else f"no {what}"
    if check.from_ is not None:
        what += f" from {check.from_.event} + {format_duration(check.from_.grace)} on"
    return what


def _where(where: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} not {value.not_}" if hasattr(value, "not_") else f"{name} {value}"
        for name, value in where.items()
    )


def _sometimes(check: Sometimes, evidence: Evidence) -> Finding:
    """The replications in which `never` would be refuted are the ones wanted here."""
    found = _incidents(check, evidence, wanted=False)
    n, k = len(found.judged), len(found.counterexamples)
    if not n:
        return Finding("inconclusive", found.why_nothing, limit=check.at_least)
    confidence = check.confidence or 0.95
    interval = statistics.wilson(k, n, confidence)
    asked = "asked at least one" if check.at_least is None else f"asked {check.at_least * 100:g} %"
    without = [seed for seed in found.judged if seed not in found.counterexamples]
    finding = Finding(
        "pass",
        f"{_condition(check, True)} in {k} of {count(n, 'replication')}, {asked}",
        n=n,
        statistic=k / n,
        interval=(interval.low, interval.high),
        limit=check.at_least,
        worst_seed=without[0] if without else None,
    )
    reached = k > 0 if check.at_least is None else k / n >= check.at_least
    if not reached:
        finding.verdict = "fail"
        if set(without) & set(found.open):
            finding.verdict = "inconclusive"
            finding.reason += "; censored samples leave it open"
        return finding
    if check.confidence is not None and check.at_least is not None:
        low = statistics.rate_lower(k, n, check.confidence)
        finding.interval = (low, 1.0)
        if low < check.at_least:
            finding.verdict = "inconclusive"
            finding.reason += f"; at that confidence it is at least {figure(low, 'ratio')}"
    return finding


def _agree(check: Agree, evidence: Evidence) -> Finding:
    """Needs both engines, so one engine's evidence never settles it."""
    return Finding("skipped", "only one engine ran", limit=check.margin)


def judge_steady(condition: SteadyState, seen: list[Observation]) -> Finding:
    """A steady-state condition at the end of warmup and of settle, in completed replications."""
    test = COMPARE[condition.op]
    unit = live.UNITS[condition.metric]
    unknown, unsettled, broken = [], [], {}
    for one in seen:
        record = one.record
        before = value_at(record, condition.metric, record.warmup_end_ns)
        after = value_at(record, condition.metric, record.end_ns)
        if before is None or after is None:
            unknown.append(record.seed)
        elif not test(before, condition.value):
            unsettled.append(record.seed)
        elif not test(after, condition.value):
            broken[record.seed] = f"{condition.metric} was {figure(after, unit)} after settle"
    what = f"{condition.metric} {condition.op} {figure(condition.value, unit)}"
    n = len(seen)
    held = n - len(unknown) - len(unsettled) - len(broken)
    finding = Finding(
        "pass",
        f"{what} held after warmup and after settle in all {count(n, 'replication')}",
        n=n,
        statistic=held / n if n else None,
        interval=(statistics.rate_lower(held, n), 1.0) if n else None,
        limit=condition.value,
        counterexamples=broken,
    )
    if broken:
        finding.worst_seed, text = next(iter(broken.items()))
        finding.verdict = "fail"
        finding.reason = f"{len(broken)} of {count(n, 'replication')} did not recover: {text}"
    elif unsettled or unknown or not n:
        finding.verdict = "inconclusive"
        finding.worst_seed = next(iter(unsettled or unknown), None)
        seeds = listed([str(seed) for seed in unsettled or unknown])
        finding.reason = (
            f"{what} did not hold after warmup (seeds {seeds})"
            if unsettled
            else f"{condition.metric} was not recorded (seeds {seeds})"
            if unknown
            else "no usable replication"
        )
    return finding


JUDGES: Final[dict[str, Callable[[Any, Evidence], Finding]]] = {
    "within": _within,
    "never": _never,
    "always": _always,
    "sometimes": _sometimes,
    "slo": _slo,
    "agree": _agree,
}
