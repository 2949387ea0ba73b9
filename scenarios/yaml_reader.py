"""YAML text to plain values, with the place of every key and value.

The YAML 1.2 core schema (no `on`, no sexagesimal numbers), one document, no duplicate keys, no
tags, anchors, aliases or merge keys. Keys are the text that was written.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from x0mesh.scenarios.problems import Problem, ScenarioError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 40

Path = tuple[str | int, ...]
Mark = tuple[str, int, int]
"""File, line and column, the latter two from 1."""

_NULL = re.compile(r"^(?:null|Null|NULL|~|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_NOT_FINITE = re.compile(r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$")
_LONGEST_NUMBER = 40


def resolve_plain(text: str) -> Any:
    """An unquoted scalar by the YAML 1.2 core schema (s.10.3.2); ValueError unless finite."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text[0] in "tT"
    is_int = _INT.match(text)
    if is_int or _FLOAT.match(text):
        if len(text) > _LONGEST_NUMBER:
            raise ValueError(f"a number of {len(text)} characters is too long")
        if is_int:
            return int(text, {"o": 8, "x": 16}.get(text[1:2], 10))
        number = float(text)
        if math.isinf(number):
            raise ValueError(f"the number {text} is too large")
        return number
    if _NOT_FINITE.match(text):
        raise ValueError(f"expected a finite number, got {text}")
    return text


@dataclass(slots=True)
class Positions:
    """Where keys and values stand, by path."""

    file: str
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)

    def of(self, path: Path, key: bool = False) -> Mark:
        """Place of the value (or key) at `path`, or of what holds it if it is not written."""
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (self.file, 1, 1))

    def problem(self, path: Path, message: str, key: bool = False) -> Problem:
        """A mistake in the value (or key) at `path`."""
        file, line, column = self.of(path, key)
        return Problem(file, line, column, ".".join(map(str, path)), message)

    def forget(self, path: Path) -> None:
        """Drops everything at and under `path`."""
        for table in (self.values, self.keys):
            for known in [p for p in table if p[: len(path)] == path]:
                del table[known]


@dataclass(slots=True)
class _Open:
    """A collection being read: `key` is the mapping's current key, None before one."""

    path: Path
    value: dict[str, Any] | list[Any]
    line: int
    key: str | None = None
    skip_value: bool = False


