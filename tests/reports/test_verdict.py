from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from x0mesh.reports import Judgement, exit_code, judge
from x0mesh.scenarios.checks import CHECKS, Check
from x0mesh.scenarios.record import Evidence

STEADY = {"id": "all-reach", "metric": "reachability.ratio", "op": "==", "value": "100%"}


def heals(limit: str = "500ms", **more: Any) -> dict[str, Any]:
    return {"id": "heals", "kind": "within", "metric": "heal.time", "limit": limit, **more}


def runs(bench: Any, n: int, **more: Any) -> list[Any]:
    return [bench.healed_cut(seed, **more) for seed in range(1, n + 1)]


def judged(scenario: Any, builts: list[Any]) -> Judgement:
    return judge(scenario, [b.plan for b in builts], [b.record for b in builts])


def only(judgement: Judgement) -> Any:
    [check] = judgement.checks
    return check


# ---- within


def test_a_mesh_that_heals_in_time_passes(bench: Any, scenario_of: Any) -> None:
    result = judged(scenario_of(checks=[heals()]), runs(bench, 3))
    assert result.verdict == "pass"
    assert result.exit_code == 0
    assert result.reasons == []
    check = only(result)
    assert (check.finding.n, check.finding.statistic) == (3, pytest.approx(0.3))


def test_a_late_heal_fails_with_its_seed_and_replay(bench: Any, scenario_of: Any) -> None:
    builts = [bench.healed_cut(1), bench.healed_cut(2, heal_ms=900), bench.healed_cut(3)]
    result = judge(
        scenario_of(checks=[heals()]),
        [b.plan for b in builts],
        [b.record for b in builts],
        "x0mesh run ring.yaml --set limit=1",
    )
    check = only(result)
    assert (result.verdict, result.exit_code) == ("fail", 1)
    assert check.finding.worst_seed == 2
    assert check.replay == "x0mesh run ring.yaml --set limit=1 --engine sim --seed 2"
    assert [run.verdict for run in result.runs] == ["pass", "fail", "pass"]
    assert "900 ms" in result.runs[1].reason
    assert "seed 2" in result.reasons[0]


def test_never_healed_fails_once_it_lasted_longer_than_the_limit(
    bench: Any, scenario_of: Any
) -> None:
    builts = runs(bench, 2)
    builts[1].lose(bench.cut, bench.end)
    result = judged(scenario_of(checks=[heals()]), builts)
    assert only(result).verdict == "fail"
    assert "at least" in only(result).finding.reason


def test_a_censored_sample_below_the_limit_leaves_it_open(bench: Any, scenario_of: Any) -> None:
    built = bench.build().lose(bench.cut, bench.end)
    result = judged(scenario_of(checks=[heals("60s")]), [built])
    assert only(result).verdict == "inconclusive"
    assert result.exit_code == 3


def test_no_heal_to_judge_is_inconclusive_and_says_that_nothing_was_lost(
    bench: Any, scenario_of: Any
) -> None:
    result = judged(scenario_of(checks=[heals()]), [bench.build(1), bench.build(2)])
    assert result.exit_code == 3
    assert "2 pairs of fault and flow lost no probe" in only(result).finding.reason


@pytest.mark.parametrize(("n", "verdict"), [(58, "inconclusive"), (59, "pass")])
def test_a_p95_at_95_percent_takes_59_replications(
    bench: Any, scenario_of: Any, n: int, verdict: str
) -> None:
    across = {"stat": "p95", "confidence": "95%"}
    result = judged(scenario_of(checks=[heals(across=across)]), runs(bench, n))
    assert result.verdict == verdict
    if verdict == "inconclusive":
        assert "needs 59" in only(result).finding.reason
    else:
        assert only(result).finding.interval[1] == pytest.approx(0.3)


def test_a_quantile_below_the_limit_with_a_bound_above_it_is_inconclusive(
    bench: Any, scenario_of: Any
) -> None:
    builts = runs(bench, 59)
    builts[7] = bench.healed_cut(8, heal_ms=900)
    across = {"stat": "p95", "confidence": "95%"}
    result = judged(scenario_of(checks=[heals(across=across)]), builts)
    assert only(result).verdict == "inconclusive"
    assert "900 ms" in only(result).finding.reason


