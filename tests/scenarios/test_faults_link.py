from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from x0mesh.scenarios.actions import LinkBlock, LinkDown
from x0mesh.scenarios.faults import FAULTS
from x0mesh.scenarios.plan import Step

MS = 1_000_000
S = 1_000 * MS


def test_link_down_takes_every_chosen_link_until_the_faults_end(steps_of: Any) -> None:
    assert steps_of("link.down", links=("n0-n1", "n3-n4")) == (
        Step(0, LinkDown("n0-n1")),
        Step(0, LinkDown("n3-n4")),
    )


def test_flapping_links_without_jitter_flap_in_step(steps_of: Any) -> None:
    steps = steps_of(
        "link.flap",
        {"up": "300ms", "down": "200ms"},
        links=("n0-n1", "n1-n2"),
        duration_ns=1100 * MS,
    )
    assert steps == (
        Step(0, LinkDown("n0-n1"), 200 * MS),
        Step(0, LinkDown("n1-n2"), 200 * MS),
        Step(500 * MS, LinkDown("n0-n1"), 700 * MS),
        Step(500 * MS, LinkDown("n1-n2"), 700 * MS),
        Step(1000 * MS, LinkDown("n0-n1")),
        Step(1000 * MS, LinkDown("n1-n2")),
    )


def test_jitter_moves_each_flap_within_its_bounds_and_links_apart(steps_of: Any) -> None:
    steps = steps_of(
        "link.flap",
        {"up": "300ms", "down": "200ms", "jitter": "50ms"},
        links=("n0-n1", "n1-n2"),
        duration_ns=20 * S,
    )
    by_link = {
        link: [s for s in steps if s.action == LinkDown(link)] for link in ("n0-n1", "n1-n2")
    }
    for flaps in by_link.values():
        downs = [s.until_ns - s.offset_ns for s in flaps if s.until_ns is not None]
        ups = [b.offset_ns - a.until_ns for a, b in pairwise(flaps)]
        assert all(150 * MS <= down <= 250 * MS for down in downs)
        assert all(250 * MS <= up <= 350 * MS for up in ups)
        assert len(set(downs)) > 10
    first, second = by_link.values()
    assert [s.offset_ns for s in first] != [s.offset_ns for s in second]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"up": "300ms"}, "down"),
        ({"up": "0s", "down": "1s"}, "longer than 0s"),
        ({"up": "1s", "down": "100ms", "jitter": "100ms"}, "jitter must be shorter"),
        ({"up": "1s", "down": "1s", "jitte": "1ms"}, "jitte"),
        ({"up": 1, "down": "1s"}, "such as '250ms'"),
    ],
)
def test_impossible_flaps_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FAULTS["link.flap"].model_validate(parameters)


def test_a_flap_of_nanoseconds_is_refused_before_it_fills_the_memory(steps_of: Any) -> None:
    with pytest.raises(ValueError, match="more than 100000 flaps"):
        steps_of("link.flap", {"up": "1ns", "down": "1ns"}, links=("n0-n1",))


def test_a_blackhole_keeps_carrier_and_can_be_one_way(steps_of: Any) -> None:
    assert steps_of("link.blackhole", {"direction": "backward"}, links=("n0-n1",)) == (
        Step(0, LinkBlock("n0-n1", "backward", "drop")),
    )
    assert steps_of("link.blackhole", links=("n0-n1",)) == (
        Step(0, LinkBlock("n0-n1", "both", "drop")),
    )


def test_a_clog_holds_packets_for_the_whole_fault(steps_of: Any) -> None:
    assert steps_of("net.clog", {"release": "lifo"}, links=("n0-n1",)) == (
        Step(0, LinkBlock("n0-n1", "both", "queue", "lifo")),
    )


def test_a_clog_with_hold_opens_in_between(steps_of: Any) -> None:
    clog = LinkBlock("n0-n1", "both", "queue", "shuffle")
    steps = steps_of(
        "net.clog",
        {"hold": "200ms", "gap": "50ms", "release": "shuffle"},
        links=("n0-n1",),
        duration_ns=600 * MS,
    )
    assert steps == (
        Step(0, clog, 200 * MS),
        Step(250 * MS, clog, 450 * MS),
        Step(500 * MS, clog),
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"hold": "0s"}, "longer than 0s"), ({"gap": "0s"}, "longer"), ({"release": "any"}, "fifo")],
)
def test_impossible_clogs_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FAULTS["net.clog"].model_validate(parameters)


def test_too_many_holds_are_refused(steps_of: Any) -> None:
    with pytest.raises(ValueError, match="more than 100000 holds"):
        steps_of("net.clog", {"hold": "1ns", "gap": "1ns"}, links=("n0-n1",))