class _Reader:
    def __init__(self, file: str) -> None:
        self.positions = Positions(file)
        self.problems: list[Problem] = []
        self.open: list[_Open] = []
        self.root: Any = None
        self.documents = 0

    def problem(self, event: Any, path: Path, message: str) -> None:
        mark = event.start_mark
        where = ".".join(map(str, path))
        file = self.positions.file
        self.problems.append(Problem(file, mark.line + 1, mark.column + 1, where, message))

    def _mark(self, event: Any) -> Mark:
        return self.positions.file, event.start_mark.line + 1, event.start_mark.column + 1

    def path_of_next(self) -> Path:
        if not self.open:
            return ()
        top = self.open[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return top.path if top.key is None else (*top.path, top.key)

    def put(self, event: Any, value: Any) -> None:
        """Stores a finished scalar or a collection that begins."""
        path = self.path_of_next()
        if not self.open:
            self.root = value
            self.positions.values[path] = self._mark(event)
            return
        top = self.open[-1]
        if isinstance(top.value, list):
            self.positions.values[path] = self._mark(event)
            top.value.append(value)
        elif top.skip_value:
            top.skip_value, top.key = False, None
        else:
            assert top.key is not None
            self.positions.values[path] = self._mark(event)
            top.value[top.key] = value
            top.key = None

    def key(self, event: Any) -> None:
        top = self.open[-1]
        assert isinstance(top.value, dict)
        name = event.value
        path = (*top.path, name)
        top.key = name
        if name == "<<" and not event.style:
            self.problem(event, top.path, "merge keys (<<) are not supported; use params")
            top.skip_value = True
        elif name in top.value:
            first = self.positions.keys[path][1]
            self.problem(event, top.path, f"duplicate key '{name}', first on line {first}")
            top.skip_value = True
        else:
            self.positions.keys[path] = self._mark(event)

    def expects_key(self) -> bool:
        return (
            bool(self.open)
            and isinstance(self.open[-1].value, dict)
            and (self.open[-1].key is None)
        )

    def scalar(self, event: Any) -> None:
        self.no_extras(event)
        if self.expects_key():
            self.key(event)
            return
        value = event.value
        if event.implicit[0] and not event.style:
            try:
                value = resolve_plain(event.value)
            except ValueError as error:
                self.problem(event, self.path_of_next(), str(error))
                value = None
        self.put(event, value)

    def no_extras(self, event: Any) -> None:
        if getattr(event, "tag", None) is not None:
            text = f"tags ({event.tag}) are not supported; quote text instead"
            self.problem(event, self.path_of_next(), text)
        if getattr(event, "anchor", None) is not None:
            text = f"anchors (&{event.anchor}) and aliases are not supported; use params"
            self.problem(event, self.path_of_next(), text)

    def begin(self, event: Any, value: dict[str, Any] | list[Any]) -> None:
        self.no_extras(event)
        if self.expects_key():
            self.problem(event, self.path_of_next(), "a key must be text")
            raise ScenarioError(self.problems)
        if len(self.open) >= MAX_DEPTH:
            text = f"nested deeper than {MAX_DEPTH} levels"
            self.problem(event, (), text)
            raise ScenarioError(self.problems)
        path = self.path_of_next()
        skipped = bool(self.open) and self.open[-1].skip_value
        self.put(event, value)
        # What stands under a duplicate key is read, for its mistakes, but kept nowhere.
        self.open.append(
            _Open((*path, "(duplicate)") if skipped else path, value, event.start_mark.line + 1)
        )

    def take(self, event: Any) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self.problem(event, (), "a second document; one scenario a file")
                    raise ScenarioError(self.problems)
            case yaml.AliasEvent():
                text = f"aliases (*{event.anchor}) are not supported; use params"
                self.problem(event, self.path_of_next(), text)
                if self.expects_key():
                    raise ScenarioError(self.problems)
                self.put(event, None)
            case yaml.ScalarEvent():
                self.scalar(event)
            case yaml.MappingStartEvent():
                self.begin(event, {})
            case yaml.SequenceStartEvent():
                self.begin(event, [])
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.open.pop()
            case _:
                pass


def _text_of(content: bytes, file: str) -> str:
    if len(content) > MAX_BYTES:
        text = f"the file has {len(content)} bytes; a scenario has at most {MAX_BYTES} (1 MiB)"
        raise ScenarioError([Problem(file, 1, 1, "", text)])
    bad = content.find(0)
    reason = "a NUL byte"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        if bad < 0 or error.start < bad:
            bad, reason = error.start, f"byte 0x{content[error.start]:02x}"
        text = ""
    if bad >= 0:
        before = content[:bad]
        line = before.count(b"\n") + 1
        column = bad - (before.rfind(b"\n") + 1) + 1
        message = f"not a text file in UTF-8: {reason} here"
        raise ScenarioError([Problem(file, line, column, "", message)])
    return text.removeprefix("\ufeff")


def _yaml_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = error.problem or "cannot be read"
        if error.context:
            start = error.context_mark
            since = f" begun on line {start.line + 1}" if start else ""
            message += f" ({error.context}{since})"
        return Problem(file, line, column, "", f"not YAML: {message}")
    position = getattr(error, "position", 0)
    before = text.encode()[:position].decode(errors="ignore")
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    reason = getattr(error, "reason", "cannot be read")
    return Problem(file, line, column, "", f"not YAML: {reason}")


def read_yaml(content: bytes, file: str) -> tuple[Any, Positions, list[Problem]]:
    """Value, positions, and mistakes after which reading could go on.

    Raises ScenarioError for what cannot be read at all: too large, no text, no YAML, empty.
    """
    text = _text_of(content, file)
    reader = _Reader(file)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            reader.take(event)
    except yaml.YAMLError as error:
        problem = _yaml_problem(error, text, file)
        if reader.open and problem.line > text.rstrip().count("\n") + 1:
            inside = f"; the file ends inside what begins on line {reader.open[-1].line}"
            problem = replace(problem, message=problem.message + inside)
        raise ScenarioError([*reader.problems, problem]) from None
    if reader.documents == 0:
        raise ScenarioError([Problem(file, 1, 1, "", "the file is empty")])
    return reader.root, reader.positions, reader.problems
