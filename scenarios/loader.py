"""From a scenario file to a Scenario, or to every mistake in it at once.

Read, apply `--set`, put parameters in, validate each section, check the sections against each
other. Every mistake has the file, line and column of what was written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from x0mesh.scenarios.cross_checks import Names, cross_checks, duplicate_ids
from x0mesh.scenarios.fields import ENGINES
from x0mesh.scenarios.json_schema import json_schema
from x0mesh.scenarios.key_hints import key_hint
from x0mesh.scenarios.model import SCHEMA, Scenario
from x0mesh.scenarios.parameters import (
    Overrides,
    Substitution,
    expand_sweep,
    parse_sets,
    referenced,
)
from x0mesh.scenarios.plan import EngineName
from x0mesh.scenarios.problems import Problem, ScenarioError, once_per_place
from x0mesh.scenarios.registry import did_you_mean
from x0mesh.scenarios.yaml_reader import MAX_BYTES, Mark, Path, Positions, read_yaml

SECTIONS = tuple(spec.alias or name for name, spec in Scenario.model_fields.items())


def load(
    path: str | os.PathLike[str],
    sets: Mapping[str, str] | None = None,
    *,
    seeds: Mapping[EngineName, int] | None = None,
    working_dir: str | os.PathLike[str] | None = None,
) -> Scenario:
    """The scenario in a file, with `--set` values and replication counts from the command line.

    Raises ScenarioError with all problems, OSError never: a file that cannot be read is a
    problem, too.
    """
    file = os.fspath(path)
    content = _content(file)
    base_dir = FilePath(file).parent
    return loads(content, file, base_dir, sets, seeds=seeds, working_dir=working_dir)


def _content(file: str) -> bytes:
    """The file's bytes; ScenarioError when it cannot be read or is too large."""
    try:
        with FilePath(file).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
            size = max(len(content), os.fstat(stream.fileno()).st_size)
    except OSError as error:
        text = f"cannot be read: {error.strerror or error}"
        raise ScenarioError([Problem(file, 1, 1, "", text)]) from None
    except ValueError as error:
        raise ScenarioError([Problem(file, 1, 1, "", f"cannot be read: {error}")]) from None
    if size > MAX_BYTES:
        text = f"the file has {size} bytes; a scenario has at most {MAX_BYTES} (1 MiB)"
        raise ScenarioError([Problem(file, 1, 1, "", text)])
    return content


def loads(
    content: bytes | str,
    source: str = "<scenario>",
    base_dir: str | os.PathLike[str] = ".",
    sets: Mapping[str, str] | None = None,
    *,
    seeds: Mapping[EngineName, int] | None = None,
    working_dir: str | os.PathLike[str] | None = None,
) -> Scenario:
    """As `load`, from the text itself; files it names are relative to `base_dir`."""
    content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    raw, positions, problems = read_yaml(content, source)
    if not isinstance(raw, dict):
        text = f"a scenario is a mapping that begins with 'schema: {SCHEMA}'"
        raise ScenarioError([*problems, Problem(source, 1, 1, "", text)])
    loading = _Loading(raw, positions, problems)
    here = FilePath(working_dir) if working_dir is not None else FilePath()
    folder = FilePath(base_dir)

    def placed(scenario: Scenario, places: Positions) -> Scenario:
        import_dir = here if loading.from_command_line(("topology", "import")) else folder
        return scenario.placed(loading.raw, source, folder, import_dir, places)

    try:
        scenario = loading.scenario(dict(sets or {}), dict(seeds or {}))
    except ScenarioError as error:
        if loading.partial is not None:
            places = _Remaining(positions.file, positions.values, positions.keys, loading.origin)
            error.partial = placed(loading.partial, places)
        raise
    return placed(scenario, positions)


def with_checks(scenario: Scenario, path: str | os.PathLike[str], replications: int) -> Scenario:
    """`scenario` with the `checks:` and `steady_state:` of another file instead of its own.

    `replications` are those that were run: claims that need more become inconclusive. Raises
    ScenarioError with places in that file.
    """
    source = os.fspath(path)
    raw, positions, problems = read_yaml(_content(source), source)
    if not isinstance(raw, dict) or not raw:
        text = "expected a mapping with checks: or steady_state:"
        raise ScenarioError([*problems, Problem(source, 1, 1, "", text)])
    for key in raw:
        if key not in _JUDGED:
            text = f"unknown key '{key}'{did_you_mean(str(key), list(_JUDGED))}"
            problems.append(positions.problem((key,), text, key=True))
    judged = {key: raw[key] for key in _JUDGED if key in raw}
    kept = {key: value for key, value in scenario.raw.items() if key not in _JUDGED}
    loading = _Loading(kept | judged, positions, problems)
    seeds: dict[EngineName, int] = {"sim": replications, "emulation": replications}
    made = loading.scenario({}, seeds)
    return made.placed(
        loading.raw, scenario.source, scenario.base_dir, scenario.import_dir, positions
    )


_JUDGED = ("checks", "steady_state")


