"""What a result says about where it came from: versions, host, capabilities."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from x0mesh import __version__
from x0mesh.doctor import examine
from x0mesh.reports import Environment

_LIBRARIES = ("simpy", "numpy", "scipy", "pandas", "pydantic", "networkx")


def describe(command: str) -> Environment:
    """Nothing here takes part in a fingerprint."""
    versions = {"x0mesh": __version__, "python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in _LIBRARIES}
    return Environment(
        versions=versions,
        host={
            "kernel": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
            "processors": os.cpu_count() or 0,
        },
        capabilities={finding.name: finding.found for finding in examine()},
        command=command,
    )
