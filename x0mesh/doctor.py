"""What this host can and cannot do, and what a missing capability costs."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from x0mesh.scenarios.model import Scenario

_MIB: Final = 2**20
_COMFORTABLE_BYTES: Final = 512 * _MIB
_LIBRARIES: Final = ("simpy", "numpy", "scipy", "pandas", "pyarrow", "matplotlib")


@dataclass(frozen=True, slots=True)
class Finding:
    """One capability. `needed`: without it nothing runs."""

    name: str
    found: bool
    detail: str
    needed: bool = False


def examine(load: bool = False) -> list[Finding]:
    """Everything x0mesh would use, found or missing. Looks only; changes nothing.

    `load`: import the libraries, which takes a second, and not only ask for their versions.
    """
    return [
        Finding(
            "python", sys.version_info >= (3, 11), f"{sys.version.split()[0]}, 3.11 or newer", True
        ),
        *(_library(name, load) for name in _LIBRARIES),
        _topohub(),
        Finding("processors", True, f"{len(os.sched_getaffinity(0))} for replications (-j)"),
        _memory(),
        Finding("simulator", True, "engine sim"),
        Finding("emulation", False, "not part of this version; scenarios run on the simulator"),
        _browser(),
    ]


def missing_faults(scenario: Scenario) -> list[str]:
    """Kinds of faults that the scenario wants on the simulator and no engine has yet, sorted.

    Those that its own `engines:` keeps off the simulator are a stated skip and do not count.
    """
    return sorted(
        {
            entry.fault
            for entry in scenario.timeline
            if not entry.with_.available and "sim" in (entry.engines or ("sim",))
        }
    )


def _library(name: str, load: bool) -> Finding:
    try:
        if load:
            import_module(name)
        return Finding(name, True, metadata.version(name), True)
    except ImportError as error:
        return Finding(name, False, str(error), True)


def _topohub() -> Finding:
    try:
        detail = f"{metadata.version('topohub')}, for `import: topohub:...`"
        return Finding("topohub", True, detail)
    except metadata.PackageNotFoundError:
        return Finding("topohub", False, "topologies by `import: topohub:...` cannot be had")


def _memory() -> Finding:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return Finding("memory", True, "this host does not say how much")
    free = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    detail = f"{free // _MIB} MiB free, {_COMFORTABLE_BYTES // _MIB} MiB is comfortable"
    return Finding("memory", free >= _COMFORTABLE_BYTES, detail)


def _browser() -> Finding:
    path = shutil.which("chromium") or shutil.which("firefox")
    return Finding("browser", path is not None, path or "reports are files; open them elsewhere")
