"""The scenarios that come with x0mesh, found by name wherever the package is installed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from x0mesh.refusal import RefusedError
from x0mesh.scenarios.registry import did_you_mean

_SUFFIXES = (".yaml", ".yml")


def names() -> list[str]:
    """Names of the library's scenarios, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def find(name: str) -> Path:
    """The file called `name`, or the library's scenario of that name. Raises RefusedError."""
    path = Path(name)
    if path.exists():
        return path
    if path.suffix in _SUFFIXES or "/" in name:
        hint = did_you_mean(path.name, _files_beside(path))
        raise RefusedError(f"there is no file '{name}'{hint}")
    shipped = _folder() / f"{name}.yaml"
    if shipped.exists():
        return shipped
    hint = did_you_mean(name, [*names(), *_files_beside(path)])
    raise RefusedError(
        f"no file and no library scenario is called '{name}'{hint} (see: x0mesh list scenarios)"
    )


def _files_beside(path: Path) -> list[str]:
    try:
        return sorted(p.name for p in path.parent.iterdir() if p.suffix in _SUFFIXES)
    except OSError:
        return []


def _folder() -> Path:
    return Path(str(files("x0mesh.scenarios")))
