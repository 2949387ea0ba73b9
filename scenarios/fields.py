"""Field types that every part of the scenario language shares.

All models are frozen, refuse unknown keys and are filled by the words of the file (aliases), so
`for:` is `for_` in Python and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError, ValidationError

from x0mesh.scenarios.plan import EngineName

Op = Literal["==", "!=", "<", "<=", ">", ">="]
ENGINES: tuple[EngineName, ...] = ("sim", "emulation")


class Section(BaseModel):
    """A mapping of the scenario file."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)


Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)]
"""An id: lower-case letters, digits and dashes."""

Name = Annotated[str, Field(pattern=r"^[^\s@*${}][^\n\r]*$", max_length=200)]
"""A node, link, region or label name as the topology's source writes it."""

Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True, ge=0, le=2**53)]
Positive = Annotated[int, Field(strict=True, ge=1, le=2**53)]


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {value!r}")
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]


def _unique(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(value)) != len(value):
        raise ValueError("the same name stands here twice")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Slugs = Annotated[
    tuple[Slug, ...],
    BeforeValidator(_listed),
    AfterValidator(_unique),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""One id or a list of ids."""

Engines = Annotated[tuple[EngineName, ...], Field(min_length=1), AfterValidator(_unique)]

FaultEdge = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*\.(started|ended)$")]
"""`<fault id>.started` or `<fault id>.ended`."""


def edge(text: str) -> tuple[str, Literal["started", "ended"]]:
    """Fault id and edge of a `FaultEdge`."""
    fault, _, which = text.rpartition(".")
    return fault, "started" if which == "started" else "ended"


def mistakes(value: Any, *found: tuple[tuple[str | int, ...], str]) -> ValidationError:
    """For a model validator: (path inside the model, message) pairs, each at its own position."""
    return ValidationError.from_exception_data(
        "scenario",
        [
            {
                "type": PydanticCustomError("scenario", "{text}", {"text": text}),
                "loc": path,
                "input": value,
            }
            for path, text in found
        ],
    )