@dataclass(slots=True)
class _Loading:
    """One file on its way to a Scenario."""

    raw: dict[str, Any]
    positions: Positions
    problems: list[Problem]
    used: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    set_paths: list[Path] = field(default_factory=list)
    set_parameters: set[str] = field(default_factory=set)
    referenced: set[str] = field(default_factory=set)
    partial: Scenario | None = None
    origin: dict[str, list[int]] = field(default_factory=dict)

    def scenario(self, sets: dict[str, str], seeds: dict[EngineName, int]) -> Scenario:
        self._override(sets, seeds)
        self._substitute()
        for path, message in duplicate_ids(self.raw):
            self._problem(path, message)
        scenario, origin = self._validated()
        if scenario is not None:
            names = Names.of(self.raw)
            counted = not any(self.from_command_line(("run", "seeds", e)) for e in ENGINES)
            for path, message in cross_checks(scenario, names, counted):
                self._problem(_original(path, origin), message)
        if self.problems or scenario is None:
            if scenario is not None and scenario.topology.import_ != _STAND_IN_IMPORT:
                self.partial, self.origin = scenario, origin
            raise ScenarioError(once_per_place(self.problems))
        return scenario

    def from_command_line(self, path: Path) -> bool:
        """The value at `path` was set there, directly or by a parameter."""
        direct = any(path[: len(p)] == p for p in self.set_paths)
        return direct or any(name in self.set_parameters for name in self.used.get(path, ()))

    def _problem(self, path: Path, message: str, key: bool = False) -> None:
        names = self.used.get(path)
        if names:
            values = ", ".join(f"{n} = {self.raw['params'].get(n)!r}" for n in names)
            message += f" (parameter {values})"
        self.problems.append(self.positions.problem(path, message, key))

    def _override(self, sets: dict[str, str], seeds: dict[EngineName, int]) -> None:
        self.referenced = referenced(self.raw)
        overrides = Overrides(self.raw, self.positions, SECTIONS)
        overrides.apply(sets)
        overrides.apply({f"run.seeds.{engine}": str(n) for engine, n in seeds.items()})
        self.problems += overrides.problems
        self.set_paths, self.set_parameters = overrides.paths, overrides.parameters

    def _substitute(self) -> None:
        params = self.raw.get("params")
        substitution = Substitution(params if isinstance(params, dict) else {}, self.referenced)
        self.raw = substitution.run(self.raw)
        self.used = substitution.used
        for path, message in substitution.problems:
            self.problems.append(self.positions.problem(path, message))
        for path, message in substitution.key_problems:
            self.problems.append(self.positions.problem(path, message, key=True))

    def _validated(self) -> tuple[Scenario | None, dict[str, list[int]]]:
        """The scenario without what could not be read, and where its list entries stood."""
        data: dict[str, Any] = dict(self.raw)
        origin = {
            name: list(range(len(items))) for name, items in data.items() if isinstance(items, list)
        }
        first = True
        for _ in range(len(data) + 2):
            try:
                return Scenario.model_validate(data), origin
            except ValidationError as error:
                found = error.errors(include_url=False, include_input=False)
                if first:
                    for item in found:
                        self._schema_problem(item)
                first = False
                if not _prune(data, origin, [tuple(item["loc"]) for item in found]):
                    break
        return None, origin

    def _schema_problem(self, error: Any) -> None:
        path = _written_path(self.raw, tuple(error["loc"]))
        message = str(error["msg"]).removeprefix("Value error, ")
        match error["type"]:
            case "extra_forbidden":
                hint = key_hint(self.raw, path)
                self._problem(path, f"unknown key '{path[-1]}'{hint}", key=True)
            case "missing":
                word = tuple(error["loc"])[-1]
                what = "an entry" if isinstance(word, int) else word
                self._problem((*path, word), f"{what} is missing")
            case _:
                self._problem(path, message[:1].lower() + message[1:])


def _written_path(raw: Any, loc: tuple[Any, ...]) -> Path:
    """`loc` without what pydantic adds to it: union tags, and a field that is not there."""
    path: list[str | int] = []
    here = raw
    for step in loc:
        in_mapping = isinstance(here, dict) and isinstance(step, str) and step in here
        in_list = isinstance(here, list) and isinstance(step, int) and step < len(here)
        if in_mapping or in_list:
            here = here[step]
            path.append(step)
    return tuple(path)


def _prune(data: dict[str, Any], origin: dict[str, list[int]], locs: list[tuple[Any, ...]]) -> bool:
    """Leaves out what is wrong, so that the rest can be checked; False: nothing is left to do."""
    dropped = False
    entries = {loc[:2] for loc in locs if len(loc) > 1 and isinstance(data.get(loc[0]), list)}
    for section in sorted({section for section, _ in entries}):
        kept = [i for i in range(len(data[section])) if (section, i) not in entries]
        data[section] = [data[section][i] for i in kept]
        origin[section] = [origin[section][i] for i in kept]
        dropped = True
    for section in dict.fromkeys(loc[0] for loc in locs if loc and loc[:2] not in entries):
        if section in data and section not in ("schema", "name", "topology"):
            del data[section]
            dropped = True
        elif section in _STAND_IN and data.get(section) != _STAND_IN[section]:
            data[section] = _STAND_IN[section]
            dropped = True
    return dropped


_STAND_IN_IMPORT = "stand-in"
_STAND_IN: dict[str, Any] = {
    "schema": SCHEMA,
    "name": "unnamed",
    "topology": {"import": _STAND_IN_IMPORT},
}
"""In place of a required section with mistakes, while the others are checked."""


def _original(path: Path, origin: dict[str, list[int]]) -> Path:
    if len(path) > 1 and isinstance(path[0], str) and isinstance(path[1], int):
        return (path[0], origin[path[0]][path[1]], *path[2:])
    return path


class _Remaining(Positions):
    """Places of a scenario without some list entries; `origin` says where the others were."""

    def __init__(
        self,
        file: str,
        values: dict[Path, Mark],
        keys: dict[Path, Mark],
        origin: dict[str, list[int]],
    ) -> None:
        super().__init__(file, values, keys)
        self.origin = origin

    def problem(self, path: Path, message: str, key: bool = False) -> Problem:
        return super().problem(_original(path, self.origin), message, key)


__all__ = ["SECTIONS", "expand_sweep", "json_schema", "load", "loads", "parse_sets", "with_checks"]
