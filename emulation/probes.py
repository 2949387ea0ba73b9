"""Flows as real UDP probes in the nodes' namespaces, sent at the plan's own instants.

The engine's side: starts the probes' process (`emulation.prober`), tells it when the replication
began and which nodes are off, and takes its result.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from x0mesh.emulation.namespaces import NetNamespace
from x0mesh.scenarios.plan import FlowPlan
from x0mesh.scenarios.record import FlowRecord

GRACE_NS: Final = 1_000_000_000
"""How long after the last probe an arrival still counts."""
_RESULT_SECONDS: Final = 120


class ProbeError(RuntimeError):
    """The probes' process failed, or a flow is of a kind that it cannot carry."""


@dataclass(frozen=True, slots=True)
class ProbeEnd:
    """Where a node's sockets live and the address they are bound to."""

    namespace: NetNamespace
    address: IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class MeasuredFlow:
    """A flow's probes in sending order, times from the replication's start; `LOST` as latency.

    `sent_ns` are the instants at which they really left; a source that is off sends nothing.
    """

    plan: FlowPlan
    sent_ns: npt.NDArray[np.int64]
    latency_ns: npt.NDArray[np.int64]

    @property
    def largest_gap_ns(self) -> int:
        """Between two consecutive probes: the error bar of this flow's outages."""
        return int(np.diff(self.sent_ns).max()) if len(self.sent_ns) > 1 else 0

    def record(self, possible: Sequence[tuple[int, int]]) -> FlowRecord:
        """As a Record has it; `possible` are the intervals in which a path existed."""
        plan = self.plan
        return FlowRecord(
            name=plan.name,
            traffic=plan.traffic,
            source=plan.source,
            destination=plan.destination,
            size_bytes=plan.size_bytes,
            sent_ns=self.sent_ns,
            latency_ns=self.latency_ns,
            possible=list(possible),
        )


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """All flows, in the order they were given, and how well the process kept time.

    `largest_lateness_ns`: a probe left this long after its planned instant. `send_errors`: probes
    and replies that their own node refused, by errno name; these are lost. `realtime`: the
    process ran under SCHED_FIFO.
    """

    flows: tuple[MeasuredFlow, ...]
    largest_lateness_ns: int
    duplicates: int
    foreign: int
    realtime: bool
    send_errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def largest_gap_ns(self) -> int:
        """Largest gap of any flow between two consecutive probes."""
        return max((flow.largest_gap_ns for flow in self.flows), default=0)


class Probes:
    """One process that carries `flows` until `end_ns`; sockets are open when this returns.

    It ends when the thread that made it does (PR_SET_PDEATHSIG). Bulk flows have no instants in
    the plan and are a ProbeError; so is a node without an end.
    """

    def __init__(
        self,
        flows: Sequence[FlowPlan],
        seed: int,
        end_ns: int,
        ends: Mapping[str, ProbeEnd],
        grace_ns: int = GRACE_NS,
    ) -> None:
        self._flows = tuple(flows)
        settings = {
            "seed": seed,
            "end_ns": end_ns,
            "grace_ns": grace_ns,
            "flows": [_entry(flow, ends) for flow in self._flows],
        }
        packed = json.dumps(settings).encode()
        used = {node for flow in self._flows for node in (flow.source, flow.destination)}
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "x0mesh.emulation.prober",
                str(os.getpid()),
                str(len(packed)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[ends[node].namespace.fd for node in sorted(used)],
        )
        try:
            self._write(packed)
            assert self._process.stdout is not None
            if self._process.stdout.readline() != b"ready\n":
                raise ProbeError(self._ending())
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, zero_ns: int) -> None:
        """The replication starts, or has started, at this CLOCK_MONOTONIC time."""
        self._command(f"begin {zero_ns}")

    def set_node(self, node: str, on: bool) -> None:
        """A node that is off sends no probes and takes none."""
        self._command(f"{'on' if on else 'off'} {node}")

    def finish(self) -> ProbeResult:
        """Stop sending, wait out the grace for what is under way, and take the result."""
        self._command("end")
        try:
            packed, complaint = self._process.communicate(timeout=_RESULT_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.close()
            raise ProbeError(f"no result from the probes in {_RESULT_SECONDS} s") from error
        if self._process.returncode or not packed:
            raise ProbeError(_last_line(complaint, self._process.returncode))
        return _result(self._flows, packed)

    def close(self) -> None:
        """End the process if it still runs; closing twice is harmless."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was still unsent was for a process that has ended

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _command(self, line: str) -> None:
        self._write(line.encode() + b"\n")

    def _write(self, packed: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(packed)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ProbeError(self._ending()) from error

    def _ending(self) -> str:
        """Why the process has ended, in its own last words."""
        self._process.kill()
        assert self._process.stderr is not None
        return _last_line(self._process.stderr.read(), self._process.wait())


def _entry(flow: FlowPlan, ends: Mapping[str, ProbeEnd]) -> dict[str, Any]:
    if flow.kind == "bulk":
        raise ProbeError(f"flow {flow.name}: bulk traffic cannot be carried as probes")
    for node in (flow.source, flow.destination):
        if node not in ends:
            raise ProbeError(f"flow {flow.name}: node {node} has no address to probe from")
    source, destination = ends[flow.source], ends[flow.destination]
    if source.address.version != destination.address.version:
        raise ProbeError(f"flow {flow.name}: its ends have addresses of different IP versions")
    return {
        "plan": asdict(flow),
        "source_fd": source.namespace.fd,
        "source_address": str(source.address),
        "destination_fd": destination.namespace.fd,
        "destination_address": str(destination.address),
    }


def _last_line(complaint: bytes, code: int) -> str:
    lines = complaint.decode(errors="replace").strip().splitlines()
    return f"the probes' process ended with {code}: {lines[-1] if lines else 'it said nothing'}"


def _result(flows: tuple[FlowPlan, ...], packed: bytes) -> ProbeResult:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        bounds = np.concatenate([[0], np.cumsum(arrays["count"])])
        sent, latency = arrays["sent"], arrays["latency"]
        totals = json.loads(arrays["totals"].tobytes())
    measured = tuple(
        MeasuredFlow(flow, sent[start:end], latency[start:end])
        for flow, start, end in zip(flows, bounds[:-1], bounds[1:], strict=True)
    )
    return ProbeResult(flows=measured, **totals)
