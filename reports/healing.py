"""Metrics of failing and healing: detect, heal, reconverge, restore, converge.

A fault of several steps hits a flow with the first step that costs it a probe, so every step is
looked at and the longest outage stands for the fault. A flow that was led round the fault before
it lost a probe has healed with the next probe; one whose path the fault left alone has no sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from x0mesh.reports.observation import AFTERMATH_NS, FaultLife, Observation, Span, View
from x0mesh.scenarios.actions import NodePause, NodeStop
from x0mesh.scenarios.metrics import MetricSample
from x0mesh.scenarios.record import LOST, FlowRecord

HEALED_PROBES = 20
"""Consecutive delivered probes that end an outage."""

_S = 1e9


class Probes:
    """A flow's probes, with the runs of at least `HEALED_PROBES` deliveries ready to search."""

    def __init__(self, flow: FlowRecord, rerouted_ns: Sequence[int] = ()) -> None:
        self.flow = flow
        self.rerouted_ns = np.array(rerouted_ns, dtype=np.int64)
        self.sent_ns = flow.sent_ns
        self.n = len(flow.sent_ns)
        self.lost = np.flatnonzero(flow.latency_ns == LOST)
        starts = np.concatenate(([0], self.lost + 1))
        ends = np.concatenate((self.lost, [self.n]))
        long_enough = ends - starts >= HEALED_PROBES
        self._run_starts, self._run_ends = starts[long_enough], ends[long_enough]
        delivered = flow.latency_ns[flow.latency_ns != LOST]
        self.typical_latency_ns = int(np.median(delivered)) if len(delivered) else 0

    def index(self, t_ns: int) -> int:
        """First probe sent at or after this instant."""
        return int(np.searchsorted(self.sent_ns, t_ns, side="left"))

    def healed(self, i: int) -> int | None:
        """First of 20 consecutive delivered probes, at `i` or later."""
        k = int(np.searchsorted(self._run_ends, i + HEALED_PROBES, side="left"))
        return max(int(self._run_starts[k]), i) if k < len(self._run_starts) else None

    def losses(self, i: int, j: int) -> int:
        """Lost probes among i..j-1."""
        low, high = np.searchsorted(self.lost, (i, j), side="left")
        return int(high - low)

    def rerouted(self, i: int, j: int) -> bool:
        """One of the probes i..j took another path than the one before it."""
        sent = self.sent_ns[[i, j]]
        return bool(np.any((self.rerouted_ns >= sent[0]) & (self.rerouted_ns <= sent[1])))

    def losses_within(self, spans: Sequence[Span]) -> int:
        """Lost probes sent in these spans."""
        return sum(self.losses(self.index(a), self.index(b)) for a, b in spans)


@dataclass(frozen=True, slots=True)
class Outage:
    """One flow's outage by one fault. `healed_ns` None: not before the replication ended.
    `length_ns` is then what it lasted at least."""

    fault: str
    flow: FlowRecord
    from_ns: int
    healed_ns: int | None
    length_ns: int


@dataclass(slots=True)
class Healing:
    """All outages of a replication. `untouched`: pairs of fault and flow that lost nothing on a
    path that stayed. `hopeless`: pairs left without a path, so that there was nothing to heal."""

    outages: list[Outage]
    untouched: int
    hopeless: int


def healing(
    view: View, probes: Sequence[Probes] | None = None, faults: tuple[str, ...] = ()
) -> Healing:
    """The longest outage of every pair of fault and flow; `faults` narrows it to these."""
    tracks = _probes(view) if probes is None else probes
    result = Healing([], 0, 0)
    for life in view.lives:
        if faults and life.name not in faults:
            continue
        for track in tracks:
            outages, hopeless = _outages(life, track, view.record.end_ns)
            if outages:
                result.outages.append(
                    max(outages, key=lambda o: (o.healed_ns is None, o.length_ns))
                )
            elif hopeless:
                result.hopeless += 1
            else:
                result.untouched += 1
    return result


def _outages(life: FaultLife, track: Probes, end_ns: int) -> tuple[list[Outage], bool]:
    found: list[Outage] = []
    hopeless = False
    over_ns = -1
    for struck_ns in life.instants:
        if struck_ns < over_ns:
            continue
        first = track.index(struck_ns)
        # Probes under way when the fault strikes are among its victims.
        exposed = track.index(struck_ns - track.typical_latency_ns)
        healed = track.healed(first)
        if track.losses(exposed, track.n if healed is None else healed) == 0:
            if healed == first and track.rerouted(exposed, first):
                found.append(_healed(life.name, track, struck_ns, first))
            continue
        outage = (
            _unhealed(life.name, track, struck_ns, end_ns)
            if healed is None
            else _healed(life.name, track, struck_ns, healed)
        )
        if outage is None:
            hopeless = True
        else:
            found.append(outage)
        if healed is None:
            break
        over_ns = int(track.sent_ns[healed])
    return found, hopeless


