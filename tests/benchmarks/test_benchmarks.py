"""Every benchmark runs at a tiny size, its parts do the same work, and the outcome can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import outcome
from benchmarks.__main__ import main
from benchmarks.benchmark import WALL, Benchmark, Figure, Part, Size
from benchmarks.catalogue import BENCHMARKS
from benchmarks.comparison import measure, summarise
from benchmarks.meter import Measurement, Meter
from benchmarks.torus import neighbours

TINY = {"engine": 12, "protocol": 16, "quickstart": 1, "thousand": 30, "memory": 16}

SPEED = Figure("speed", "1/s", lambda m: m.counts["work"] / m.cpu_s, more_is_better=True)


def idle(_: int, meter: Meter) -> dict[str, float]:
    with meter:
        pass
    return {"work": 1.0}


def comparing(**changes: object) -> Benchmark:
    given: dict[str, object] = {
        "name": "toy",
        "question": "Which is faster?",
        "parts": {"plain": Part(idle), "tuned": Part(idle), "ours": Part(idle)},
        "references": ("plain", "tuned"),
        "subject": "ours",
        "figure": SPEED,
        "sizes": (),
        "quick": (),
        "extras": (WALL,),
        "equal": ("work",),
    }
    return Benchmark(**(given | changes))  # type: ignore[arg-type]


def took(cpu_s: float, work: float = 1.0, wall_s: float = 0.0) -> Measurement:
    return Measurement(cpu_s, wall_s, 0, 0, {"work": work})


def measured(ours: list[Measurement]) -> dict[str, list[Measurement]]:
    return {"plain": [took(8.0), took(12.0)], "tuned": [took(4.0), took(6.0)], "ours": ours}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_parts_of_a_benchmark_do_the_same_work(name: str) -> None:
    benchmark = BENCHMARKS[name]
    counts = {}
    for part_name, part in benchmark.parts.items():
        meter = Meter()
        counts[part_name] = part.run(TINY[name], meter)
        assert benchmark.figure.of(meter.measurement(counts[part_name])) >= 0
        assert meter.cpu_s > 0
    for count in benchmark.equal:
        assert len({counted[count] for counted in counts.values()}) == 1, count


def test_a_part_is_measured_in_a_process_of_its_own() -> None:
    found = measure("engine", "sim.clock", TINY["engine"])
    assert found.counts["informed"] == 2 * TINY["engine"]
    assert 0 < found.base_bytes <= found.peak_bytes
    assert found.cpu_s > 0


def test_the_best_reference_counts_and_ratios_are_taken_per_repetition() -> None:
    comparison = summarise(comparing(), Size(1, 2), measured([took(1.0), took(2.0)]))
    assert comparison.reference == "tuned"
    ratios = {row.part: row.ratio for row in comparison.rows}
    assert ratios["tuned"] is None
    assert ratios["ours"] is not None
    assert (ratios["ours"].low, ratios["ours"].high) == (3.0, 4.0)
    assert comparison.misses == ()


def test_less_is_better_where_the_figure_says_so() -> None:
    time = Figure("time", "s", lambda m: m.cpu_s, more_is_better=False)
    found = summarise(comparing(figure=time), Size(1, 2), measured([took(1.0), took(2.0)]))
    assert found.reference == "tuned"
    ratio = next(row.ratio for row in found.rows if row.part == "ours")
    assert ratio is not None
    assert ratio.median == 3.5


@pytest.mark.parametrize(
    ("changes", "size", "ours", "miss"),
    [
        ({}, Size(1, 2, required_ratio=3.6), [took(1.0), took(2.0)], "3.50x the reference"),
        ({}, Size(1, 2), [took(1.0), took(2.0, work=2.0)], "different work: work [1.0, 2.0]"),
        ({"limit_s": 5.0}, Size(1, 2), [took(1, wall_s=6), took(1, wall_s=7)], "6.5 s of wall"),
    ],
)
def test_what_falls_short_is_said(
    changes: dict[str, object], size: Size, ours: list[Measurement], miss: str
) -> None:
    comparison = summarise(comparing(**changes), size, measured(ours))
    assert len(comparison.misses) == 1
    assert miss in comparison.misses[0]
    assert miss in outcome.markdown([comparison])


def test_outcome_is_written_as_json_and_markdown(tmp_path: Path) -> None:
    comparison = summarise(comparing(), Size(1_000, 2), measured([took(1.0), took(2.0)]))
    outcome.write([comparison], tmp_path / "out")
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    parts = {part["part"]: part for part in document["comparisons"][0]["parts"]}
    assert parts["ours"]["ratio"] == {"median": 3.5, "low": 3.0, "high": 4.0}
    assert parts["tuned"]["ratio"] is None
    page = (tmp_path / "out" / "results.md").read_text()
    assert "toy: 1,000 nodes, 2 repetitions" in page
    assert "| ours | speed, 1/s | 0.75 | 0.5 to 1 | 3.50 | 3.00 to 4.00 |" in page


def test_an_unknown_benchmark_is_refused_by_name() -> None:
    result = CliRunner().invoke(main, ["motor"])
    assert result.exit_code == 2
    assert "'motor'" in result.output
    assert "engine" in result.output


def test_every_node_of_the_torus_has_six_neighbours_that_know_it() -> None:
    around = neighbours(20)
    for node, row in enumerate(around):
        assert len(set(row)) == 6
        assert node not in row
        assert all(node in around[other] for other in row)
