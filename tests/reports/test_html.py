from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from x0mesh.reports import Environment, judge, write_index
from x0mesh.reports.html import render
from x0mesh.reports.html.heal import MOST_POINTS, Group, strip
from x0mesh.reports.html.trail import MOST_ROWS, trail
from x0mesh.reports.observation import Observation
from x0mesh.scenarios.record import LOST, Evidence, FlowRecord

HEALS = {"id": "heals", "kind": "within", "metric": "heal.time", "limit": "500ms"}


class Reader(HTMLParser):
    """Visible text, ids, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "srcset", "data", "action") or tag == "link":
                self.fetched.append(f"{tag} {name}={value}")
            if name in ("href", "xlink:href") and not (value or "").startswith("#"):
                self.fetched.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def rendered(scenario: Any, builts: list[Any]) -> str:
    plans, records = [b.plan for b in builts], [b.record for b in builts]
    judgement = judge(scenario, plans, records, "x0mesh run ring.yaml")
    return render(scenario, plans, records, judgement, Environment({"x0mesh": "9.9"}))


@pytest.fixture(scope="module")
def failed(bench: Any, scenario_of: Any) -> str:
    builts = [bench.healed_cut(1), bench.healed_cut(2, heal_ms=900)]
    return rendered(scenario_of(checks=[HEALS], title="Does <b>it</b> heal?"), builts)


def test_nothing_is_fetched_and_ids_are_unique(failed: str) -> None:
    reader = read(failed)
    assert reader.fetched == []
    assert len(reader.ids) == len(set(reader.ids))
    assert not re.search(r"url\((?!#)", failed)
    assert "@import" not in failed
    assert "default-src 'none'" in failed
    used = set(re.findall(r"url\(#([^)]+)\)", failed)) | set(re.findall(r'href="#([^"]+)"', failed))
    assert used <= set(reader.ids)


def test_what_the_scenario_says_is_escaped(failed: str) -> None:
    assert "<b>it</b>" not in failed
    assert "Does &lt;b&gt;it&lt;/b&gt; heal?" in failed


def test_a_failure_shows_its_check_seed_and_replay_before_any_picture(failed: str) -> None:
    before = " ".join(read(failed[: failed.index("<svg")]).text)
    assert "900 ms" in before
    assert "seed 2" in before
    assert "x0mesh run ring.yaml --engine sim --seed 2" in before
    assert '<span class="badge fail">fail</span>' in failed


def test_all_sections_are_there_and_pictures_have_no_dates(failed: str) -> None:
    headings = re.findall(r"<h2[^>]*>([^<]+)</h2>", failed)
    assert headings == [
        "Verdicts",
        "The mesh before, during and after",
        "How long healing took",
        "Delivery over time",
        "Why it healed",
        "Faults and their evidence",
        "Everything measured",
        "Environment and assumptions",
    ]
    assert failed.count("<svg") == 7
    assert "dc:date" not in failed
    # Every colour follows the page's theme.
    assert re.findall(r"#0101[01][0-9a-f]", failed) == []


def test_the_page_is_the_same_every_time(failed: str, bench: Any, scenario_of: Any) -> None:
    builts = [bench.healed_cut(1), bench.healed_cut(2, heal_ms=900)]
    scenario = scenario_of(checks=[HEALS], title="Does <b>it</b> heal?")
    assert rendered(scenario, builts) == failed


def test_a_run_without_faults_flows_or_checks_still_has_a_page(
    bench: Any, scenario_of: Any
) -> None:
    built = bench.build(faults=())
    built.record.flows.clear()
    built.plan = replace(built.plan, flows=())
    page = rendered(scenario_of(), [built])
    assert "<svg" not in page
    assert "The scenario states no checks" in page


def test_a_run_of_nothing_still_has_a_page(scenario_of: Any) -> None:
    assert "nothing ran" in rendered(scenario_of(), [])


def test_an_aborted_run_still_has_a_page(bench: Any, scenario_of: Any) -> None:
    built = bench.healed_cut()
    built.record.status, built.record.reason = "aborted", "stopped by the user"
    assert "stopped by the user" in rendered(scenario_of(checks=[HEALS]), [built])


def test_a_flow_that_never_healed_is_drawn_as_such(bench: Any, scenario_of: Any) -> None:
    built = bench.build().lose(bench.cut, bench.end)
    assert "1 never healed" in rendered(scenario_of(checks=[HEALS]), [built])


def test_a_fault_without_evidence_says_what_was_seen(bench: Any, scenario_of: Any) -> None:
    built = bench.healed_cut()
    built.record.faults[0].evidence = [Evidence("drop", "n0-n1", "mismatch", "0 packets met it")]
    text = " ".join(read(rendered(scenario_of(), [built])).text)
    assert "0 packets met it" in text
    assert "mismatch" in text


def test_the_trail_tells_fault_detection_and_flow_in_order(bench: Any) -> None:
    built = bench.healed_cut()
    built.event(bench.cut, "", "fault.started", fault="cut", reason="link.down")
    built.event(bench.cut + 10 * bench.ms, "n0", "route.repaired", link="n0-n1", value=3.0)
    built.event(bench.cut + 300 * bench.ms, "", "flow.restored", flow="probe")
    seen = Observation(built.plan, built.record)
    told = trail(seen, seen.lives[0])
    assert [line.what for line in told.lines][:4] == [
        "fault",
        "detected",
        "repaired locally",
        "new routes",
    ]
    assert told.lines[1].when == "+10 ms … 20 ms"
    assert "3 routes switched to the repair" in told.lines[2].detail
    assert told.summary.startswith("detected after 10 ms, repaired after 10 ms")
    assert "first flow back after 300 ms" in told.summary


def test_a_long_trail_is_cut_and_says_so(bench: Any) -> None:
    built = bench.healed_cut()
    for i in range(100):
        built.event(bench.cut + i * 30 * bench.ms, "n0", "healing.decision", reason=f"r{i}: x")
    seen = Observation(built.plan, built.record)
    told = trail(seen, seen.lives[0])
    assert len(told.lines) == MOST_ROWS
    assert told.left_out > 60


def test_pictures_cap_the_number_of_points() -> None:
    values = np.sort(np.random.default_rng(1).exponential(size=100_000))
    picture = strip([Group("a", values, 3), Group("b", values, 0)], [1.0])
    assert picture.count("<use") <= MOST_POINTS + 50
    assert len(picture) < 300_000


def test_twenty_replications_of_fifty_nodes_stay_below_the_size_limit(
    bench: Any, scenario_of: Any
) -> None:
    builts = [bench.healed_cut(seed) for seed in range(1, 21)]
    random = np.random.default_rng(2)
    for built in builts:
        first = built.record.flows[0]
        names = [f"p{i}" for i in range(50)]
        built.record.flows[:] = [
            FlowRecord(
                n, "probe", "n0", "n2", 100, first.sent_ns, first.latency_ns.copy(), first.possible
            )
            for n in names
        ]
        for flow in built.record.flows:
            lost = bench.cut + int(random.integers(10, 900)) * bench.ms
            flow.latency_ns[(flow.sent_ns >= bench.cut) & (flow.sent_ns < lost)] = LOST
        for i in range(3000):
            built.record.events.append(
                built.record.events[0]._replace(
                    t_ns=bench.cut + i * bench.ms, kind="spf.run", value=1.0, node=f"n{i % 50}"
                )
            )
        built.record.events.sort(key=lambda e: e.t_ns)
    page = rendered(scenario_of(checks=[HEALS]), builts)
    assert len(page.encode()) < 1_500_000


def test_the_index_links_every_run_and_ends_with_the_worst(
    tmp_path: Path, bench: Any, scenario_of: Any
) -> None:
    outcomes = []
    for name, heal_ms in (("good", 300), ("a&b", 900)):
        built = bench.healed_cut(heal_ms=heal_ms)
        judgement = judge(scenario_of(checks=[HEALS]), [built.plan], [built.record])
        outcomes.append((name, tmp_path / name / "x=1", judgement))
    write_index(tmp_path, outcomes)
    page = (tmp_path / "index.html").read_text()
    assert 'href="good/x%3D1/report.html"' in page
    assert 'href="a%26b/x%3D1/report.html"' in page
    assert "a&amp;b" in page
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["verdict"], summary["exit_code"]) == ("fail", 1)
    assert [run["verdict"] for run in summary["runs"]] == ["pass", "fail"]
    assert summary["runs"][0]["path"] == "good/x=1"
