"""A run that is stopped or loses a worker keeps what it has and leaves no process behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Each of its replications would take minutes.
LONG = """\
schema: x0mesh.scenario/1
name: long
engines: [sim]
run: {warmup: 4s, chaos: 20000s, settle: 3s, seeds: {base: 1, sim: 3}}
topology: {generator: {kind: ring, nodes: 3}}
traffic: [{id: probes, from: n0, to: n1, kind: cbr, rate: 1/s}]
"""


@pytest.fixture
def running(tmp_path: Path, start: Any) -> Iterator[Any]:
    """Begins a run of LONG with so many processes, and sees that it ends with the test."""
    (tmp_path / "long.yaml").write_text(LONG)
    begun: list[subprocess.Popen[str]] = []

    def begin(jobs: int) -> subprocess.Popen[str]:
        begun.append(start("run", "long.yaml", "-j", str(jobs), "--out", "out", cwd=tmp_path))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def simulating(process: subprocess.Popen[str], workers: int) -> list[int]:
    """Waits until the run simulates; its workers' process ids."""
    assert process.stdout is not None
    assert "3 replications on sim" in process.stdout.readline()
    children: list[int] = []
    while len(children) < workers:
        assert process.poll() is None
        children = children_of(process.pid)
        time.sleep(0.02)
    return children


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


@pytest.mark.parametrize(
    ("number", "jobs", "whole_group", "code"),
    [
        (signal.SIGINT, 1, False, 130),
        (signal.SIGINT, 2, True, 130),
        (signal.SIGTERM, 2, True, 143),
    ],
)
def test_a_stopped_run_keeps_what_it_has(
    number: int, jobs: int, whole_group: bool, code: int, running: Any, tmp_path: Path
) -> None:
    process = running(jobs)
    workers = simulating(process, 0 if jobs == 1 else jobs)
    # A terminal signals the group, `kill` one process.
    (os.killpg if whole_group else os.kill)(process.pid, number)
    out, err = process.communicate()
    assert process.returncode == code, err
    assert err == ""
    found = result(tmp_path / "out")
    assert (found["verdict"], found["exit_code"]) == ("aborted", code)
    assert [run["seed"] for run in found["runs"]] == [1, 2, 3]
    assert {run["verdict"] for run in found["runs"]} == {"aborted"}
    assert all(run["reason"].startswith("stopped by the user") for run in found["runs"])
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000
    assert (tmp_path / "out" / "events.parquet").exists()
    assert "long: aborted (0 of 3 replications passed)" in out
    assert not any(alive(pid) for pid in workers)


def test_a_killed_worker_costs_its_own_replication_only(running: Any, tmp_path: Path) -> None:
    text = LONG.replace("chaos: 20000s", "chaos: 120s")
    (tmp_path / "long.yaml").write_text(text)
    running(2).communicate()
    (tmp_path / "out").rename(tmp_path / "undisturbed")
    process = running(2)
    victim, _ = simulating(process, 2)
    os.kill(victim, signal.SIGKILL)
    out, _ = process.communicate()
    assert process.returncode == 70
    runs = result(tmp_path / "out")["runs"]
    assert sorted(run["verdict"] for run in runs) == ["error", "pass", "pass"]
    (broken,) = (run for run in runs if run["verdict"] == "error")
    assert broken["reason"] == "its worker process was killed (SIGKILL)"
    assert "long: error (2 of 3 replications passed)" in out
    whole = {r["seed"]: r["fingerprint"] for r in result(tmp_path / "undisturbed")["runs"]}
    assert all(r["fingerprint"] == whole[r["seed"]] for r in runs if r is not broken)


def test_workers_end_with_their_parent(running: Any) -> None:
    process = running(2)
    workers = simulating(process, 2)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlive the run"
        time.sleep(0.02)
