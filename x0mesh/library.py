"""The scenarios that come with x0mesh, found by name wherever the package is installed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from x0mesh.scenarios.registry import did_you_mean


class UnknownScenarioError(Exception):
    """Neither a file nor a scenario of the library."""


def names() -> list[str]:
    """Names of the library's scenarios, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def find(name: str) -> Path:
    """The file called `name`, or the library's scenario of that name."""
    path = Path(name)
    if path.exists() or path.suffix or "/" in name:
        return path
    shipped = _folder() / f"{name}.yaml"
    if shipped.exists():
        return shipped
    hint = did_you_mean(name, names())
    raise UnknownScenarioError(f"no file and no library scenario is called '{name}'{hint}")


def _folder() -> Path:
    return Path(str(files("x0mesh.scenarios")))
