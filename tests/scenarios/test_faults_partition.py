from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from x0mesh.scenarios.actions import LinkBlock
from x0mesh.scenarios.faults import FAULTS
from x0mesh.scenarios.plan import Step

EU, US = ("n0", "n1", "n2"), ("n3", "n4", "n5")


@pytest.mark.parametrize(
    ("direction", "n2_n3", "n5_n0"),
    [("both", "both", "both"), ("out", "forward", "backward"), ("in", "backward", "forward")],
)
def test_a_partition_blocks_the_links_between_the_groups(
    steps_of: Any, direction: str, n2_n3: Any, n5_n0: Any
) -> None:
    assert steps_of("net.partition", {"direction": direction}, groups=(EU, US)) == (
        Step(0, LinkBlock("n2-n3", n2_n3, "drop")),
        Step(0, LinkBlock("n5-n0", n5_n0, "drop")),
    )


def test_queue_mode_holds_and_releases_in_the_order_asked(steps_of: Any) -> None:
    steps = steps_of(
        "net.partition", {"mode": "queue", "release": "shuffle"}, groups=(("n0",), ("n1",))
    )
    assert steps == (Step(0, LinkBlock("n0-n1", "both", "queue", "shuffle")),)


def test_three_groups_are_cut_from_each_other_and_a_node_in_none_keeps_its_links(
    steps_of: Any,
) -> None:
    steps = steps_of("net.partition", groups=(("n0", "n1"), ("n2", "n3"), ("n4",)))
    assert [step.action.link for step in steps] == ["n1-n2", "n3-n4"]


def test_a_node_in_two_groups_bridges_them(steps_of: Any) -> None:
    steps = steps_of("net.partition", groups=(("n0", "n1", "n2", "n3"), ("n3", "n4", "n5")))
    assert [step.action.link for step in steps] == ["n5-n0"]


def test_groups_without_a_link_between_them_are_refused(steps_of: Any) -> None:
    with pytest.raises(ValueError, match="nothing is cut"):
        steps_of("net.partition", groups=(("n0",), ("n3",)))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mode": "reject"}, "drop"),
        ({"direction": "forward"}, "in"),
        ({"release": "fifo"}, "release goes with mode: queue"),
    ],
)
def test_impossible_partitions_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FAULTS["net.partition"].model_validate(parameters)
