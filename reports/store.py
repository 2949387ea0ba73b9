"""A run on disk: everything that is needed to judge it again, with other checks if need be.

events.parquet is for readers; probes.parquet, series.parquet and replications.json.gz hold the
rest of the Records and the Plans. Reading gives back equal Plans and Records.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from x0mesh.reports.files import replacing, write_bytes
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.plan_json import plan_from_json, plan_to_json
from x0mesh.scenarios.record import Event, Evidence, FaultRecord, FlowRecord, Record, Sample
from x0mesh.scenarios.yaml_reader import Positions

FORMAT: Final = "x0mesh.replications/1"

_KEYS = [("engine", pa.dictionary(pa.int32(), pa.string())), ("seed", pa.int64())]
_WORD = pa.dictionary(pa.int32(), pa.string())

EVENTS: Final = pa.schema(
    [
        *_KEYS,
        ("t_ns", pa.int64()),
        ("node", _WORD),
        ("kind", _WORD),
        ("fault", _WORD),
        ("link", _WORD),
        ("peer", _WORD),
        ("flow", _WORD),
        ("value", pa.float64()),
        ("reason", _WORD),
    ]
)
PROBES: Final = pa.schema(
    [*_KEYS, ("flow", _WORD), ("sent_ns", pa.int64()), ("latency_ns", pa.int64())]
)
SERIES: Final = pa.schema(
    [*_KEYS, ("metric", _WORD), ("t_ns", pa.int64()), ("value", pa.float64())]
)


class RunFolderError(Exception):
    """This folder does not hold a run that can be judged again; the message says why."""


def write_records(folder: Path, plans: Sequence[Plan], records: Sequence[Record]) -> None:
    """The four files, each whole or absent."""
    _write(folder / "events.parquet", EVENTS, records, _event_columns)
    _write(folder / "probes.parquet", PROBES, records, _probe_columns)
    _write(folder / "series.parquet", SERIES, records, _series_columns)
    head = {
        "format": FORMAT,
        "plans": [json.loads(plan_to_json(plan)) for plan in plans],
        "records": [_head(record) for record in records],
    }
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    write_bytes(folder / "replications.json.gz", gzip.compress(text.encode(), 6, mtime=0))


def read_records(folder: Path) -> tuple[list[Plan], list[Record]]:
    """Inverse of `write_records`. Raises RunFolderError."""
    try:
        packed = (folder / "replications.json.gz").read_bytes()
        head = json.loads(gzip.decompress(packed))
        if head.get("format") != FORMAT:
            raise RunFolderError(f"{folder}: replications are not of format {FORMAT}")
        plans = [plan_from_json(json.dumps(plan)) for plan in head["plans"]]
        records = [_record(found) for found in head["records"]]
        by_key: dict[tuple[str, int], Record] = {(r.engine, r.seed): r for r in records}
        for table in _groups(folder / "events.parquet"):
            _record_of(by_key, table).events += _events(table)
        for table in _groups(folder / "probes.parquet"):
            _add_probes(_record_of(by_key, table), table)
        for table in _groups(folder / "series.parquet"):
            _add_series(_record_of(by_key, table), table)
    except FileNotFoundError as missing:
        raise RunFolderError(f"{folder}: {missing.filename} is not there") from missing
    except (OSError, EOFError, ValueError, KeyError, TypeError, pa.ArrowException) as broken:
        raise RunFolderError(f"{folder}: cannot be read: {broken}") from broken
    return plans, records


def read_scenario(folder: Path) -> Scenario:
    """The scenario as it was run, from result.json. Raises RunFolderError."""
    path = folder / "result.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["scenario"]
        scenario = Scenario.model_validate(kept["as_run"])
        positions = Positions(str(path))
        return scenario.placed(kept["as_run"], kept["source"], folder, folder, positions)
    except FileNotFoundError as missing:
        raise RunFolderError(f"{folder}: {missing.filename} is not there") from missing
    except (OSError, ValueError, KeyError, TypeError) as broken:
        raise RunFolderError(f"{path}: cannot be read: {broken}") from broken


Columns = list[Any]


def _write(
    path: Path, schema: pa.Schema, records: Sequence[Record], columns: Callable[[Record], Columns]
) -> None:
    """One row group a replication."""
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=[kind.name for kind in schema if pa.types.is_dictionary(kind.type)],
            column_encoding={
                kind.name: "DELTA_BINARY_PACKED" for kind in schema if kind.type == pa.int64()
            },
        ) as writer,
    ):
        for record in records:
            content = columns(record)
            n = len(content[0])
            keys = [_repeated([record.engine], [n]), np.full(n, record.seed, dtype=np.int64)]
            arrays = [
                _array(column, kind.type)
                for column, kind in zip([*keys, *content], schema, strict=True)
            ]
            table = pa.Table.from_arrays(arrays, schema=schema)
            if n:
                writer.write_table(table, row_group_size=n)


def _array(column: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(column, pa.Array):
        return column.cast(kind)
    if pa.types.is_dictionary(kind):
        return pa.array(column, pa.string()).cast(kind)
    return pa.array(column, kind)


def _repeated(words: Sequence[str], counts: Sequence[int]) -> pa.Array:
    """Each word so many times in a row."""
    indices = np.repeat(np.arange(len(words), dtype=np.int32), counts)
    return pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(words, pa.string()))


def _event_columns(record: Record) -> Columns:
    return [list(column) for column in zip(*record.events, strict=True)] or [[]] * 9


def _probe_columns(record: Record) -> Columns:
    flows = record.flows
    return [
        _repeated([flow.name for flow in flows], [len(flow.sent_ns) for flow in flows]),
        _joined((flow.sent_ns for flow in flows), np.int64),
        _joined((flow.latency_ns for flow in flows), np.int64),
    ]


def _series_columns(record: Record) -> Columns:
    found = record.series
    return [
        _repeated([one.metric for one in found], [len(one.t_ns) for one in found]),
        _joined((one.t_ns for one in found), np.int64),
        _joined((one.values for one in found), np.float64),
    ]


def _joined(arrays: Iterable[Any], kind: Any) -> Any:
    return np.concatenate([np.empty(0, dtype=kind), *arrays])


def _groups(path: Path) -> Iterable[pa.Table]:
    with pq.ParquetFile(path) as file:
        for i in range(file.num_row_groups):
            yield file.read_row_group(i)


def _record_of(records: dict[tuple[str, int], Record], table: pa.Table) -> Record:
    return records[table["engine"][0].as_py(), table["seed"][0].as_py()]


def _events(table: pa.Table) -> list[Event]:
    columns = [table[name].to_pylist() for name in Event._fields]
    return [Event(*row) for row in zip(*columns, strict=True)]


def _add_probes(record: Record, table: pa.Table) -> None:
    sent, latency = table["sent_ns"].to_numpy(), table["latency_ns"].to_numpy()
    i = 0
    # Rows stand in the order of the flows, whose lengths the head knows.
    for flow in record.flows:
        n = len(flow.sent_ns)
        flow.sent_ns, flow.latency_ns = sent[i : i + n].copy(), latency[i : i + n].copy()
        i += n
    if i != len(sent):
        raise ValueError(f"seed {record.seed}: probes of unknown flows")


def _add_series(record: Record, table: pa.Table) -> None:
    times, values = table["t_ns"].to_numpy(), table["value"].to_numpy()
    i = 0
    for k, one in enumerate(record.series):
        n = len(one.t_ns)
        record.series[k] = Sample(one.metric, times[i : i + n].copy(), values[i : i + n].copy())
        i += n
    if i != len(times):
        raise ValueError(f"seed {record.seed}: series of unknown metrics")


def _head(record: Record) -> dict[str, Any]:
    """A record without its long columns, whose lengths are kept."""
    return {
        "engine": record.engine,
        "seed": record.seed,
        "replication": record.replication,
        "warmup_end_ns": record.warmup_end_ns,
        "chaos_end_ns": record.chaos_end_ns,
        "end_ns": record.end_ns,
        "status": record.status,
        "reason": record.reason,
        "backend": record.backend,
        "faults": [asdict(fault) for fault in record.faults],
        "flows": [
            {
                "name": flow.name,
                "traffic": flow.traffic,
                "source": flow.source,
                "destination": flow.destination,
                "size_bytes": flow.size_bytes,
                "possible": flow.possible,
                "probes": len(flow.sent_ns),
            }
            for flow in record.flows
        ],
        "series": [{"metric": one.metric, "n": len(one.t_ns)} for one in record.series],
        "counters": record.counters,
        "final_state": record.final_state,
    }


def _record(head: dict[str, Any]) -> Record:
    plain = {k: v for k, v in head.items() if k not in ("faults", "flows", "series")}
    return Record(
        **plain,
        faults=[_fault(fault) for fault in head["faults"]],
        flows=[_flow(flow) for flow in head["flows"]],
        series=[
            Sample(one["metric"], np.zeros(one["n"], np.int64), np.zeros(one["n"]))
            for one in head["series"]
        ],
    )


def _fault(plain: dict[str, Any]) -> FaultRecord:
    evidence = [Evidence(**one) for one in plain["evidence"]]
    return FaultRecord(
        **{
            **plain,
            "nodes": tuple(plain["nodes"]),
            "links": tuple(plain["links"]),
            "evidence": evidence,
        }
    )


def _flow(plain: dict[str, Any]) -> FlowRecord:
    n = plain["probes"]
    kept = {k: v for k, v in plain.items() if k not in ("probes", "possible")}
    return FlowRecord(
        **kept,
        sent_ns=np.zeros(n, np.int64),
        latency_ns=np.zeros(n, np.int64),
        possible=[(a, b) for a, b in plain["possible"]],
    )
