"""Reading the file: where it is, how large it may be, and which syntax it has."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from x0mesh.scenarios.imports.base import FORMATS, ImportFormat, Syntax
from x0mesh.scenarios.imports.network import MAX_BYTES, TopologyFileError
from x0mesh.scenarios.registry import did_you_mean

MAX_YAML_BYTES = 2 * 2**20
_MAX_YAML_KEYS = 200_000
_MAGIC = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


def read_bytes(path: Path) -> bytes:
    """The file's bytes; TopologyFileError where it is missing, empty, binary or too large."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise TopologyFileError(f"cannot be read: {_missing(path, error)}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise TopologyFileError(f"is {kind}")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TopologyFileError(f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise TopologyFileError(f"is larger than {MAX_BYTES // 2**20} MiB, which is the limit")
    if not content.strip():
        raise TopologyFileError("is empty")
    for magic, name in _MAGIC.items():
        if content.startswith(magic):
            raise TopologyFileError(f"is compressed ({name}); unpack it first")
    if b"\0" in content[:65536]:
        raise TopologyFileError("is binary, not text")
    return content


def _missing(path: Path, error: Exception) -> str:
    if not isinstance(error, FileNotFoundError):
        return getattr(error, "strerror", None) or str(error)
    try:
        beside = sorted(entry.name for entry in path.parent.iterdir())[:1000]
    except OSError:
        return "no such directory"
    return f"no such file{did_you_mean(path.name, beside)}"


def syntax_of(content: bytes) -> Syntax:
    """By the first sign of the text, which is more reliable than the file's name."""
    first = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"<":
        return "xml"
    return "json" if first in (b"{", b"[") else "yaml"


def parse(content: bytes, syntax: Syntax) -> Any:
    """The document a format reads: parsed JSON or YAML; XML stays bytes."""
    if syntax == "xml":
        return content
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TopologyFileError(f"is not UTF-8 text (byte {error.start})") from None
    readers: dict[Syntax, Callable[[str], Any]] = {"json": _json, "yaml": _yaml}
    try:
        return readers[syntax](text)
    except RecursionError:
        raise TopologyFileError("is nested too deeply") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        what = "ends in the middle (truncated?)" if cut else "is not JSON"
        raise TopologyFileError(
            f"{what}: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except ValueError as error:
        raise TopologyFileError(f"is not JSON: {error}") from None


class _Loader(yaml.SafeLoader):
    """Refuses merge keys that multiply (a few lines can stand for billions of keys)."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MAX_YAML_KEYS:
            raise TopologyFileError(f"a mapping has more than {_MAX_YAML_KEYS} keys")


def _yaml(text: str) -> Any:
    if len(text) > MAX_YAML_BYTES:
        raise TopologyFileError(
            f"is larger than {MAX_YAML_BYTES // 2**20} MiB, which is the limit for YAML"
        )
    try:
        return yaml.load(text, Loader=_Loader)  # nosec B506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise TopologyFileError(f"is neither JSON, XML nor YAML: {where}{error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, TopologyFileError):
            raise
        first = str(error).splitlines()[0]
        raise TopologyFileError(f"is neither JSON, XML nor YAML: {first}") from None


def format_of(document: Any, syntax: Syntax, wanted: str | None) -> ImportFormat:
    """The format asked for, or the first that recognises the document."""
    if wanted is not None:
        if wanted not in FORMATS:
            known = ", ".join(FORMATS)
            raise TopologyFileError(f"unknown format '{wanted}'{FORMATS.hint(wanted)} ({known})")
        found = FORMATS[wanted]()
        if found.syntax != syntax:
            raise TopologyFileError(f"looks like {syntax.upper()}, but {wanted} is {found.syntax}")
        if not found.recognises(document):
            raise TopologyFileError(f"is not {wanted}")
        return found
    for name in sorted(FORMATS, key=lambda name: FORMATS[name].general):
        candidate = FORMATS[name]()
        if candidate.syntax == syntax and candidate.recognises(document):
            return candidate
    tried = ", ".join(name for name, one in FORMATS.items() if one.syntax == syntax)
    raise TopologyFileError(f"is {syntax.upper()}, but not a graph in a known format ({tried})")
