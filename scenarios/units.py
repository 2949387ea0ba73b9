"""Quantities with mandatory units, as pydantic types.

`Duration` is integer ns, `Size` integer bytes, `BitRate` integer bit/s, `EventRate` a float per
second, `Ratio` a float in 0..1 written as a percentage.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_DURATION = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SIZE = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BIT_RATE = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_EVENT_RATE = {"/s": 1.0, "/m": 1 / 60, "/h": 1 / 3600}
_LIMIT = 2**62

PERCENTAGE = r"^([0-9]+(?:\.[0-9]+)?)\s*%$"


def _pattern(table: dict[str, Any]) -> str:
    units = "|".join(sorted((re.escape(u) for u in table), key=len, reverse=True))
    return rf"^([0-9]+(?:\.[0-9]+)?)\s*({units})$"


def _quantity(table: dict[str, Any], what: str, example: str) -> Callable[[Any], float]:
    rx = re.compile(_pattern(table))

    def parse(value: Any) -> float:
        match = rx.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            negative = isinstance(value, str) and rx.fullmatch(value.removeprefix("-"))
            if negative or (isinstance(value, int | float) and value < 0):
                raise ValueError(f"{what} cannot be negative, got {value!r}")
            raise ValueError(f"expected a {what} such as {example}, got {value!r}")
        number: float = float(match[1]) * table[match[2]]
        if number > _LIMIT:
            raise ValueError(f"{what} {value!r} is too large")
        return number

    return parse


def _whole(parse: Callable[[Any], float]) -> Callable[[Any], int]:
    return lambda value: round(parse(value))


parse_duration = _whole(_quantity(_DURATION, "duration", "'250ms' or '5s'"))
parse_size = _whole(_quantity(_SIZE, "size", "'256B' or '1KiB'"))
parse_bit_rate = _whole(_quantity(_BIT_RATE, "rate", "'10mbit'"))
parse_event_rate = _quantity(_EVENT_RATE, "rate", "'20/s'")


def parse_ratio(value: Any) -> float:
    match = re.fullmatch(PERCENTAGE, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a percentage such as '5%', got {value!r}")
    ratio = float(match[1]) / 100
    if ratio > 1:
        raise ValueError(f"a percentage is at most 100%, got {value!r}")
    return ratio


def _parse_count(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a number without a unit, got {value!r}")
    return float(value)


_SI: dict[str, Callable[[Any], float]] = {
    "s": lambda value: parse_duration(value) / 10**9,
    "ratio": parse_ratio,
    "count": _parse_count,
    "B": lambda value: float(parse_size(value)),
    "bit/s": lambda value: float(parse_bit_rate(value)),
}


def parse_si(unit: str, value: Any) -> float:
    """A figure as the scenario writes it (250ms, 5%, 12, 4KiB, 10mbit) in the SI unit `unit`."""
    return _SI[unit](value)


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Duration = Annotated[int, BeforeValidator(parse_duration), _schema(_pattern(_DURATION), "250ms")]
Size = Annotated[int, BeforeValidator(parse_size), _schema(_pattern(_SIZE), "1KiB")]
BitRate = Annotated[int, BeforeValidator(parse_bit_rate), _schema(_pattern(_BIT_RATE), "10mbit")]
EventRate = Annotated[
    float, BeforeValidator(parse_event_rate), _schema(_pattern(_EVENT_RATE), "20/s")
]
Ratio = Annotated[float, BeforeValidator(parse_ratio), _schema(PERCENTAGE, "5%")]


def format_duration(ns: int) -> str:
    """Shortest exact form that `Duration` reads back."""
    for unit in ("h", "m", "s", "ms", "us"):
        if ns and ns % _DURATION[unit] == 0:
            return f"{ns // _DURATION[unit]}{unit}"
    return f"{ns}ns" if ns else "0s"
