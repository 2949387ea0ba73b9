"""A Plan as JSON and back, without loss.

Dataclasses become objects, tuples arrays; where a field may hold one of several classes the
object names its own under `is`.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union

from x0mesh.scenarios.plan import Plan

_TAG = "is"


def plan_to_json(plan: Plan) -> str:
    """One line; equal plans give equal text."""
    return json.dumps(_plain(plan), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def plan_from_json(text: str) -> Plan:
    """Inverse of `plan_to_json`; ValueError where the text is none of its."""
    try:
        plan = _built(Plan, json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a plan: {error!r}") from error
    assert isinstance(plan, Plan)
    return plan


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        plain: dict[str, Any] = {_TAG: type(value).__name__}
        plain.update((field.name, _plain(getattr(value, field.name))) for field in fields(value))
        return plain
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _built(wanted: Any, plain: Any) -> Any:
    origin = typing.get_origin(wanted)
    if origin in (Union, types.UnionType):
        choices = typing.get_args(wanted)
        if plain is None and type(None) in choices:
            return None
        if isinstance(plain, dict):
            return _built({c.__name__: c for c in choices}[plain[_TAG]], plain)
        return _built(next(c for c in choices if c is not type(None)), plain)
    if origin is tuple:
        if not isinstance(plain, list):
            raise TypeError(f"expected a list, got {plain!r}")
        of = typing.get_args(wanted)
        if len(of) == 2 and of[1] is Ellipsis:
            return tuple(_built(of[0], item) for item in plain)
        return tuple(_built(t, item) for t, item in zip(of, plain, strict=True))
    if origin is Literal:
        if plain not in typing.get_args(wanted):
            raise ValueError(f"not a plan: {plain!r} is none of {typing.get_args(wanted)}")
        return plain
    if is_dataclass(wanted):
        if plain[_TAG] != wanted.__name__:  # type: ignore[union-attr]
            raise ValueError(f"not a plan: expected {wanted}, got {plain[_TAG]!r}")
        assert isinstance(wanted, type)
        hints = _hints(wanted)
        return wanted(**{k: _built(hints[k], v) for k, v in plain.items() if k != _TAG})
    if wanted is float and type(plain) is int:
        return float(plain)
    if wanted is not Any and type(plain) is not wanted:
        raise TypeError(f"expected {wanted}, got {plain!r}")
    return plain
