"""The scenarios that come with x0mesh, found by name wherever the package is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from x0mesh.refusal import RefusedError
from x0mesh.scenarios.registry import did_you_mean

if TYPE_CHECKING:
    from x0mesh.scenarios.model import Scenario
    from x0mesh.scenarios.plan import EngineName

_SUFFIXES = (".yaml", ".yml")


def names() -> list[str]:
    """Names of the library's scenarios, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def find(name: str) -> Path:
    """The file called `name`, or the library's scenario of that name. Raises RefusedError."""
    path = Path(name)
    shipped = _folder() / f"{name}.yaml"
    # A folder may be called like a scenario, for example one with its results.
    if path.is_file() or (path.exists() and not shipped.is_file()):
        return path
    if path.suffix in _SUFFIXES or "/" in name:
        hint = did_you_mean(path.name, _files_beside(path))
        raise RefusedError(f"there is no file '{name}'{hint}")
    if shipped.is_file():
        return shipped
    hint = did_you_mean(name, [*names(), *_files_beside(path)])
    raise RefusedError(
        f"no file and no library scenario is called '{name}'{hint} (see: x0mesh list scenarios)"
    )


def load_scenario(name: str, sets: Mapping[str, str], replications: int | None = None) -> Scenario:
    """A scenario by path or library name. `replications` from the command line: claims that need
    more become inconclusive instead of mistakes. Raises RefusedError or ScenarioError."""
    from x0mesh.scenarios.loader import load
    from x0mesh.scenarios.planner import every_mistake
    from x0mesh.scenarios.problems import ScenarioError

    seeds: dict[EngineName, int] = {} if replications is None else {"sim": replications}
    try:
        return load(find(name), sets, seeds=seeds)
    except ScenarioError as error:
        raise every_mistake(error) from None


def _files_beside(path: Path) -> list[str]:
    try:
        return sorted(p.name for p in path.parent.iterdir() if p.suffix in _SUFFIXES)
    except OSError:
        return []


def _folder() -> Path:
    return Path(str(files("x0mesh.scenarios")))
