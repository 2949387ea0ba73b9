"""From a scenario's text to its verdict, through every room: what a user would be told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from x0mesh import sim
from x0mesh.reports import Judgement, judge
from x0mesh.scenarios.loader import loads
from x0mesh.scenarios.planner import make_plan

RING = """
schema: x0mesh.scenario/1
name: ring
run: {{warmup: 5s, chaos: {chaos}, settle: 4s, seeds: {{base: 1, sim: 3}}}}
topology: {{generator: {{kind: ring, nodes: 6}}}}
protocol: {{liveness: {{interval: 50ms, multiplier: 3}}}}
traffic: [{{id: probes, from: n0, to: n2, kind: cbr, rate: 200/s, size: 128B}}]
timeline: [{timeline}]
steady_state: [{{id: all-reach, metric: reachability.ratio, op: "==", value: 100%}}]
checks: [{check}]
"""
SILENT_CUT = (
    "{id: cut, at: 1s, for: 3s, fault: link.blackhole, target: {links: {between: [n1, n2]}}}"
)
HEALS = "{id: heals, kind: within, metric: heal.time, limit: 160ms}"


@pytest.fixture
def verdict() -> Callable[..., Judgement]:
    def run(timeline: str = SILENT_CUT, check: str = HEALS, chaos: str = "6s") -> Judgement:
        scenario = loads(RING.format(timeline=timeline, check=check, chaos=chaos))
        plans = [make_plan(scenario, i) for i in range(scenario.run.seeds.sim)]
        return judge(scenario, plans, [sim.run(plan) for plan in plans])

    return run


def test_a_ring_heals_a_silent_cut_by_its_explicit_backup_path(
    verdict: Callable[..., Judgement],
) -> None:
    """A ring of six has almost no loop-free alternate, and SPF waits at least 50 ms more."""
    judgement = verdict()
    assert judgement.verdict == "pass", judgement.reasons
    heal = judgement.metrics["heal.time"]["sim"]
    # Detection needs more than two intervals (RFC 5880 s.6.8.4); less would be another fault.
    assert heal.n == 3
    assert 0.095 < heal.min <= (heal.max or 1) <= 0.160


def test_a_limit_nobody_can_hold_fails_with_seed_and_replay(
    verdict: Callable[..., Judgement],
) -> None:
    judgement = verdict(check="{id: heals, kind: within, metric: heal.time, limit: 50ms}")
    assert judgement.verdict == "fail"
    (check,) = [c for c in judgement.checks if c.id == "heals"]
    assert check.finding.worst_seed in (1, 2, 3)
    assert f"--seed {check.finding.worst_seed}" in check.replay
    assert judgement.exit_code == 1


def test_a_fault_that_changed_nothing_is_never_a_pass(verdict: Callable[..., Judgement]) -> None:
    """The second cut meets a link that the first already holds down."""
    twice = (
        "{id: cut, at: 1s, for: 3s, fault: link.down, target: {links: {between: [n1, n2]}}}, "
        "{id: again, at: 2s, for: 1s, fault: link.down, target: {links: {between: [n1, n2]}}}"
    )
    judgement = verdict(timeline=twice, check="{id: c, kind: never, event: run.aborted}")
    assert judgement.verdict == "inconclusive"
    assert any("again" in reason for reason in judgement.reasons)
    assert judgement.exit_code == 3


def test_a_state_that_never_comes_leaves_the_run_inconclusive(
    verdict: Callable[..., Judgement],
) -> None:
    waiting = (
        "{id: cut, when: {metric: reachability.ratio, op: '<', value: 50%, give_up: 1s}, for: 1s, "
        "fault: link.down, target: {links: {between: [n1, n2]}}}"
    )
    judgement = verdict(timeline=waiting, check="{id: c, kind: never, event: run.aborted}")
    assert judgement.verdict == "inconclusive"
    assert any("not-fired" in reason for reason in judgement.reasons)


def test_fingerprints_tell_runs_of_one_seed_apart() -> None:
    """A fingerprint is of what happened, not of the seed."""
    prints = set()
    for duration in ("3s", "2s"):
        timeline = SILENT_CUT.replace("for: 3s", f"for: {duration}")
        scenario = loads(RING.format(timeline=timeline, check=HEALS, chaos="6s"))
        prints.add(sim.run(make_plan(scenario, 0)).fingerprint)
    assert len(prints) == 2


def test_a_one_way_link_carries_no_traffic_and_heals(verdict: Callable[..., Judgement]) -> None:
    one_way = (
        "{id: deaf, at: 1s, for: 3s, fault: net.partition, target: {groups: [n1, n2]}, "
        "with: {direction: out}}"
    )
    judgement = verdict(timeline=one_way)
    assert judgement.verdict == "pass", judgement.reasons