def test_without_a_confidence_a_quantile_is_about_these_runs_only(
    bench: Any, scenario_of: Any
) -> None:
    builts = runs(bench, 20)
    builts[7] = bench.healed_cut(8, heal_ms=900)
    result = judged(scenario_of(checks=[heals(across={"stat": "p95"})]), builts)
    assert result.verdict == "pass"


def test_scope_narrows_to_a_fault(bench: Any, scenario_of: Any) -> None:
    second = bench.cut_fault("second", bench.cut + 2 * bench.s, bench.s)
    built = bench.build(faults=(bench.cut_fault(), second))
    built.lose(bench.cut, bench.cut + 900 * bench.ms)
    struck = bench.cut + 2 * bench.s
    built.lose(struck, struck + 100 * bench.ms)
    timeline = [
        {
            "id": fault,
            "at": "2s",
            "for": "1s",
            "fault": "link.down",
            "target": {"links": {"pick": 1}},
        }
        for fault in ("cut", "second")
    ]
    scenario = scenario_of(timeline=timeline, checks=[heals(scope={"faults": ["second"]})])
    assert judged(scenario, [built]).verdict == "pass"


# ---- never, always, sometimes


def test_one_event_in_one_seed_refutes_never(bench: Any, scenario_of: Any) -> None:
    never = {"id": "quiet", "kind": "never", "event": "liveness.down", "where": {"node": "n2"}}
    builts = runs(bench, 3)
    assert judged(scenario_of(checks=[never]), builts).verdict == "pass"
    builts[1].event(5 * bench.s, "n2", "liveness.down", link="n2-n3", peer="n3")
    result = judged(scenario_of(checks=[never]), builts)
    assert (result.verdict, only(result).finding.worst_seed) == ("fail", 2)
    assert only(result).finding.seconds == 5.0


def test_where_resolves_bound_names_and_negation(bench: Any, scenario_of: Any) -> None:
    built = bench.healed_cut()
    built.plan = replace(built.plan, bindings=(("traitor", ("n0", "n3")),))
    named = {"id": "a", "kind": "never", "event": "liveness.down", "where": {"node": "@traitor"}}
    negated = {
        "id": "b",
        "kind": "never",
        "event": "liveness.down",
        "where": {"link": {"not": "n0-n1"}},
    }
    result = judged(scenario_of(checks=[named, negated]), [built])
    assert [c.verdict for c in result.checks] == ["fail", "pass"]


def test_never_from_a_moment_on_needs_that_moment(bench: Any, scenario_of: Any) -> None:
    never = {
        "id": "n",
        "kind": "never",
        "event": "liveness.down",
        "from": {"event": "cut.started", "grace": "1s"},
    }
    built = bench.healed_cut()
    assert judged(scenario_of(checks=[never]), [built]).verdict == "pass"
    built.record.faults.clear()
    built.plan = replace(built.plan, faults=())
    assert judged(scenario_of(checks=[never]), [built]).verdict == "inconclusive"


def test_packets_that_were_not_recorded_cannot_show_that_none_was_accepted(
    bench: Any, scenario_of: Any
) -> None:
    never = {
        "id": "n",
        "kind": "never",
        "event": "packet.accepted",
        "where": {"peer": "mallory"},
    }
    built = bench.healed_cut()
    assert judged(scenario_of(checks=[never]), [built]).verdict == "inconclusive"
    built.event(5 * bench.s, "n0", "packet.accepted", peer="n1")
    assert judged(scenario_of(checks=[never]), [built]).verdict == "pass"


def test_a_rate_claim_takes_the_replications_that_carry_it(bench: Any, scenario_of: Any) -> None:
    never = {
        "id": "n",
        "kind": "never",
        "event": "session.refused",
        "across": {"at_most": "10%"},
    }
    few = judged(scenario_of(checks=[never]), runs(bench, 28))
    assert few.verdict == "inconclusive"
    assert "needs 29" in only(few).finding.reason
    assert judged(scenario_of(checks=[never]), runs(bench, 29)).verdict == "pass"


def test_always_over_time_names_the_moment_it_broke(bench: Any, scenario_of: Any) -> None:
    always = {
        "id": "a",
        "kind": "always",
        "metric": "reachability.ratio",
        "op": ">=",
        "value": "60%",
    }
    result = judged(scenario_of(checks=[always]), runs(bench, 2))
    assert (result.verdict, only(result).finding.seconds) == ("fail", 4.0)
    assert "50 % for 300 ms, at 4 s" in only(result).finding.reason


