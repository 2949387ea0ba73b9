from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from x0mesh.scenarios.actions import LinkAction, LinkBlock, LinkDown, NodeSlow
from x0mesh.scenarios.faults import FAULTS
from x0mesh.scenarios.faults.swarm import drawable
from x0mesh.scenarios.topology import Topology

MS = 1_000_000
S = 1_000 * MS
ALL = ("n0", "n1", "n2", "n3", "n4", "n5")


def test_another_seed_is_another_swarm_and_the_same_seed_the_same(steps_of: Any) -> None:
    swarms = {seed: steps_of("composite.swarm", nodes=ALL, seed=seed) for seed in range(10)}
    assert len(set(swarms.values())) == 10
    assert swarms[3] == steps_of("composite.swarm", nodes=ALL, seed=3)


def test_over_seeds_a_swarm_uses_every_action_and_every_target(
    steps_of: Any, ring: Topology
) -> None:
    steps = [
        step
        for seed in range(40)
        for step in steps_of("composite.swarm", {"intensity": "2/s"}, nodes=ALL, seed=seed)
    ]
    assert {type(step.action).__name__ for step in steps} == {
        "LinkDown", "LinkBlock", "LinkImpair", "NodeStop", "NodePause", "NodeSlow", "NodeDrain",
    }  # fmt: skip
    hit = {s.action.link if isinstance(s.action, LinkAction) else s.action.node for s in steps}
    assert hit == set(ring.nodes) | set(ring.links)
    factors = {step.action.factor for step in steps if isinstance(step.action, NodeSlow)}
    assert len(factors) > 10


def test_a_swarm_stays_within_its_target_and_its_time(steps_of: Any) -> None:
    for seed in range(20):
        steps = steps_of("composite.swarm", nodes=("n0", "n1"), seed=seed)
        assert steps
        for step in steps:
            on_link = isinstance(step.action, LinkAction)
            assert step.action.link == "n0-n1" if on_link else step.action.node in ("n0", "n1")
            assert 0 <= step.offset_ns < 10 * S
            assert step.until_ns is None or step.offset_ns < step.until_ns < 10 * S


def test_links_as_target_get_link_faults_only(steps_of: Any) -> None:
    for seed in range(10):
        steps = steps_of("composite.swarm", links=("n0-n1", "n3-n4"), seed=seed)
        assert {step.action.link for step in steps} <= {"n0-n1", "n3-n4"}


def test_named_kinds_only(steps_of: Any) -> None:
    steps = steps_of(
        "composite.swarm",
        {"faults": ["link.down"], "intensity": "3/s", "shortest": "1s", "longest": "2s"},
        nodes=ALL,
        duration_ns=100 * S,
    )
    assert {type(step.action) for step in steps} == {LinkDown}
    assert 200 < len(steps) < 400
    lasting = [s.until_ns - s.offset_ns for s in steps if s.until_ns is not None]
    assert all(S <= ns <= 2 * S for ns in lasting)


def test_drawn_partitions_always_cut_something(steps_of: Any) -> None:
    for seed in range(20):
        steps = steps_of("composite.swarm", {"faults": ["net.partition"]}, nodes=ALL, seed=seed)
        cut = Counter(step.offset_ns for step in steps)
        assert cut
        assert all(isinstance(step.action, LinkBlock) for step in steps)
        assert all(links == 2 for links in cut.values())


def test_arming_leaves_kinds_out_of_a_seed(steps_of: Any) -> None:
    kinds = ["link.down", "node.slow"]
    seen = Counter(
        frozenset(
            type(step.action).__name__
            for step in steps_of(
                "composite.swarm", {"faults": kinds, "intensity": "5/s"}, nodes=ALL, seed=seed
            )
        )
        for seed in range(60)
    )
    assert set(seen) == {
        frozenset({"LinkDown"}),
        frozenset({"NodeSlow"}),
        frozenset({"LinkDown", "NodeSlow"}),
    }


@pytest.mark.parametrize("kind", drawable())
def test_drawn_parameters_are_always_valid(kind: str, steps_of: Any) -> None:
    for seed in range(30):
        assert steps_of("composite.swarm", {"faults": [kind]}, nodes=ALL, seed=seed)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"faults": []}, "at least 1"),
        ({"faults": ["link.dwn"]}, "did you mean 'link.down'"),
        ({"faults": ["net.trace"]}, "cannot be drawn"),
        ({"faults": ["identity.revoke"]}, "cannot be drawn"),
        ({"faults": ["link.down", "link.down"]}, "twice"),
        ({"intensity": "0/s"}, "above 0/s"),
        ({"shortest": "2s", "longest": "1s"}, "at most longest"),
        ({"shortest": "0s"}, "above 0s"),
    ],
)
def test_impossible_swarms_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FAULTS["composite.swarm"].model_validate(parameters)


def test_swarms_that_cannot_act_are_refused(steps_of: Any) -> None:
    with pytest.raises(ValueError, match="none of the faults fits"):
        steps_of("composite.swarm", {"faults": ["node.crash"]}, links=("n0-n1",))
    with pytest.raises(ValueError, match="more than 10000 faults"):
        steps_of("composite.swarm", {"intensity": "100000/s"}, nodes=ALL)
