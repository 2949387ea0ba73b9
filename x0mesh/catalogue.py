"""What a registered class says about itself: its summary, its page and its parameters.

The same words serve `x0mesh list`, `x0mesh list --markdown` and so the pages in docs/.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from x0mesh.scenarios.units import format_duration

_BY_EXAMPLE: Final = {
    "250ms": "duration",
    "5%": "percentage",
    "20/s": "rate",
    "10mbit": "bit rate",
    "1KiB": "size",
    "-30m": "signed duration",
}

_MOST_WORDS: Final = 8


@dataclass(frozen=True, slots=True)
class Parameter:
    """One key a scenario may write. `default` '' if it must be given."""

    name: str
    form: str
    default: str


def summary(item: object) -> str:
    """The first paragraph of its docstring, on one line."""
    return " ".join((inspect.getdoc(item) or "").split("\n\n")[0].split())


def page(item: object) -> str:
    """Its docstring, a paragraph a line."""
    paragraphs = (inspect.getdoc(item) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def parameters(model: type[BaseModel], without: tuple[str, ...] = ()) -> list[Parameter]:
    """Its fields as a scenario writes them, in order."""
    schema = model.model_json_schema()
    required = schema.get("required", [])
    defs = schema.get("$defs", {})
    found = []
    for name, field in schema.get("properties", {}).items():
        if name in without:
            continue
        form = _form(field, defs)
        default = "" if name in required else _default(field.get("default"), form)
        found.append(Parameter(name, form, default))
    return found


def _form(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "description" in field and "anyOf" in field:
        return str(field["description"])
    if "anyOf" in field:
        forms = [_form(f, defs) for f in field["anyOf"] if f.get("type") != "null"]
        return " or ".join(dict.fromkeys(forms))
    if "$ref" in field:
        named = defs[field["$ref"].removeprefix("#/$defs/")]
        if not named.get("properties"):
            return _form(named, defs)
        return f"{{{', '.join(named['properties'])}}}"
    if "enum" in field or "const" in field:
        words = field.get("enum", [field.get("const")])
        return " | ".join(map(str, words)) if len(words) <= _MOST_WORDS else "name"
    if example := field.get("examples"):
        return f"{_BY_EXAMPLE.get(example[0], 'text')}, like {example[0]}"
    if field.get("type") == "array":
        items = field.get("items", {})
        return f"list of {_form(items, defs)}" if items else "list"
    return {"integer": "whole number", "number": "number", "boolean": "true | false"}.get(
        field.get("type", ""), "text"
    ) + _bounds(field)


def _bounds(field: Mapping[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", at least {low}" if low else f", at most {high}" if high else ""


def _default(value: Any, form: str) -> str:
    if isinstance(value, Mapping | list):
        return _flow(value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if "duration" in form and isinstance(value, int):
        return format_duration(value)
    if "percentage" in form and isinstance(value, int | float):
        return f"{value * 100:g}%"
    if form.startswith("rate") and isinstance(value, int | float):
        return f"{value:g}/s"
    if form.startswith("size"):
        return f"{value}B"
    return str(value) if value != "" else "none"


def _flow(value: Any) -> str:
    """As a scenario would write it, without what is empty."""
    if isinstance(value, Mapping):
        inner = [f"{k}: {_flow(v)}" for k, v in value.items() if v not in (None, [], {}, "")]
        return f"{{{', '.join(inner)}}}" if inner else ""
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]" if value else ""
    return str(value)


def markdown_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A pipe table; cells that hold a pipe are escaped."""

    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(header), line(("---",) * len(header)), *map(line, rows)])