def test_sometimes_guards_against_vacuous_runs(bench: Any, scenario_of: Any) -> None:
    felt = {
        "id": "felt",
        "kind": "sometimes",
        "metric": "reachability.ratio",
        "op": "<",
        "value": "100%",
        "at_least": "90%",
    }
    builts = runs(bench, 10)
    assert judged(scenario_of(checks=[felt]), builts).verdict == "pass"
    for built in builts[:2]:
        built.record.series[0].values[:] = 1.0
    result = judged(scenario_of(checks=[felt]), builts)
    assert (result.verdict, only(result).finding.worst_seed) == ("fail", 1)
    assert only(result).finding.statistic == 0.8


def test_sometimes_at_a_confidence_needs_more_than_the_share_seen(
    bench: Any, scenario_of: Any
) -> None:
    felt = {
        "id": "felt",
        "kind": "sometimes",
        "event": "liveness.down",
        "at_least": "90%",
        "confidence": "95%",
    }
    assert judged(scenario_of(checks=[felt]), runs(bench, 28)).verdict == "inconclusive"
    assert judged(scenario_of(checks=[felt]), runs(bench, 29)).verdict == "pass"


# ---- slo


def test_a_mean_over_time_weighs_by_time(bench: Any, scenario_of: Any) -> None:
    slo = {
        "id": "s",
        "kind": "slo",
        "metric": "reachability.ratio",
        "op": ">=",
        "value": "98%",
        "across": {"stat": "mean"},
    }
    result = judged(scenario_of(checks=[slo]), runs(bench, 3))
    # 0.3 s at 50 % of 13 s judged.
    assert only(result).finding.statistic == pytest.approx(1 - 0.15 / 13)
    assert result.verdict == "pass"


def test_a_mean_with_confidence_is_bounded_by_a_bootstrap_over_replications(
    bench: Any, scenario_of: Any
) -> None:
    slo = {
        "id": "s",
        "kind": "slo",
        "metric": "traffic.delivered_ratio",
        "op": ">=",
        "value": "97%",
        "across": {"stat": "mean", "confidence": "95%"},
    }
    nine = judged(scenario_of(checks=[slo]), runs(bench, 9))
    assert (nine.verdict, "needs 10" in only(nine).finding.reason) == ("inconclusive", True)
    ten = judged(scenario_of(checks=[slo]), runs(bench, 10))
    assert ten.verdict == "pass"
    varied = [bench.healed_cut(i, heal_ms=10 if i % 2 else 700) for i in range(1, 11)]
    open_ = judged(scenario_of(checks=[slo]), varied)
    assert only(open_).finding.statistic > 0.97
    assert (open_.verdict, "bound" in only(open_).finding.reason) == ("inconclusive", True)


def test_a_scope_that_a_metric_does_not_have_is_inconclusive_and_said(
    bench: Any, scenario_of: Any
) -> None:
    slo = {
        "id": "s",
        "kind": "slo",
        "metric": "control.messages",
        "op": "<",
        "value": 1000,
        "scope": {"traffic": ["probe"]},
    }
    traffic = [{"id": "probe", "from": "n0", "to": "n2", "kind": "cbr", "rate": "10/s"}]
    result = judged(scenario_of(checks=[slo], traffic=traffic), runs(bench, 1))
    assert result.verdict == "inconclusive"
    assert "scope cannot name traffic" in only(result).finding.reason


# ---- steady state, evidence, engines


def test_unsteady_after_warmup_is_inconclusive_and_its_samples_do_not_count(
    bench: Any, scenario_of: Any
) -> None:
    builts = runs(bench, 2)
    builts[0].record.series[0].values[1] = 0.9
    result = judged(scenario_of(steady_state=[STEADY], checks=[heals()]), builts)
    assert result.exit_code == 3
    assert [run.verdict for run in result.runs] == ["inconclusive", "pass"]
    assert result.checks[0].kind == "steady_state"
    assert result.checks[1].finding.n == 1


