"""result.json: the machine's copy of a judgement, schema `x0mesh.result/1`, SI units.

What is infinite or unknown is null; nothing in it depends on when the run was made but the
environment it was given.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from x0mesh.reports.verdict import CheckVerdict, FaultVerdict, Judgement
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.record import Record

SCHEMA: Final = "x0mesh.result/1"


@dataclass(frozen=True, slots=True)
class Environment:
    """Where and with what the run was made; the caller fills it, the reports only print it."""

    versions: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""


def result(
    scenario: Scenario, records: Sequence[Record], judgement: Judgement, environment: Environment
) -> dict[str, Any]:
    """The whole document as plain values."""
    seeds: dict[str, list[int]] = {}
    backends: dict[str, dict[str, str]] = {}
    for record in records:
        seeds.setdefault(record.engine, []).append(record.seed)
        backends.setdefault(record.engine, {}).update(record.backend)
    document = {
        "schema": SCHEMA,
        "verdict": judgement.verdict,
        "exit_code": judgement.exit_code,
        "reasons": judgement.reasons,
        "scenario": {
            "name": scenario.name,
            "title": scenario.title,
            "source": scenario.source,
            "sha256": scenario.sha256,
            "as_run": scenario.raw,
        },
        "seeds": seeds,
        "runs": [asdict(run) for run in judgement.runs],
        "metrics": {
            name: {engine: asdict(summary) for engine, summary in by_engine.items()}
            for name, by_engine in judgement.metrics.items()
        },
        "checks": [_check(check) for check in judgement.checks],
        "faults": [_fault(fault) for fault in judgement.faults],
        "replay": judgement.replay,
        "notes": judgement.notes,
        "versions": dict(environment.versions),
        "host": dict(environment.host),
        "capabilities": dict(environment.capabilities),
        "backends": backends,
        "command": environment.command,
    }
    strict = strictly(document)
    assert isinstance(strict, dict)
    return strict


def _check(check: CheckVerdict) -> dict[str, Any]:
    found = check.finding
    return {
        "id": check.id,
        "kind": check.kind,
        "engine": check.engine,
        "n": found.n,
        "statistic": found.statistic,
        "interval": None if found.interval is None else list(found.interval),
        "limit": found.limit,
        "verdict": found.verdict,
        "relation": found.relation,
        "worst_seed": found.worst_seed,
        "replay": check.replay,
        "reason": found.reason,
        "seconds": found.seconds,
        "failed_seeds": list(found.counterexamples),
    }


def _fault(fault: FaultVerdict) -> dict[str, Any]:
    """Of all replications together: `started` and `ended` are those of the first that had it,
    `targets` of all; each replication stands under `runs`."""
    first = next((i for i in fault.instances if i.started is not None), None)
    return {
        "id": fault.id,
        "kind": fault.kind,
        "engine": fault.engine,
        "planned": fault.planned,
        "started": first.started if first else None,
        "ended": first.ended if first else None,
        "targets": list(dict.fromkeys(t for i in fault.instances for t in i.targets)),
        "evidence": fault.evidence,
        "undo": fault.undo,
        "runs": [asdict(instance) for instance in fault.instances],
    }


def strictly(value: Any) -> Any:
    """The value as strict JSON can hold it: NaN and infinities become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): strictly(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [strictly(v) for v in value]
    return value


def to_text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
