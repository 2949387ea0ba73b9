"""Mistakes that only planning finds are reported beside those that loading finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from x0mesh.scenarios.loader import loads
from x0mesh.scenarios.planner import every_mistake
from x0mesh.scenarios.problems import ScenarioError

HEAD = """schema: x0mesh.scenario/1
name: many
topology: {generator: {kind: ring, nodes: 6}}
"""


@pytest.fixture
def mistakes() -> Callable[[str], list[str]]:
    def found(text: str) -> list[str]:
        with pytest.raises(ScenarioError) as caught:
            loads(text, "m.yaml")
        return [str(problem) for problem in every_mistake(caught.value).problems]

    return found


def test_sections_selectors_and_metrics_in_one_go(mistakes: Callable[[str], list[str]]) -> None:
    found = mistakes(
        HEAD
        + """run: {warmpu: 5s}
timeline:
  - {id: bad, at: -2s, for: 1s, fault: link.down, target: {links: {pick: 1}}}
  - {id: cut, at: 2s, for: 1s, fault: link.down, target: {links: {between: [n0, n3]}}}
checks:
  - {id: c, kind: within, metric: heal.tme, limit: 500ms}
"""
    )
    assert [text.split(": ", 1)[0] for text in found] == [
        "m.yaml:4:7",
        "m.yaml:6:19",
        "m.yaml:7:66",
        "m.yaml:9:35",
    ]
    assert "matches no link" in found[2]


def test_what_hangs_on_an_unreadable_entry_is_not_a_mistake_of_its_own(
    mistakes: Callable[[str], list[str]],
) -> None:
    found = mistakes(
        HEAD
        + """timeline:
  - {id: bad, at: 2, for: 1s, fault: node.crash, target: {nodes: {pick: 1}}, as: victim}
  - {id: then, after: {event: bad.started, delay: 1s}, for: 1s, fault: node.pause,
     target: {nodes: "@victim"}}
"""
    )
    assert len(found) == 1
    assert found[0].startswith("m.yaml:5:19: timeline.0.at:")


def test_a_topology_that_cannot_be_read_is_not_planned(
    mistakes: Callable[[str], list[str]],
) -> None:
    text = HEAD.replace("kind: ring", "kind: rign") + "traffic: [{id: t, from: n0, to: n9}]\n"
    assert all("unknown node" not in found for found in mistakes(text))