def test_unsteady_after_settle_fails(bench: Any, scenario_of: Any) -> None:
    builts = runs(bench, 2)
    builts[1].record.series[0].values[-1] = 0.9
    result = judged(scenario_of(steady_state=[STEADY]), builts)
    assert (result.verdict, only(result).finding.worst_seed) == ("fail", 2)
    assert result.runs[1].verdict == "fail"


def test_a_steady_state_that_was_not_recorded_is_inconclusive(bench: Any, scenario_of: Any) -> None:
    builts = runs(bench, 1)
    builts[0].record.series.clear()
    assert judged(scenario_of(steady_state=[STEADY]), builts).verdict == "inconclusive"


@pytest.mark.parametrize("status", ["mismatch", "not-fired"])
def test_a_fault_without_evidence_makes_the_run_inconclusive_by_name(
    bench: Any, scenario_of: Any, status: Any
) -> None:
    builts = runs(bench, 3)
    builts[1].record.faults[0].evidence = [
        Evidence("link down", "n0-n1", status, "carrier was still up")
    ]
    result = judged(scenario_of(checks=[heals()]), builts)
    assert (result.verdict, result.exit_code) == ("inconclusive", 3)
    assert result.runs[1].verdict == "inconclusive"
    assert "cut" in result.reasons[0]
    assert "carrier was still up" in result.reasons[0]
    assert result.faults[0].evidence == status


def test_a_fault_the_engine_forgot_is_a_mismatch(bench: Any, scenario_of: Any) -> None:
    builts = runs(bench, 1)
    builts[0].record.faults.clear()
    assert judged(scenario_of(), builts).verdict == "inconclusive"


def test_a_counter_example_outranks_a_fault_without_evidence(bench: Any, scenario_of: Any) -> None:
    builts = [bench.healed_cut(1), bench.healed_cut(2, heal_ms=900)]
    builts[0].record.faults[0].evidence = [Evidence("a", "b", "mismatch", "c")]
    result = judged(scenario_of(checks=[heals()]), builts)
    assert (result.verdict, result.exit_code) == ("fail", 1)


def unarmed(bench: Any, seed: int) -> Any:
    fault = replace(bench.cut_fault("rare"), armed=False)
    built = bench.build(seed, faults=(bench.cut_fault(), fault))
    return built.lose(bench.cut, bench.cut + 100 * bench.ms)


def test_a_fault_left_out_by_one_seed_is_fine_left_out_by_all_is_inconclusive(
    bench: Any, scenario_of: Any
) -> None:
    armed = bench.build(3, faults=(bench.cut_fault(), bench.cut_fault("rare", 9 * bench.s, None)))
    armed.lose(bench.cut, bench.cut + 100 * bench.ms)
    some = judged(scenario_of(checks=[heals()]), [unarmed(bench, 1), armed])
    assert some.verdict == "pass"
    none = judged(scenario_of(checks=[heals()]), [unarmed(bench, 1), unarmed(bench, 2)])
    assert none.verdict == "inconclusive"
    assert "rare" in none.reasons[0]
    assert none.faults[1].evidence == "not-armed"


def test_a_fault_skipped_on_this_engine_is_noted_and_does_no_harm(
    bench: Any, scenario_of: Any
) -> None:
    built = bench.healed_cut()
    skipped = replace(bench.cut_fault("replay"), skip=(("sim", "has no bytes to replay"),))
    built.plan = replace(built.plan, faults=(*built.plan.faults, skipped))
    result = judged(scenario_of(checks=[heals()]), [built])
    assert result.verdict == "pass"
    assert "sim skips replay: has no bytes to replay" in result.notes


@pytest.mark.parametrize(
    ("status", "verdict", "code"),
    [("error", "error", 70), ("aborted", "aborted", 7), ("overloaded", "inconclusive", 3)],
)
def test_a_replication_that_did_not_complete_is_not_judged(
    bench: Any, scenario_of: Any, status: Any, verdict: str, code: int
) -> None:
    builts = [bench.healed_cut(1), bench.healed_cut(2, heal_ms=9000)]
    builts[1].record.status = status
    builts[1].record.reason = "said why"
    result = judged(scenario_of(checks=[heals()]), builts)
    assert (result.verdict, result.exit_code) == (verdict, code)
    assert only(result).finding.n == 1
    assert "said why" in result.reasons[0]


