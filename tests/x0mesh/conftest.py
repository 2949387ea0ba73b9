"""The command as a user runs it, small scenarios, and one run that many tests look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

SMALL = """\
schema: x0mesh.scenario/1
name: small
engines: [sim]
run: {warmup: 4s, chaos: 3s, settle: 3s, seeds: {base: 1, sim: 2}}
topology: {generator: {kind: ring, nodes: 4}}
traffic: [{id: probes, from: n0, to: n1, kind: cbr, rate: 50/s}]
timeline: [
  {id: cut, at: 500ms, for: 2s, fault: link.blackhole, target: {links: {between: [n0, n1]}}}]
steady_state: [{id: all-reach, metric: reachability.ratio, op: "==", value: 100%}]
checks: [{id: heals, kind: within, metric: heal.time, limit: 500ms}]
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Command(Protocol):
    def __call__(self, *words: str, cwd: Path, env: Mapping[str, str] | None = None) -> Done: ...


class Start(Protocol):
    def __call__(self, *words: str, cwd: Path) -> subprocess.Popen[str]: ...


def _words(*words: str) -> list[str]:
    return [sys.executable, "-m", "x0mesh", *words]


@pytest.fixture(scope="session")
def x0mesh() -> Command:
    """Runs `x0mesh WORDS..` as a process of its own in `cwd`."""

    def run(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
        done = subprocess.run(
            _words(*words),
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def start() -> Start:
    """Begins `x0mesh WORDS..` in a process group of its own."""

    def popen(*words: str, cwd: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            _words(*words),
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    return popen


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs `x0mesh WORDS..` inside this process: the same entry point, without its start-up."""
    from x0mesh import cli

    def run(*words: str, cwd: Path = tmp_path, env: Mapping[str, str] | None = None) -> Done:
        assert env is None
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["x0mesh", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        out, err = capsys.readouterr()
        return Done(ended.value.code, out, err)

    return run


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A ring of four that loses one link and passes; its folder holds nothing else."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@dataclass(frozen=True)
class Stored:
    """A run folder, what the command said, and its result."""

    folder: Path
    done: Done

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return found


@pytest.fixture(scope="session")
def passed(tmp_path_factory: pytest.TempPathFactory, x0mesh: Command) -> Stored:
    """`small` run once in two processes."""
    home = tmp_path_factory.mktemp("passed")
    (home / "small.yaml").write_text(SMALL)
    done = x0mesh("run", "small.yaml", "-j", "2", "--out", "out", cwd=home)
    assert done.code == 0, done.out + done.err
    return Stored(home / "out", done)
