"""`params`, `--set` and `--sweep`: values put into a scenario before it is validated.

`${name}` is replaced by the parameter; a value that is nothing but `${name}` keeps the
parameter's type. Nothing is evaluated, and parameters do not refer to each other.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from x0mesh.scenarios.problems import Problem, ScenarioError
from x0mesh.scenarios.registry import did_you_mean
from x0mesh.scenarios.yaml_reader import Mark, Path, Positions, read_yaml, resolve_plain

MAX_SWEEP = 10_000
MAX_SUBSTITUTED = 4096
"""Longest text a substitution may make."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PLACE = re.compile(r"\$(?:\$\{|\{([^}]*)(\}?))")


def parse_value(text: str, label: str) -> Any:
    """A value from the command line: flow YAML or quoted text if it begins so, else a scalar."""
    stripped = text.strip()
    if stripped[:1] in ("[", "{", '"', "'"):
        value, _, problems = read_yaml(stripped.encode(), label)
        if problems:
            raise ScenarioError(problems)
        return value
    try:
        return resolve_plain(stripped)
    except ValueError as error:
        raise ScenarioError([Problem(label, 1, 1, "", str(error))]) from None


def parse_sets(assignments: Sequence[str]) -> dict[str, str]:
    """`["size=16", ...]` to a mapping; ScenarioError for what is no `key=value` or comes twice."""
    sets: dict[str, str] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ScenarioError([Problem(f"--set {text}", 1, 1, "", "expected key=value")])
        if key in sets:
            raise ScenarioError([Problem(f"--set {text}", 1, 1, key, "is set twice")])
        sets[key] = value
    return sets


def _split(text: str) -> list[str]:
    """At commas outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in "[{":
            depth += 1
        elif c in "]}":
            depth -= 1
        elif c == "," and depth <= 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, text[start:]]]


def expand_sweep(sweeps: Sequence[str]) -> list[dict[str, str]]:
    """`["a=1,2", "b=x,y"]` to every combination as `--set` mappings, the last key fastest.

    No sweep gives one empty mapping. ScenarioError for empty values, repeats, or more than
    MAX_SWEEP combinations.
    """
    keys: dict[str, list[str]] = {}
    total = 1
    for text in sweeps:
        label = f"--sweep {text}"
        key, _, values = text.partition("=")
        key = key.strip()
        listed = _split(values)
        if not key or not all(listed):
            raise ScenarioError([Problem(label, 1, 1, "", "expected key=value,value,...")])
        if key in keys:
            raise ScenarioError([Problem(label, 1, 1, key, "is swept twice")])
        if len(set(listed)) != len(listed):
            raise ScenarioError([Problem(label, 1, 1, key, "the same value stands here twice")])
        keys[key] = listed
        total *= len(listed)
        if total > MAX_SWEEP:
            message = f"{total} combinations; at most {MAX_SWEEP}"
            raise ScenarioError([Problem(label, 1, 1, key, message)])
    return [dict(zip(keys, chosen, strict=True)) for chosen in itertools.product(*keys.values())]


class Overrides:
    """Applies `--set` to a file's values; remembers which paths and parameters it changed."""

    def __init__(self, raw: dict[str, Any], positions: Positions, sections: Sequence[str]) -> None:
        self.raw = raw
        self.positions = positions
        self.sections = sections
        self.problems: list[Problem] = []
        self.parameters: set[str] = set()
        self.paths: list[Path] = []

    def apply(self, sets: Mapping[str, str]) -> None:
        for key, text in sets.items():
            label = f"--set {key}={text}"
            try:
                value = parse_value(text, label)
            except ScenarioError as error:
                self.problems += error.problems
                continue
            params = self.raw.get("params")
            if isinstance(params, dict) and key in params:
                self.parameters.add(key)
                self._store(params, ("params",), key, value, label)
            elif key.split(".")[0] in self.sections:
                self._descend(key.split("."), value, label)
            else:
                known = [*(params if isinstance(params, dict) else ()), *self.sections]
                hint = did_you_mean(key.split(".")[0], known)
                message = f"no parameter or section '{key}'{hint}"
                self.problems.append(Problem(label, 1, 1, "", message))

    def _descend(self, words: list[str], value: Any, label: str) -> None:
        here: Any = self.raw
        path: Path = ()
        for depth, word in enumerate(words):
            last = depth == len(words) - 1
            step: str | int = word
            if isinstance(here, list):
                found = _index(here, word)
                if found is None:
                    ids = [str(i["id"]) for i in here if isinstance(i, dict) and "id" in i]
                    text = f"no entry '{word}' in {'.'.join(map(str, path))}"
                    self._refuse(label, text + did_you_mean(word, ids))
                    return
                step = found
            elif not isinstance(here, dict):
                self._refuse(label, f"{'.'.join(map(str, path))} is no mapping or list")
                return
            if last:
                self._store(here, path, step, value, label)
                return
            if isinstance(here, dict) and here.get(step) is None:
                here[step] = {}
                self.positions.values[*path, step] = self.positions.keys[*path, step] = (
                    label,
                    1,
                    1,
                )
            here = here[step]
            path = (*path, step)

    def _refuse(self, label: str, text: str) -> None:
        self.problems.append(Problem(label, 1, 1, "", text))

    def _store(self, into: Any, path: Path, step: str | int, value: Any, label: str) -> None:
        into[step] = value
        full = (*path, step)
        self.positions.forget(full)
        mark: Mark = (label, 1, 1)
        for p in _paths(value, full):
            self.positions.values[p] = mark
            self.positions.keys[p] = mark
        self.paths.append(full)


