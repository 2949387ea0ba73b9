"""What this host can and cannot do, and what a missing capability costs."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from x0mesh.campaign import available_cpus

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """One capability. `needed`: without it nothing runs."""

    name: str
    found: bool
    detail: str
    needed: bool = False


def examine() -> list[Finding]:
    """Everything x0mesh would use, found or missing. Looks only; changes nothing."""
    return [
        Finding(
            "python", sys.version_info >= (3, 11), sys.version.split()[0] + ", 3.11 or newer", True
        ),
        *(_library(name) for name in ("simpy", "numpy", "scipy", "pyarrow", "matplotlib")),
        _topohub(),
        Finding("processors", True, f"{available_cpus()} for replications (-j)"),
        _memory(),
        Finding("simulator", True, "engine sim"),
        Finding("emulation", False, "engine emulation is not part of this version; sim runs alone"),
        _browser(),
    ]


def free_memory_bytes() -> int:
    """MemAvailable of the host."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _library(name: str) -> Finding:
    try:
        import_module(name)
    except ImportError as error:
        return Finding(name, False, str(error), True)
    return Finding(name, True, metadata.version(name), True)


def _topohub() -> Finding:
    try:
        return Finding("topohub", True, metadata.version("topohub"))
    except metadata.PackageNotFoundError:
        return Finding("topohub", False, "no `import: topohub:...` topologies")


def _memory() -> Finding:
    free = free_memory_bytes()
    return Finding("memory", free > 512 * _MIB, f"{free // _MIB} MiB free, 512 MiB is comfortable")


def _browser() -> Finding:
    path = shutil.which("chromium") or shutil.which("firefox")
    return Finding("browser", path is not None, path or "reports are files; open them elsewhere")
