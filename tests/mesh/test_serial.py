"""Serial arithmetic: order at and across the wrap."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh.serial import SERIAL_BITS, compare, successor

LAST = (1 << SERIAL_BITS) - 1
HALF = 1 << (SERIAL_BITS - 1)
serials = st.integers(0, LAST)


@pytest.mark.parametrize(
    ("newer", "older"),
    [(1, 0), (0, LAST), (5, LAST - 5), (HALF, 1), (LAST, HALF), (HALF - 1, 0), (0, HALF + 1)],
)
def test_newer_across_the_wrap(newer, older):
    assert compare(newer, older) == 1
    assert compare(older, newer) == -1


def test_exactly_half_apart_is_still_an_order():
    assert compare(HALF, 0) == 1
    assert compare(0, HALF) == -1


def test_the_number_after_the_last_is_zero_and_newer():
    assert successor(LAST) == 0
    assert compare(successor(LAST), LAST) == 1


@settings(derandomize=True, max_examples=200)
@given(serials, serials)
def test_two_nodes_never_disagree(a, b):
    assert compare(a, b) == -compare(b, a)
    assert (compare(a, b) == 0) == (a == b)


@settings(derandomize=True, max_examples=200)
@given(serials, st.integers(1, HALF - 1))
def test_whatever_comes_up_to_half_the_space_later_is_newer(a, steps):
    assert compare((a + steps) & LAST, a) == 1
