"""Figures in words, for reasons, terminals and pages: rounded for reading, never for judging."""

from __future__ import annotations

import math

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_BITS = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1.0, ""))


def figure(value: float | None, unit: str = "count") -> str:
    """A value in its metric's unit: '312 ms', '98.2 %', '≥ 5 s' is left to the caller."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    match unit:
        case "s":
            return _scaled(value, _SECONDS)
        case "B":
            return _scaled(value, _BYTES)
        case "bit/s":
            return _scaled(value, _BITS)
        case "ratio":
            return _ratio(value)
        case _:
            return _scaled(value, _COUNTS)


def _ratio(value: float) -> str:
    percent = value * 100
    text = f"{percent:.4g}"
    # 99.999 % must not read as all.
    if percent != 100 and text == "100":
        text = f"{math.floor(percent * 1e4) / 1e4:.10g}"
    return f"{text} %"


def _scaled(value: float, table: tuple[tuple[float, str], ...]) -> str:
    if value == 0:
        return f"0 {'s' if table is _SECONDS else table[-1][1]}".strip()
    scale, unit = next((row for row in table if abs(value) >= row[0] * 0.9995), table[-1])
    return f"{_digits(value / scale)} {unit}".strip()


def _digits(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}"


def count(n: int, one: str, many: str = "") -> str:
    """'1 sample', '3 samples'."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def listed(names: list[str], most: int = 3) -> str:
    """'a, b, c and 4 more'."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
