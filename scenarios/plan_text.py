"""A Plan in plain lines, for people: what happens when, to whom, and what an engine skips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from x0mesh.scenarios.blast import peak, spans_of
from x0mesh.scenarios.faults import FAULTS
from x0mesh.scenarios.plan import After, At, FaultPlan, Plan, When
from x0mesh.scenarios.units import format_duration

SHOWN_TARGETS = 8


def plan_text(plan: Plan) -> str:
    """Times count from the start of chaos, as in the scenario."""
    return "\n".join([*_head(plan), "", *_faults(plan), "", *_flows(plan), *_remarks(plan)])


def _head(plan: Plan) -> Iterator[str]:
    yield f"{plan.scenario}  seed {plan.seed} (replication {plan.replication})"
    yield (
        f"{len(plan.nodes)} nodes, {len(plan.links)} links; {plan.start} start; warmup "
        f"{format_duration(plan.warmup_ns)}, chaos {format_duration(plan.chaos_ns)}, settle "
        f"{format_duration(plan.settle_ns)}"
    )
    most = peak(spans_of(plan.faults, plan.chaos_start_ns, plan.chaos_end_ns))
    yield (
        f"out of service at once, at most: {_of(most.nodes, len(plan.nodes))} nodes, "
        f"{_of(most.links, len(plan.links))} links, by {most.faults} fault(s)"
    )


def _of(count: int, total: int) -> str:
    return f"{count} of {total} ({count / total:.0%})" if total else "0"


def _faults(plan: Plan) -> Iterator[str]:
    if not plan.faults:
        yield "no faults"
    width = max((len(fault.name) for fault in plan.faults), default=0)
    for fault in plan.faults:
        yield f"{fault.name:<{width}}  {fault.kind}  {_when(fault, plan)}{_with(fault)}"
        indent = " " * (width + 2)
        yield f"{indent}on {_targets(fault)}; {_steps(fault)}"
        if not fault.armed:
            yield f"{indent}left out in this replication: its draw, or what it waits for, is out"
        if not FAULTS[fault.kind].available:
            yield f"{indent}no engine can run {fault.kind} yet"
        for engine, reason in fault.skip:
            yield f"{indent}skipped by {engine}: {reason}"


def _when(fault: FaultPlan, plan: Plan) -> str:
    lasts = "to the end of chaos"
    match fault.trigger:
        case At(at_ns):
            start_ns = at_ns - plan.chaos_start_ns
            if fault.duration_ns is not None:
                lasts = f"to {format_duration(start_ns + fault.duration_ns)}"
            return f"{format_duration(start_ns)} {lasts}"
        case After(name, edge, delay_ns):
            start = f"{format_duration(delay_ns)} after {name}.{edge}"
        case When(metric, op, value, after, give_up_ns):
            since = f" after {'.'.join(after)}" if after else ""
            start = (
                f"when {metric} {op} {value:g}{since}, given up {format_duration(give_up_ns)} later"
            )
    if fault.duration_ns is not None:
        lasts = f"for {format_duration(fault.duration_ns)}"
    return f"{start}, {lasts}"


def _with(fault: FaultPlan) -> str:
    return "".join(f", {name} {value}" for name, value in fault.parameters)


def _targets(fault: FaultPlan) -> str:
    def some(word: str, names: tuple[str, ...]) -> str:
        more = f" and {len(names) - SHOWN_TARGETS} more" if len(names) > SHOWN_TARGETS else ""
        return f"{word} {', '.join(names[:SHOWN_TARGETS])}{more}"

    parts = [
        some(word, names) for word, names in (("node", fault.nodes), ("link", fault.links)) if names
    ]
    return "; ".join(parts) or "nothing"


def _steps(fault: FaultPlan) -> str:
    count = Counter(type(step.action).__name__ for step in fault.steps)
    return ", ".join(f"{n} x {name}" for name, n in count.items()) or "no steps"


def _flows(plan: Plan) -> Iterator[str]:
    by_traffic = Counter((flow.traffic, flow.kind) for flow in plan.flows)
    for (traffic, kind), count in by_traffic.items():
        first = next(flow for flow in plan.flows if (flow.traffic, flow.kind) == (traffic, kind))
        shown = first.name if count == 1 else f"{count} flows, the first {first.name}"
        pace = f", {1e9 / first.interval_ns:g} packets/s" if first.interval_ns else ""
        yield f"traffic {traffic}: {kind}{pace}, {first.size_bytes} bytes; {shown}"


def _remarks(plan: Plan) -> Iterator[str]:
    for name, bound in plan.bindings:
        yield f"@{name} is {', '.join(bound)}"
    for note in plan.notes:
        yield f"note: {note}"
