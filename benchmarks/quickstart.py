"""The command a newcomer runs: the quickstart scenario, two processes, report included."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.benchmark import WALL, Benchmark, Figure, Part, Size
from benchmarks.meter import Meter
from benchmarks.plain_keep_alives import PlainKeepAlives
from x0mesh.scenarios.loader import load
from x0mesh.scenarios.planner import make_plan

SCENARIO: Final = Path(__file__).parent.parent / "scenarios" / "quickstart.yaml"
PROCESSES: Final = 2


def whole_command(replications: int, meter: Meter) -> dict[str, float]:
    """`x0mesh run quickstart.yaml`, from start-up to the written report."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--engine", "sim", "--seeds", str(replications), "-j", str(PROCESSES)]
        command = [sys.executable, "-m", "x0mesh", "run", str(SCENARIO), *options]
        with meter:
            done = subprocess.run(
                [*command, "--out", str(Path(folder) / "run")], stdout=subprocess.DEVNULL
            )
    # Few seeds leave claims inconclusive (3); a failed check (1) is a run as well.
    if done.returncode not in (0, 1, 3):
        raise subprocess.CalledProcessError(done.returncode, command)
    return {"replications": replications, "exit_code": done.returncode}


def plain_simpy(_: int, meter: Meter) -> dict[str, float]:
    """One replication's keep-alives."""
    plan = make_plan(load(SCENARIO), 0)
    mesh = PlainKeepAlives(plan)
    with meter:
        mesh.env.run(until=plan.end_ns)
    return {"replications": 1, "keep_alives": mesh.delivered}


BENCHMARK = Benchmark(
    name="quickstart",
    question="How long does a newcomer wait for the first verdict?",
    parts={
        "keep-alives alone on plain SimPy, collector off": Part(plain_simpy, gc_off=True),
        "x0mesh run, 2 processes": Part(whole_command),
    },
    references=("keep-alives alone on plain SimPy, collector off",),
    subject="x0mesh run, 2 processes",
    figure=Figure(
        "CPU per replication",
        "s",
        lambda m: m.cpu_s / m.counts["replications"],
        more_is_better=False,
    ),
    extras=(WALL,),
    sizes=(Size(20, 5),),
    quick=(Size(4, 2),),
    limit_s=30.0,
    size_unit="replications",
    notes=(
        "50 nodes, 88 links, 42 simulated seconds, cold start, three faults, every keep-alive.",
        "The command's time holds Python's start, planning, simulation, checks, HTML report, "
        "Parquet and JSON. The reference moves the same scenario's keep-alives, without faults, "
        "between empty handlers, once: the ratio says what all the rest costs beside that.",
    ),
)
