"""How much the faults of a plan put out of service at once, against `safety.max_blast`.

Links that are down or blocked, nodes that are stopped or paused. What is only worse than before
(impaired, slow, drained) still serves and does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from x0mesh.scenarios.actions import LinkBlock, LinkDown, NodePause, NodeStop
from x0mesh.scenarios.model import MaxBlast
from x0mesh.scenarios.plan import After, At, FaultPlan, When
from x0mesh.scenarios.topology import Topology
from x0mesh.scenarios.units import format_duration


@dataclass(frozen=True, slots=True)
class Span:
    """A fault and when it may act: [start, end) in ns from the start of the replication.

    `certain` False: its start depends on the run, so all it does counts for the whole span.
    """

    fault: FaultPlan
    start_ns: int
    end_ns: int
    certain: bool


def spans_of(faults: Sequence[FaultPlan], chaos_start_ns: int, chaos_end_ns: int) -> list[Span]:
    """Of the armed faults, in their order. What is undone later than chaos ends with it."""
    starts: dict[str, tuple[int, int]] = {}
    duration_ns = {fault.name: fault.duration_ns for fault in faults}

    def of_edge(name: str, which: str) -> tuple[int, int] | None:
        if name not in starts or which == "started":
            return starts.get(name)
        lasts_ns = duration_ns[name]
        if lasts_ns is None:
            return chaos_end_ns, chaos_end_ns
        return starts[name][0] + lasts_ns, starts[name][1] + lasts_ns

    def start_of(trigger: At | After | When) -> tuple[int, int] | None:
        match trigger:
            case At(at_ns):
                return at_ns, at_ns
            case After(name, which, delay_ns):
                since = of_edge(name, which)
                return since and (since[0] + delay_ns, since[1] + delay_ns)
            case When(after=None, give_up_ns=give_up_ns):
                return chaos_start_ns, chaos_start_ns + give_up_ns
            case When(after=(name, which), give_up_ns=give_up_ns):
                since = of_edge(name, which)
                return since and (since[0], since[1] + give_up_ns)
        raise AssertionError(trigger)

    waiting = list(faults)
    while waiting:
        starts |= {f.name: start for f in waiting if (start := start_of(f.trigger))}
        still = [fault for fault in waiting if fault.name not in starts]
        if len(still) == len(waiting):
            break
        waiting = still
    spans = []
    for fault in faults:
        if fault.armed and fault.name in starts:
            first, last = starts[fault.name]
            end_ns = chaos_end_ns if fault.duration_ns is None else last + fault.duration_ns
            spans.append(
                Span(fault, first, min(end_ns, chaos_end_ns), isinstance(fault.trigger, At))
            )
    return spans


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that is out of service at one instant."""

    nodes: int = 0
    links: int = 0
    faults: int = 0
    nodes_at_ns: int = 0
    links_at_ns: int = 0
    faults_at_ns: int = 0


def _hits(span: Span) -> Iterator[tuple[int, int, str, str]]:
    """(start, end, word, name) of everything the fault puts out of service, and of itself."""
    fault = span.fault
    yield span.start_ns, span.end_ns, "faults", fault.name
    if not fault.steps:
        # A fault no engine runs yet still has targets.
        yield from ((span.start_ns, span.end_ns, "nodes", node) for node in fault.nodes)
        yield from ((span.start_ns, span.end_ns, "links", link) for link in fault.links)
    for step in fault.steps:
        start_ns, end_ns = span.start_ns, span.end_ns
        if span.certain:
            if step.until_ns is not None:
                end_ns = min(end_ns, start_ns + step.until_ns)
            start_ns += step.offset_ns
        if start_ns < end_ns:
            match step.action:
                case LinkDown(link) | LinkBlock(link):
                    yield start_ns, end_ns, "links", link
                case NodeStop(node) | NodePause(node):
                    yield start_ns, end_ns, "nodes", node


def peak(spans: Sequence[Span]) -> Peak:
    """What ends at an instant is over before what starts at it."""
    changes: list[tuple[int, int, str, str]] = []
    for span in spans:
        for start_ns, end_ns, word, name in _hits(span):
            changes += [(start_ns, 1, word, name), (end_ns, -1, word, name)]
    hit = {"nodes": Counter[str](), "links": Counter[str](), "faults": Counter[str]()}
    most = dict.fromkeys(hit, (0, 0))
    for at_ns, change, word, name in sorted(changes):
        hit[word][name] += change
        if hit[word][name] == 0:
            del hit[word][name]
        if len(hit[word]) > most[word][0]:
            most[word] = (len(hit[word]), at_ns)
    return Peak(
        nodes=most["nodes"][0],
        links=most["links"][0],
        faults=most["faults"][0],
        nodes_at_ns=most["nodes"][1],
        links_at_ns=most["links"][1],
        faults_at_ns=most["faults"][1],
    )


def blast_mistakes(
    limit: MaxBlast, spans: Sequence[Span], topology: Topology, chaos_start_ns: int
) -> list[tuple[str, str]]:
    """(word of `max_blast`, message) for every limit the plan breaks.

    Messages tell times as scenarios do, from the start of chaos.
    """

    def clock(at_ns: int) -> str:
        return f"at {format_duration(at_ns - chaos_start_ns)}"

    most = peak(spans)
    mistakes: list[tuple[str, str]] = []
    for word, allowed, reached, total, at_ns in (
        ("nodes", limit.nodes, most.nodes, len(topology.nodes), most.nodes_at_ns),
        ("links", limit.links, most.links, len(topology.links), most.links_at_ns),
    ):
        if allowed is None:
            continue
        count = int(allowed * total + 1e-9) if isinstance(allowed, float) else allowed
        if reached > count:
            text = (
                f"{clock(at_ns)} {reached} of {total} {word} are out of service, more than the "
                f"{count} that are allowed at once{_who(spans, at_ns)}"
            )
            mistakes.append((word, text))
    if limit.simultaneous is not None and most.faults > limit.simultaneous:
        text = (
            f"{clock(most.faults_at_ns)} {most.faults} faults are active, more than the "
            f"{limit.simultaneous} that are allowed at once{_who(spans, most.faults_at_ns)}"
        )
        mistakes.append(("simultaneous", text))
    return mistakes


def _who(spans: Sequence[Span], at_ns: int) -> str:
    names = [span.fault.name for span in spans if span.start_ns <= at_ns < span.end_ns]
    return f" ({', '.join(names)})"
