"""Quantities carry units, and nothing else passes for one."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from x0mesh.scenarios.units import (
    BitRate,
    Duration,
    EventRate,
    Ratio,
    Size,
    format_duration,
    parse_duration,
    parse_si,
)


class Quantities(BaseModel):
    duration: Duration = 0
    size: Size = 0
    bits: BitRate = 0
    events: EventRate = 0.0
    ratio: Ratio = 0.0


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("duration", "250ms", 250_000_000),
        ("duration", "0.2ms", 200_000),
        ("duration", "1.5 h", 5_400_000_000_000),
        ("duration", "7ns", 7),
        ("duration", "2m", 120_000_000_000),
        ("size", "256B", 256),
        ("size", "1KiB", 1024),
        ("size", "1kB", 1000),
        ("bits", "10mbit", 10_000_000),
        ("bits", "1.5gbit", 1_500_000_000),
        ("events", "20/s", 20.0),
        ("events", "90/m", 1.5),
        ("ratio", "5%", 0.05),
        ("ratio", "100 %", 1.0),
        ("ratio", "0%", 0.0),
    ],
)
def test_reads_a_figure_with_its_unit(field: str, text: str, value: float) -> None:
    assert getattr(Quantities.model_validate({field: text}), field) == value


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("duration", 5, "expected a duration such as '250ms' or '5s', got 5"),
        ("duration", "5", "expected a duration"),
        ("duration", "5 sec", "expected a duration"),
        ("duration", "-5s", "duration cannot be negative"),
        ("duration", -5, "duration cannot be negative"),
        ("duration", True, "expected a duration"),
        ("duration", None, "expected a duration"),
        ("duration", "1e3s", "expected a duration"),
        ("duration", "99999999999h", "too large"),
        ("duration", "٣s", "expected a duration"),
        ("duration", "5s\n", "expected a duration"),
        ("size", "1kb", "expected a size"),
        ("bits", "10mb", "expected a rate such as '10mbit'"),
        ("events", "20", "expected a rate such as '20/s'"),
        ("ratio", 0.05, "expected a percentage such as '5%'"),
        ("ratio", "101%", "a percentage is at most 100%"),
        ("ratio", "-1%", "expected a percentage"),
        ("ratio", "٥%", "expected a percentage"),
    ],
)
def test_refuses_a_figure_without_its_unit_and_says_what_it_wants(
    field: str, value: Any, says: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Quantities.model_validate({field: value})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("unit", "text", "value"),
    [
        ("s", "250ms", 0.25),
        ("ratio", "98%", 0.98),
        ("count", 12, 12.0),
        ("B", "4KiB", 4096.0),
        ("bit/s", "10mbit", 1e7),
    ],
)
def test_a_limit_is_written_in_the_unit_of_its_metric(unit: str, text: Any, value: float) -> None:
    assert parse_si(unit, text) == value


@pytest.mark.parametrize("value", ["12", True, float("nan"), float("inf"), None, [1]])
def test_a_count_is_a_plain_finite_number(value: Any) -> None:
    with pytest.raises(ValueError, match="expected a number without a unit"):
        parse_si("count", value)


@settings(derandomize=True, max_examples=200)
@given(st.integers(0, 2**53))
def test_a_formatted_duration_reads_back_exactly(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns


@settings(derandomize=True, max_examples=200)
@given(st.text(max_size=20) | st.integers() | st.floats() | st.none() | st.lists(st.text()))
def test_anything_else_is_a_value_error(value: Any) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_duration(value) <= 2**62
