"""A Record: what happened in one replication. The only thing reports are given.

Both engines fill the same schema, so that nothing after them can tell which one ran. Times are
integer nanoseconds from the start of the replication, as in the Plan.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from x0mesh.scenarios.plan import EngineName

LOST = -1
"""Latency of a probe that never arrived."""


class Event(NamedTuple):
    """One row of events.parquet; `kind` is listed in `x0mesh.scenarios.events`. Empty: n/a."""

    t_ns: int
    node: str
    kind: str
    fault: str = ""
    link: str = ""
    peer: str = ""
    flow: str = ""
    value: float | None = None
    reason: str = ""


EvidenceStatus = Literal["confirmed", "mismatch", "not-fired", "not-armed", "skipped"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What shows that an action took effect: `observed` is a figure or state in words."""

    action: str
    target: str
    status: EvidenceStatus
    observed: str


@dataclass(slots=True)
class FaultRecord:
    """One fault's life. `planned_ns` is None for a fault that waits for another or a state."""

    name: str
    kind: str
    planned_ns: int | None
    started_ns: int | None = None
    ended_ns: int | None = None
    nodes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    evidence: list[Evidence] = field(default_factory=list)
    undo: Literal["none", "verified", "failed", "permanent"] = "none"

    @property
    def status(self) -> EvidenceStatus:
        """Worst of its evidence; a started fault with none is a mismatch.

        A fault that does the same to the same target again and again (flaps, clogs, departures)
        took effect there if it did once: a link that it took out of service carries no packet
        that the next of its steps could catch.
        """
        shown = {(e.action, e.target) for e in self.evidence if e.status == "confirmed"}
        found = {
            "confirmed" if e.status == "mismatch" and (e.action, e.target) in shown else e.status
            for e in self.evidence
        }
        order: tuple[EvidenceStatus, ...] = ("mismatch", "not-fired", "skipped", "not-armed")
        for worst in order:
            if worst in found:
                return worst
        return "confirmed" if found else "mismatch"


@dataclass(slots=True)
class FlowRecord:
    """A flow's probes in sending order.

    `sent_ns` int64[n]; `latency_ns` int64[n], one way (round trip when the flow asks for
    replies), `LOST` where it did not arrive; `size_bytes` per probe. `possible` lists
    [from, to) intervals in which the surviving graph offered the flow a path (ground truth from
    links and nodes that were up, unblocked, not from routing).
    """

    name: str
    traffic: str
    source: str
    destination: str
    size_bytes: int
    sent_ns: npt.NDArray[np.int64]
    latency_ns: npt.NDArray[np.int64]
    possible: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Sample:
    """A time series: value from `t_ns[i]` until `t_ns[i + 1]`."""

    metric: str
    t_ns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


@dataclass(slots=True)
class Record:
    """One replication on one engine.

    `status`: complete, aborted (by safety or the user), error (with reason), or overloaded (the
    fidelity gate of an engine in real time). `counters` are totals by metric name. `series` holds
    at least `reachability.ratio` (pairs reached over pairs the surviving graph connects).
    `final_state` is the canonical protocol state by node (JSON) for structural agreement.
    """

    engine: EngineName
    seed: int
    replication: int
    warmup_end_ns: int
    chaos_end_ns: int
    end_ns: int
    status: Literal["complete", "aborted", "error", "overloaded"] = "complete"
    reason: str = ""
    backend: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    faults: list[FaultRecord] = field(default_factory=list)
    flows: list[FlowRecord] = field(default_factory=list)
    series: list[Sample] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)
    final_state: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over events, probes and faults, in their order; equal runs have equal ones."""
        h = hashlib.sha256()
        for event in self.events:
            h.update(repr(tuple(event)).encode())
        for flow in self.flows:
            h.update(flow.name.encode())
            h.update(np.ascontiguousarray(flow.sent_ns, dtype="<i8").tobytes())
            h.update(np.ascontiguousarray(flow.latency_ns, dtype="<i8").tobytes())
        for fault in self.faults:
            h.update(repr((fault.name, fault.started_ns, fault.ended_ns, fault.evidence)).encode())
        return h.hexdigest()