def _healed(fault: str, track: Probes, struck_ns: int, index: int) -> Outage:
    healed_ns = int(track.sent_ns[index])
    offered = [a for a, _ in track.flow.possible if a <= healed_ns]
    from_ns = max([struck_ns, *offered[-1:]])
    return Outage(fault, track.flow, from_ns, healed_ns, healed_ns - from_ns)


def _unhealed(fault: str, track: Probes, struck_ns: int, end_ns: int) -> Outage | None:
    """None where the surviving graph gave the flow no fair chance: no path since, or a path for
    fewer than 20 probes before it was gone for good."""
    offered = [(max(a, struck_ns), min(b, end_ns)) for a, b in track.flow.possible]
    offered = [s for s in offered if s[0] < s[1]]
    if not offered:
        return None
    from_ns, until_ns = offered[-1]
    tried = track.index(until_ns) - track.index(from_ns)
    if until_ns < end_ns and tried < HEALED_PROBES:
        return None
    last_loss = int(track.lost[-1]) + 1 if len(track.lost) else 0
    known_ns = int(track.sent_ns[last_loss]) if last_loss < track.n else until_ns
    length_ns = max(0, min(known_ns, until_ns) - from_ns)
    return Outage(fault, track.flow, from_ns, None, length_ns)


def _probes(view: View) -> list[Probes]:
    rerouted: dict[str, list[int]] = {}
    for event in view.record.events:
        if event.kind == "flow.rerouted":
            rerouted.setdefault(event.flow, []).append(event.t_ns)
    return [Probes(flow, rerouted.get(flow.name, ())) for flow in view.record.flows]


def heal_time(view: View) -> list[MetricSample]:
    return [
        MetricSample(
            outage.length_ns / _S,
            censored=outage.healed_ns is None,
            fault=outage.fault,
            flow=outage.flow.name,
            traffic=outage.flow.traffic,
            t_ns=outage.from_ns,
        )
        for outage in healing(view).outages
    ]


def reconverge_loss(view: View) -> list[MetricSample]:
    """Lost after healing while the fault lasts, the graph offers a path and no other fault acts.

    Flows the fault did not touch count from its start; flows that never healed have no sample.
    """
    tracks = _probes(view)
    healed = {(o.fault, o.flow.name): o.healed_ns for o in healing(view, tracks).outages}
    samples = []
    for life in view.lives:
        end_ns = view.seen.end_of(life)
        for track in tracks:
            from_ns = healed.get((life.name, track.flow.name), life.started_ns)
            if from_ns is None:
                continue
            until_ns = min(end_ns, view.seen.next_strike(from_ns, life.name))
            samples.append(_loss(life, track, from_ns, until_ns))
    return [s for s in samples if s is not None]


def restore_loss(view: View) -> list[MetricSample]:
    """Lost from the fault's end until another fault acts or the replication ends."""
    samples = []
    for life in view.lives:
        if life.ended_ns is None:
            continue
        until_ns = view.seen.next_strike(life.ended_ns, life.name)
        samples += [_loss(life, track, life.ended_ns, until_ns) for track in _probes(view)]
    return [s for s in samples if s is not None]


def _loss(life: FaultLife, track: Probes, from_ns: int, until_ns: int) -> MetricSample | None:
    flow = track.flow
    spans = [(max(a, from_ns), min(b, until_ns)) for a, b in flow.possible]
    spans = [s for s in spans if s[0] < s[1]]
    if not spans:
        return None
    lost = float(track.losses_within(spans))
    return MetricSample(lost, fault=life.name, flow=flow.name, traffic=flow.traffic, t_ns=from_ns)


def detect_time(view: View) -> list[MetricSample]:
    """From each cut of a link to each end's `liveness.down`. Not seen while the cut lasted:
    censored.

    There is nothing to detect for an end whose session was not Up at that moment, and nothing to
    ask of one that was stopped itself or whose link came back within `AFTERMATH_NS`.
    """
    history = SessionHistory(view.seen)
    absent = _absences(view.seen)
    samples = []
    for life in view.lives:
        for cut in view.seen.cuts(life):
            struck_ns, until_ns = cut.span
            for end in cut.ends:
                if not history.up(end, cut.link, struck_ns):
                    continue
                down_ns = history.first_down(end, cut.link, struck_ns)
                seen = down_ns is not None and down_ns < until_ns + AFTERMATH_NS
                gone = any(a < until_ns and struck_ns < b for a, b in absent.get(end, ()))
                if not seen and (gone or until_ns - struck_ns < AFTERMATH_NS):
                    continue
                value_ns = (down_ns if seen and down_ns is not None else until_ns) - struck_ns
                samples.append(
                    MetricSample(
                        value_ns / _S,
                        censored=not seen,
                        fault=life.name,
                        node=end,
                        t_ns=struck_ns,
                    )
                )
    return samples


