"""Marks for pydantic fields whose written form pydantic cannot know: they only touch the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class OneOfNames:
    """A name out of a registry, looked up when the schema is made."""

    names: Callable[[], Iterable[str]]

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": sorted(self.names())}


@dataclass(frozen=True)
class OrForm:
    """Another form that may be written as well."""

    form: Callable[[], dict[str, Any]]

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(core), self.form()]}


@dataclass(frozen=True)
class KeysOf:
    """The keys a mapping may have."""

    names: Callable[[], Iterable[str]]

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(core), "propertyNames": {"enum": sorted(self.names())}}