def _index(items: list[Any], word: str) -> int | None:
    """Position of the entry with this id, or written as a number."""
    for i, item in enumerate(items):
        if isinstance(item, dict) and item.get("id") == word:
            return i
    if word.isascii() and word.isdigit() and int(word) < len(items):
        return int(word)
    return None


def _paths(value: Any, path: Path) -> list[Path]:
    inside: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    return [path, *(p for step, item in inside for p in _paths(item, (*path, step)))]


def referenced(raw: Mapping[str, Any]) -> set[str]:
    """Names of all parameters that stand anywhere but under `params`."""
    substitution = Substitution({}, set())
    substitution.run(dict(raw))
    return substitution.named


class Substitution:
    """Replaces `${name}` everywhere but under `params`; `used` maps paths to parameters.

    `needed`: parameters that count as used although `--set` replaced what used them.
    """

    def __init__(self, params: Mapping[str, Any], needed: set[str]) -> None:
        self.params = params
        self.named = set(needed)
        self.used: dict[Path, tuple[str, ...]] = {}
        self.problems: list[tuple[Path, str]] = []
        self.key_problems: list[tuple[Path, str]] = []

    def run(self, raw: dict[str, Any]) -> dict[str, Any]:
        """A new mapping; mistakes are in `problems` and, about keys, in `key_problems`."""
        for name, value in self.params.items():
            if not _NAME.fullmatch(name):
                text = f"'{name}' is no parameter name: letters, digits, _ and -"
                self.key_problems.append((("params", name), text))
            for path in _paths(value, ("params", name)):
                if isinstance(at := _at(raw, path), str) and "${" in at:
                    text = "a parameter cannot refer to another one"
                    self.problems.append((path, text))
        result = {
            key: value if key == "params" else self._replace(value, (key,))
            for key, value in raw.items()
        }
        for name in self.params:
            if name not in self.named:
                text = f"parameter '{name}' is used nowhere (write ${{{name}}} where it belongs)"
                self.key_problems.append((("params", name), text))
        return result

    def _replace(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {k: self._replace(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self._replace(v, (*path, i)) for i, v in enumerate(value)]
        if not isinstance(value, str) or "$" not in value:
            return value
        whole = re.fullmatch(r"\$\{([^}]*)\}", value)
        if whole:
            return self._parameter(whole[1], path)
        text = _PLACE.sub(lambda match: self._inside(match, path), value)
        if len(text) > MAX_SUBSTITUTED:
            self.problems.append((path, f"longer than {MAX_SUBSTITUTED} characters"))
        return text

    def _parameter(self, name: str, path: Path) -> Any:
        self.named.add(name)
        if name not in self.params:
            hint = did_you_mean(name, list(self.params))
            self.problems.append((path, f"unknown parameter '{name}'{hint}"))
            return None
        self.used[path] = (*self.used.get(path, ()), name)
        return self.params[name]

    def _inside(self, match: re.Match[str], path: Path) -> str:
        if match[1] is None:
            return "${"
        if not match[2]:
            self.problems.append((path, "'${' without its '}'"))
            return ""
        value = self._parameter(match[1], path)
        if isinstance(value, dict | list):
            text = f"parameter '{match[1]}' is no single value, so it cannot stand inside text"
            self.problems.append((path, text))
        return str(value).lower() if isinstance(value, bool) else str(value)


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value