def test_a_failed_undo_outranks_everything(bench: Any, scenario_of: Any) -> None:
    builts = runs(bench, 2, heal_ms=900)
    builts[0].record.faults[0].undo = "failed"
    result = judged(scenario_of(checks=[heals()]), builts)
    assert (result.exit_code, result.runs[0].verdict) == (6, "error")


def test_agreement_with_one_engine_is_skipped(bench: Any, scenario_of: Any) -> None:
    agree = {"id": "same", "kind": "agree", "metric": "heal.time", "margin": "20ms"}
    result = judged(scenario_of(checks=[agree]), runs(bench, 1))
    assert only(result).finding.reason == "only one engine ran"
    assert (only(result).verdict, result.verdict) == ("skipped", "pass")


def test_agreement_of_two_engines_is_not_claimed(bench: Any, scenario_of: Any) -> None:
    agree = {"id": "same", "kind": "agree", "metric": "heal.time", "margin": "20ms"}
    sim, emulation = bench.healed_cut(1), bench.healed_cut(1)
    emulation.record.engine = "emulation"
    result = judge(scenario_of(checks=[agree]), [sim.plan], [sim.record, emulation.record])
    assert {c.verdict for c in result.checks} == {"inconclusive"}


def test_a_check_for_an_engine_that_did_not_run_is_skipped_and_listed(
    bench: Any, scenario_of: Any
) -> None:
    result = judged(scenario_of(checks=[heals(engines=["emulation"])]), runs(bench, 1))
    assert only(result).verdict == "skipped"
    assert only(result).engine == "emulation"


def test_nothing_ran_is_not_a_pass(scenario_of: Any) -> None:
    result = judge(scenario_of(), [], [])
    assert (result.verdict, result.reasons) == ("inconclusive", ["nothing ran"])


def test_a_record_without_its_plan_is_a_callers_error(bench: Any, scenario_of: Any) -> None:
    with pytest.raises(ValueError, match="no plan"):
        judge(scenario_of(), [], [bench.build().record])


def test_another_packages_check_judges_itself(
    bench: Any, scenario_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from x0mesh.reports import Finding

    class Odd(Check):
        def judge(self, evidence: Any) -> Finding:
            return Finding("fail", f"{len(evidence.seen)} is odd", worst_seed=1)

    monkeypatch.setitem(CHECKS._items, "acme.odd", Odd)
    result = judged(scenario_of(checks=[{"id": "odd", "kind": "acme.odd"}]), runs(bench, 3))
    assert (result.verdict, only(result).finding.reason) == ("fail", "3 is odd")


# ---- exit codes


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], 0),
        (["pass", "skipped"], 0),
        (["pass", 4], 4),
        ([4, "inconclusive"], 3),
        (["inconclusive", "fail"], 1),
        (["fail", "aborted"], 7),
        (["aborted", 130], 130),
        ([130, 143], 130),
        ([143, "error"], 70),
        (["error", 6, "fail"], 6),
    ],
)
def test_the_worst_decides_the_exit_code(found: list[Any], code: int) -> None:
    assert exit_code(found) == code


def test_a_usage_error_has_no_place_among_verdicts() -> None:
    with pytest.raises(ValueError, match=r"\[2\]"):
        exit_code(["pass", 2])


def test_the_metrics_table_hides_no_censored_sample(bench: Any, scenario_of: Any) -> None:
    builts = runs(bench, 3)
    builts[2].lose(bench.cut, bench.end)
    summary = judged(scenario_of(), builts).metrics["heal.time"]["sim"]
    assert (summary.n, summary.censored) == (3, 1)
    assert summary.median == pytest.approx(0.3)
    assert summary.max is None
    assert summary.p95 is None
    assert np.isfinite(summary.mean)


def test_what_the_simulator_does_not_act_on_is_said(bench: Any, scenario_of: Any) -> None:
    built = bench.healed_cut()
    said = {"identity": {"trust_domain": "a.test", "svid": {"rotate_at": "40%"}}}
    scenario = scenario_of(dataplane={"xdp": "native"}, **said)
    result = judge(scenario, [built.plan], [built.record])
    wanted = "without effect on the simulator: dataplane.xdp, identity.svid.rotate_at"
    assert wanted in result.notes
    silent = judge(scenario_of(), [built.plan], [built.record])
    assert not any("without effect" in note for note in silent.notes)
