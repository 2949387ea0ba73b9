from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from x0mesh.reports.healing import healing
from x0mesh.reports.metrics import samples
from x0mesh.reports.observation import Observation, View
from x0mesh.scenarios.actions import LinkDown, NodeStop
from x0mesh.scenarios.metrics import MetricSample
from x0mesh.scenarios.plan import At, FaultPlan, Step


def measured(built: Any, metric: str) -> list[MetricSample]:
    return samples(metric, View.of(Observation(built.plan, built.record)))


def test_heal_time_runs_to_the_first_of_twenty_delivered_probes(bench: Any) -> None:
    built = bench.build().lose(bench.cut, bench.cut + 300 * bench.ms)
    # Nineteen in a row are not yet a healed flow.
    built.lose(bench.cut + 490 * bench.ms, bench.cut + 500 * bench.ms)
    [sample] = measured(built, "heal.time")
    assert sample.value == pytest.approx(0.5)
    assert (sample.fault, sample.flow, sample.censored) == ("cut", "probe", False)


def test_twenty_in_a_row_heal_though_a_later_probe_is_lost(bench: Any) -> None:
    built = bench.build().lose(bench.cut, bench.cut + 300 * bench.ms)
    built.lose(bench.cut + 500 * bench.ms, bench.cut + 510 * bench.ms)
    [sample] = measured(built, "heal.time")
    assert sample.value == pytest.approx(0.3)
    [after] = measured(built, "reconverge.loss")
    assert after.value == 1


def test_a_flow_that_lost_nothing_has_no_heal_time_but_is_counted(bench: Any) -> None:
    built = bench.build()
    assert measured(built, "heal.time") == []
    found = healing(View.of(Observation(built.plan, built.record)))
    assert (found.untouched, found.outages) == (1, [])


@pytest.mark.parametrize(("later_ms", "samples"), [(0, 1), (50, 0)])
def test_a_flow_led_round_the_fault_in_time_has_healed_with_the_next_probe(
    bench: Any, later_ms: int, samples: int
) -> None:
    """Only another path at once is the answer to this fault; later ones are reconvergence."""
    built = bench.build()
    sent = built.flow.sent_ns
    first = int(sent[sent >= bench.cut + later_ms * bench.ms][0])
    built.event(first, "n0", "flow.rerouted", flow=built.flow.name, value=3.0)
    values = [s.value for s in measured(built, "heal.time")]
    assert values == [pytest.approx((first - bench.cut) / 1e9)] * samples


def test_a_probe_under_way_when_the_link_is_cut_counts_as_hit(bench: Any) -> None:
    built = bench.build(faults=(bench.cut_fault(at_ns=bench.cut + 2 * bench.ms),))
    built.lose(bench.cut, bench.cut + 10 * bench.ms)
    [sample] = measured(built, "heal.time")
    assert sample.value == pytest.approx(0.008)


def test_without_a_path_the_clock_starts_when_the_graph_offers_one_again(bench: Any) -> None:
    built = bench.build().lose(bench.cut, bench.mended + 150 * bench.ms)
    built.flow.possible = [(0, bench.cut), (bench.mended, bench.end)]
    [sample] = measured(built, "heal.time")
    assert sample.value == pytest.approx(0.15)


def test_never_healed_is_censored_at_what_is_known(bench: Any) -> None:
    built = bench.build().lose(bench.cut, bench.end)
    [sample] = measured(built, "heal.time")
    assert sample.censored
    assert sample.value == pytest.approx((bench.end - bench.cut) / bench.s)
    # It never healed, so nothing can be lost after healing.
    assert measured(built, "reconverge.loss") == []


def test_deliveries_cut_off_by_the_end_bound_the_heal_time_by_their_first(bench: Any) -> None:
    built = bench.build().lose(bench.cut, bench.end - 100 * bench.ms)
    [sample] = measured(built, "heal.time")
    assert sample.censored
    assert sample.value == pytest.approx((bench.end - bench.cut) / bench.s - 0.1)


def test_a_flow_without_a_path_for_good_has_nothing_to_heal(bench: Any) -> None:
    built = bench.build().lose(bench.cut, bench.end)
    built.flow.possible = [(0, bench.cut)]
    assert measured(built, "heal.time") == []
    assert healing(View.of(Observation(built.plan, built.record))).hopeless == 1


def test_each_step_of_a_fault_strikes_anew_and_the_longest_outage_counts(bench: Any) -> None:
    steps = tuple(
        Step(i * bench.s, LinkDown("n0-n1"), i * bench.s + 500 * bench.ms) for i in range(3)
    )
    flap = FaultPlan("flap", "link.flap", At(bench.cut), 4 * bench.s, steps, links=("n0-n1",))
    built = bench.build(faults=(flap,))
    for second, lost_ms in enumerate((50, 250, 100)):
        start = bench.cut + second * bench.s
        built.lose(start, start + lost_ms * bench.ms)
    [sample] = measured(built, "heal.time")
    assert sample.value == pytest.approx(0.25)