def _absences(seen: Observation) -> dict[str, list[Span]]:
    """When each node's process was stopped or paused."""
    found: dict[str, list[Span]] = {}
    for life in seen.lives:
        for strike in life.strikes:
            if isinstance(strike.action, NodeStop | NodePause):
                found.setdefault(strike.action.node, []).append((strike.t_ns, strike.until_ns))
    return found


def restore_time(view: View) -> list[MetricSample]:
    """From the end of the last cut of each link that lost its session to adjacency Full at both
    ends; the slowest adjacency counts. Links that another fault still holds are left out."""
    history = SessionHistory(view.seen)
    all_cuts = [(life.name, cut) for life in view.seen.lives for cut in view.seen.cuts(life)]
    samples = []
    for life in view.lives:
        if life.ended_ns is None:
            continue
        released: dict[str, Span] = {}
        for cut in view.seen.cuts(life):
            first, last = released.get(cut.link, cut.span)
            released[cut.link] = min(first, cut.span[0]), max(last, cut.span[1])
        waits: list[tuple[bool, int]] = []
        for link, (first_ns, released_ns) in released.items():
            others = [c for name, c in all_cuts if name != life.name and c.link == link]
            if any(c.span[0] <= released_ns < c.span[1] for c in others):
                continue
            again_ns = min(
                [c.span[0] for c in others if c.span[0] > released_ns],
                default=view.record.end_ns,
            )
            waits += history.waits(link, first_ns, released_ns, again_ns)
        if waits:
            censored, wait_ns = max(waits)
            samples.append(
                MetricSample(wait_ns / _S, censored=censored, fault=life.name, t_ns=life.ended_ns)
            )
    return samples


def converge_time(view: View) -> list[MetricSample]:
    """From the fault's start to the last route change before it ends or another fault acts."""
    changes = np.array([e.t_ns for e in view.seen.events("route.changed")], dtype=np.int64)
    samples = []
    for life in view.lives:
        until_ns = min(view.seen.end_of(life), view.seen.next_strike(life.started_ns, life.name))
        last = _last_before(changes, until_ns)
        if last is not None and last >= life.started_ns:
            samples.append(
                MetricSample((last - life.started_ns) / _S, fault=life.name, t_ns=life.started_ns)
            )
    return samples


def _last_before(times: npt.NDArray[np.int64], t_ns: int) -> int | None:
    k = int(np.searchsorted(times, t_ns, side="left"))
    return int(times[k - 1]) if k else None


class SessionHistory:
    """When the session and adjacency of each (node, link) went up, down and Full."""

    def __init__(self, seen: Observation) -> None:
        self.links = seen.links
        self._warm = seen.plan.start == "converged"
        self._turns: dict[tuple[str, str], list[tuple[int, str]]] = {}
        for event in seen.events("liveness.up", "liveness.down", "adjacency.full"):
            self._turns.setdefault((event.node, event.link), []).append((event.t_ns, event.kind))

    def up(self, node: str, link: str, t_ns: int) -> bool:
        """Was the session Up just before this instant?"""
        state = self._warm
        for when, kind in self._turns.get((node, link), ()):
            if when >= t_ns:
                break
            state = kind != "liveness.down"
        return state

    def first_down(self, node: str, link: str, t_ns: int) -> int | None:
        for when, kind in self._turns.get((node, link), ()):
            if when >= t_ns and kind == "liveness.down":
                return when
        return None

    def waits(
        self, link: str, from_ns: int, released_ns: int, until_ns: int
    ) -> list[tuple[bool, int]]:
        """For each end that left Full since `from_ns`: (censored, ns from release to Full)."""
        found = []
        for node in (self.links[link].a, self.links[link].b):
            down_ns: int | None = None
            full_ns: int | None = None
            for when, kind in self._turns.get((node, link), ()):
                if when < from_ns or when >= until_ns:
                    continue
                if kind == "liveness.down" and when < released_ns + AFTERMATH_NS:
                    down_ns, full_ns = when, None
                elif kind == "adjacency.full" and down_ns is not None and full_ns is None:
                    full_ns = when
            if full_ns is not None:
                found.append((False, max(0, full_ns - released_ns)))
            elif down_ns is not None:
                found.append((True, until_ns - released_ns))
        # A stopped node writes no events while it is gone; its neighbour's ends speak for both.
        return found
