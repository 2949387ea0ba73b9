from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from x0mesh.reports.metrics import COMPUTE, samples
from x0mesh.reports.observation import Observation, View, common, without
from x0mesh.scenarios.metrics import METRICS, MetricSample, MetricSpec


def measured(built: Any, metric: str) -> list[MetricSample]:
    return samples(metric, View.of(Observation(built.plan, built.record)))


def test_every_named_metric_is_implemented_here_or_brings_its_own_compute() -> None:
    missing = [n for n, spec in METRICS.items() if spec.compute is None and n not in COMPUTE]
    assert missing == []
    assert [name for name in COMPUTE if name not in METRICS] == []


def test_another_packages_metric_computes_itself(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute(plan: Any, record: Any) -> list[MetricSample]:
        return [MetricSample(1.0, t_ns=0), MetricSample(2.0), MetricSample(3.0, fault="cut")]

    spec = MetricSpec("count", "fault", "for the test", compute)
    monkeypatch.setitem(METRICS._items, "acme.thing", spec)
    built = bench.build()
    # What happened before the end of warmup is not judged.
    assert [s.value for s in measured(built, "acme.thing")] == [2.0, 3.0]
    view = View.of(Observation(built.plan, built.record), excluding=("cut",))
    assert [s.value for s in samples("acme.thing", view)] == [2.0]


def test_delivery_counts_only_probes_that_had_a_path(bench: Any) -> None:
    built = bench.build().lose(bench.cut, bench.mended)
    built.flow.possible = [(0, bench.cut), (bench.mended, bench.end)]
    [sample] = measured(built, "traffic.delivered_ratio")
    assert sample.value == 1.0
    built.flow.possible = [(0, bench.end)]
    [sample] = measured(built, "traffic.delivered_ratio")
    assert sample.value == pytest.approx(9 / 13)
    assert sample.traffic == "probe"


def test_warmup_is_not_judged(bench: Any) -> None:
    built = bench.build().lose(0, bench.warmup)
    [sample] = measured(built, "traffic.delivered_ratio")
    assert sample.value == 1.0


def test_outage_is_the_longest_gap_less_time_without_a_path(bench: Any) -> None:
    built = bench.build().lose(bench.cut, bench.cut + 290 * bench.ms)
    [sample] = measured(built, "traffic.outage")
    assert sample.value == pytest.approx(0.3)
    built.flow.possible = [(0, bench.cut), (bench.cut + 200 * bench.ms, bench.end)]
    [sample] = measured(built, "traffic.outage")
    assert sample.value == pytest.approx(0.1)


def test_an_outage_that_lasts_to_the_end_is_censored(bench: Any) -> None:
    [sample] = measured(bench.build().lose(bench.cut, bench.end), "traffic.outage")
    assert sample.censored
    assert sample.value == pytest.approx((bench.end - bench.cut) / bench.s, abs=0.02)


def test_latency_jitter_and_throughput_of_delivered_probes(bench: Any) -> None:
    built = bench.build()
    built.flow.latency_ns[1::2] += bench.ms
    built.lose(bench.cut, bench.cut + bench.s)
    [latency] = measured(built, "traffic.latency")
    assert latency.value in (0.003, 0.0035, 0.004)
    [jitter] = measured(built, "traffic.jitter")
    assert jitter.value == pytest.approx(0.001, rel=0.01)
    [throughput] = measured(built, "traffic.throughput")
    assert throughput.value == pytest.approx(100 * 8 * 100 * 12 / 13)


def test_counters_that_were_not_kept_have_no_samples(bench: Any) -> None:
    built = bench.build()
    assert [s.value for s in measured(built, "control.messages")] == [120.0]
    for absent in ("backup.coverage", "microloops", "svid.rotation_lag", "signing.peak"):
        assert measured(built, absent) == []


def test_a_session_lost_without_a_fault_is_a_false_positive_once(bench: Any) -> None:
    built = bench.healed_cut()
    assert [s.value for s in measured(built, "liveness.false_positives")] == [0.0]
    built.event(5 * bench.s, "n2", "liveness.down", link="n2-n3", peer="n3")
    built.event(5 * bench.s + bench.ms, "n3", "liveness.down", link="n2-n3", peer="n2")
    assert [s.value for s in measured(built, "liveness.false_positives")] == [1.0]
    built.event(7 * bench.s, "n3", "liveness.down", link="n2-n3", peer="n2")
    assert [s.value for s in measured(built, "liveness.false_positives")] == [2.0]


def test_a_session_lost_long_after_the_link_came_back_is_a_false_positive(bench: Any) -> None:
    built = bench.healed_cut()
    built.event(bench.mended + 2 * bench.s, "n0", "liveness.down", link="n0-n1", peer="n1")
    assert [s.value for s in measured(built, "liveness.false_positives")] == [1.0]


def test_reachability_is_the_series_cut_to_judged_time(bench: Any) -> None:
    found = measured(bench.build(), "reachability.ratio")
    assert [(s.value, s.t_ns) for s in found] == [
        (1.0, bench.warmup),
        (0.5, bench.cut),
        (1.0, bench.cut + 300 * bench.ms),
    ]
    assert found[-1].until_ns == bench.end  # type: ignore[attr-defined]


def test_exposure_ends_with_the_last_packet_accepted_from_the_revoked(bench: Any) -> None:
    from x0mesh.scenarios.plan import At, FaultPlan

    revoke = FaultPlan("out", "identity.revoke", At(bench.cut), None, (), nodes=("n1",))
    built = bench.build(faults=(revoke,))
    assert measured(built, "exposure.time") == []
    built.event(bench.cut - 1, "n0", "packet.accepted", peer="n1")
    assert [s.value for s in measured(built, "exposure.time")] == [0.0]
    built.event(bench.cut + 700 * bench.ms, "n0", "packet.accepted", peer="n1")
    assert [s.value for s in measured(built, "exposure.time")] == [pytest.approx(0.7)]


def test_spans_subtract_and_overlap() -> None:
    assert without([(0, 10)], [(2, 3), (5, 20)]) == [(0, 2), (3, 5)]
    assert without([(0, 10)], [(-5, 1), (4, 4)]) == [(1, 4), (4, 10)]
    assert common([(0, 4), (6, 9)], [(2, 7)]) == [(2, 4), (6, 7)]


def test_a_replication_without_probes_has_no_traffic_samples(bench: Any) -> None:
    built = bench.build()
    built.flow.sent_ns = built.flow.latency_ns = np.empty(0, dtype=np.int64)
    for name in METRICS:
        if name.startswith("traffic.") or name == "heal.time":
            assert measured(built, name) == []