def test_loss_long_after_the_strike_is_not_healing_but_reconvergence(bench: Any) -> None:
    built = bench.build().lose(bench.cut + bench.s, bench.cut + bench.s + 30 * bench.ms)
    assert measured(built, "heal.time") == []
    [sample] = measured(built, "reconverge.loss")
    assert sample.value == 3


def test_loss_after_the_fault_ended_belongs_to_the_restoration(bench: Any) -> None:
    built = bench.healed_cut().lose(bench.mended + 100 * bench.ms, bench.mended + 140 * bench.ms)
    [sample] = measured(built, "restore.loss")
    assert sample.value == 4
    [during] = measured(built, "reconverge.loss")
    assert during.value == 0


def test_each_end_detects_for_itself(bench: Any) -> None:
    found = measured(bench.healed_cut(), "detect.time")
    assert {(s.node, s.value) for s in found} == {("n0", 0.01), ("n1", 0.02)}


def test_an_end_that_never_noticed_is_censored_at_the_cuts_length(bench: Any) -> None:
    built = bench.build().event(
        bench.cut + 5 * bench.ms, "n0", "liveness.down", link="n0-n1", peer="n1"
    )
    found = {s.node: (s.value, s.censored) for s in measured(built, "detect.time")}
    assert found == {"n0": (0.005, False), "n1": (4.0, True)}


def test_a_session_that_was_down_already_has_nothing_to_detect(bench: Any) -> None:
    built = bench.healed_cut()
    built.event(3 * bench.s, "n0", "liveness.down", link="n0-n1", peer="n1")
    assert [s.node for s in measured(built, "detect.time")] == ["n1"]


def test_only_neighbours_detect_a_dead_node(bench: Any) -> None:
    steps = (Step(0, NodeStop("n1", "cold")),)
    crash = FaultPlan("crash", "node.crash", At(bench.cut), 4 * bench.s, steps, nodes=("n1",))
    found = measured(bench.build(faults=(crash,)), "detect.time")
    assert {s.node for s in found} == {"n0", "n2"}


def test_two_neighbours_stopped_together_need_not_detect_each_other(bench: Any) -> None:
    steps = (Step(0, NodeStop("n1", "cold")), Step(0, NodeStop("n2", "cold")))
    region = FaultPlan("region", "correlated.region", At(bench.cut), 4 * bench.s, steps)
    found = measured(bench.build(faults=(region,)), "detect.time")
    assert {s.node for s in found} == {"n0", "n3"}


def test_a_cut_too_short_to_be_noticed_asks_nothing(bench: Any) -> None:
    built = bench.build(faults=(bench.cut_fault(duration_ns=200 * bench.ms),))
    assert measured(built, "detect.time") == []


def test_restore_time_waits_for_the_slower_end(bench: Any) -> None:
    [sample] = measured(bench.healed_cut(), "restore.time")
    assert sample.value == pytest.approx(0.12)


def test_an_adjacency_that_never_comes_back_is_censored(bench: Any) -> None:
    built = bench.healed_cut()
    built.record.events = [
        e
        for e in built.record.events
        if not (e.kind == "adjacency.full" and e.t_ns > bench.mended and e.node == "n1")
    ]
    [sample] = measured(built, "restore.time")
    assert sample.censored
    assert sample.value == pytest.approx((bench.end - bench.mended) / bench.s)


def test_converge_time_ends_with_the_last_route_change_of_the_fault(bench: Any) -> None:
    built = bench.healed_cut(heal_ms=300)
    built.event(bench.cut + 700 * bench.ms, "n3", "route.changed", value=1.0)
    built.event(bench.mended + 50 * bench.ms, "n3", "route.changed", value=1.0)
    [sample] = measured(built, "converge.time")
    assert sample.value == pytest.approx(0.7)


def test_the_next_fault_ends_what_a_fault_is_blamed_for(bench: Any) -> None:
    second = bench.cut_fault("second", bench.cut + 2 * bench.s, bench.s)
    built = bench.build(faults=(bench.cut_fault(), second))
    built.event(bench.cut + 100 * bench.ms, "n0", "route.changed", value=1.0)
    built.event(bench.cut + 2100 * bench.ms, "n0", "route.changed", value=1.0)
    found = {s.fault: s.value for s in measured(built, "converge.time")}
    assert found == {"cut": pytest.approx(0.1), "second": pytest.approx(0.1)}


def test_an_excluded_fault_and_its_time_do_not_count(bench: Any) -> None:
    built = bench.healed_cut()
    seen = Observation(built.plan, built.record)
    assert samples("heal.time", View.of(seen, excluding=("cut",))) == []
    [sample] = samples("traffic.delivered_ratio", View.of(seen, excluding=("cut",)))
    assert sample.value == 1.0


def test_a_plan_of_another_seed_is_refused(bench: Any) -> None:
    built = bench.build()
    with pytest.raises(ValueError, match="seed"):
        Observation(replace(built.plan, seed=99), built.record)
