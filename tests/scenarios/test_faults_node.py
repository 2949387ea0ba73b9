from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from x0mesh.scenarios.actions import LinkDown, NodeDrain, NodePause, NodeSlow, NodeStop
from x0mesh.scenarios.draws import stream
from x0mesh.scenarios.faults import FAULTS
from x0mesh.scenarios.faults.churn import Stay
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.path_load import PathLoads
from x0mesh.scenarios.plan import LinkPlan, NodePlan, Step
from x0mesh.scenarios.topology import Topology

MS = 1_000_000
S = 1_000 * MS
ALL = ("n0", "n1", "n2", "n3", "n4", "n5")


@pytest.mark.parametrize(
    ("kind", "parameters", "action"),
    [
        ("node.drain", {}, NodeDrain("n3")),
        ("node.pause", {}, NodePause("n3")),
        ("node.slow", {"factor": 10}, NodeSlow("n3", 10.0)),
        ("node.crash", {}, NodeStop("n3", "cold")),
        ("node.crash", {"restart": "warm"}, NodeStop("n3", "warm")),
        ("node.crash", {"restart": "never"}, NodeStop("n3", "never")),
    ],
)
def test_node_faults_last_as_long_as_the_fault(
    steps_of: Any, kind: str, parameters: dict[str, Any], action: Any
) -> None:
    assert steps_of(kind, parameters, nodes=("n3",)) == (Step(0, action),)


@pytest.mark.parametrize("factor", [1, 0.5, True, "10", float("inf"), float("nan")])
def test_a_factor_that_slows_nothing_is_refused(factor: Any) -> None:
    with pytest.raises(ValidationError):
        FAULTS["node.slow"].model_validate({"factor": factor})


def test_only_a_crash_for_good_cannot_be_undone() -> None:
    crash = FAULTS["node.crash"]
    assert crash.model_validate({"restart": "never"}).lasting
    assert not crash.model_validate({"restart": "cold"}).lasting


def test_a_region_fails_in_one_instant(steps_of: Any) -> None:
    nodes = ("n0", "n1", "n2")
    assert steps_of("correlated.region", {"restart": "warm"}, nodes=nodes) == tuple(
        Step(0, NodeStop(node, "warm")) for node in nodes
    )


def test_a_region_can_lose_every_link_that_touches_it(steps_of: Any) -> None:
    steps = steps_of("correlated.region", {"lose": "links"}, nodes=("n0", "n1"))
    assert steps == tuple(Step(0, LinkDown(link)) for link in ("n0-n1", "n1-n2", "n5-n0"))


def test_links_that_share_a_risk_fail_together(steps_of: Any) -> None:
    links = ("n0-n1", "n3-n4")
    assert steps_of("correlated.region", links=links) == tuple(
        Step(0, LinkDown(link)) for link in links
    )
    with pytest.raises(ValueError, match="nothing to give"):
        steps_of("correlated.region", {"restart": "warm"}, links=links)
    with pytest.raises(ValidationError, match="restart goes with lose: nodes"):
        FAULTS["correlated.region"].model_validate({"lose": "links", "restart": "cold"})


def _away(steps: tuple[Step, ...], duration_ns: int) -> list[tuple[int, int, str]]:
    """(from, to, node), each absence once."""
    return [
        (s.offset_ns, duration_ns if s.until_ns is None else s.until_ns, s.action.node)
        for s in steps
        if isinstance(s.action, NodeStop)
    ]


@pytest.mark.parametrize(
    "moving",
    [
        {"leave": "5/s", "join": "2/s"},
        {"leave": "5/s", "away": "500ms"},
        {"session": "1s", "away": {"distribution": "weibull", "mean": "2s", "shape": 2.0}},
        {"session": {"mean": "1s"}, "join": "2/s"},
        {"session": {"distribution": "weibull", "mean": "1s", "shape": 0.5}, "join": "2/s"},
        {"session": {"distribution": "lognormal", "mean": "1s", "shape": 1.0}, "join": "2/s"},
        {"session": {"distribution": "pareto", "mean": "1s", "shape": 1.5}, "join": "2/s"},
    ],
)
def test_churn_never_has_more_away_than_allowed_and_nobody_twice(
    steps_of: Any, moving: dict[str, Any]
) -> None:
    steps = steps_of("churn", {**moving, "at_most": "50%"}, nodes=ALL, duration_ns=60 * S)
    absences = _away(steps, 60 * S)
    changes = sorted(
        [(start, 1, node) for start, _, node in absences]
        + [(end, -1, node) for _, end, node in absences]
    )
    away: Counter[str] = Counter()
    most = 0
    for _, change, node in changes:
        away[node] += change
        assert away[node] in (0, 1)
        most = max(most, away.total())
    assert most == 3
    assert {node for _, _, node in absences} == set(ALL)
    assert all(0 <= start < end <= 60 * S for start, end, _ in absences)


def test_departures_follow_their_rate(steps_of: Any) -> None:
    """600 expected; six standard deviations either way."""
    steps = steps_of(
        "churn",
        {"leave": "1/s", "join": "1000/s", "at_most": "100%"},
        nodes=ALL,
        duration_ns=600 * S,
    )
    assert 453 < len(steps) < 747


def test_churn_that_draws_no_departure_has_no_steps(steps_of: Any) -> None:
    assert steps_of("churn", {"leave": "1/h", "join": "1/s"}, nodes=ALL, duration_ns=MS) == ()


def test_absences_last_as_long_as_asked(steps_of: Any) -> None:
    steps = steps_of(
        "churn", {"leave": "2/s", "away": "300ms"}, nodes=ALL, duration_ns=1000 * S, seed=3
    )
    lasted = [s.until_ns - s.offset_ns for s in steps if s.until_ns is not None]
    assert len(lasted) > 1000
    assert sum(lasted) / len(lasted) == pytest.approx(300 * MS, rel=0.1)


def test_endless_churn_is_refused(steps_of: Any) -> None:
    with pytest.raises(ValueError, match="more than 100000 departures"):
        steps_of("churn", {"leave": "1000000/s", "join": "1/h"}, nodes=ALL)


def test_churn_that_lets_nobody_leave_is_refused(steps_of: Any) -> None:
    with pytest.raises(ValueError, match="lets nobody leave"):
        steps_of("churn", {"leave": "1/s", "join": "1/s"}, nodes=("n0",))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"join": "1/s"}, "either leave"),
        ({"leave": "1/s", "session": {"mean": "1s"}, "join": "1/s"}, "either leave"),
        ({"leave": "1/s"}, "either join"),
        ({"leave": "1/s", "join": "1/s", "away": "1s"}, "either join"),
        ({"leave": "0/s", "join": "1/s"}, "above 0/s"),
        ({"leave": "1/s", "join": "1/s", "restart": "never"}, "cold"),
        ({"session": {"mean": "0s"}, "join": "1/s"}, "at least 1ms"),
        ({"session": {"mean": "1s", "shape": 2.0}, "join": "1/s"}, "shape goes with"),
        ({"session": {"distribution": "weibull", "mean": "1s"}, "join": "1/s"}, "shape goes"),
        (
            {"session": {"distribution": "pareto", "mean": "1s", "shape": 1.0}, "join": "1/s"},
            "above 1",
        ),
    ],
)
def test_impossible_churn_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FAULTS["churn"].model_validate(parameters)


@pytest.mark.parametrize(
    ("distribution", "shape"),
    [("exponential", None), ("weibull", 0.7), ("lognormal", 0.8), ("pareto", 3.0)],
)
def test_sessions_have_the_mean_they_are_given(distribution: str, shape: float | None) -> None:
    session = Stay.model_validate(
        {"distribution": distribution, "mean": "10s", "shape": shape}
        if shape
        else {"distribution": distribution, "mean": "10s"}
    )
    random = stream(7, "session", distribution)
    mean = sum(session.draw_ns(random) for _ in range(20_000)) / 20_000
    assert mean == pytest.approx(10 * S, rel=0.05)


def _mesh(edges: list[tuple[str, str]]) -> Topology:
    topology = Topology()
    for name in sorted({name for edge in edges for name in edge}):
        topology.nodes[name] = NodePlan(name)
    for a, b in edges:
        topology.links[f"{a}-{b}"] = LinkPlan(f"{a}-{b}", a, b, Impairment(), Impairment())
    return topology


TWO_ROADS = _mesh(
    [("a", "top"), ("top", "b"), ("a", "low"), ("low", "mid"), ("mid", "b"), ("b", "c")]
)


def test_overload_spreads_wave_by_wave_to_who_cannot_carry_the_load(steps_of: Any) -> None:
    """Without the short road over top, low carries 14 pairs instead of 12 and mid 16 instead of
    14 (ordered, ends included): 16.7 % and 14.3 % more."""

    def cascade(tolerance: str, **more: Any) -> tuple[Step, ...]:
        parameters = {"tolerance": tolerance, "step": "300ms", **more}
        return steps_of("cascade.overload", parameters, nodes=("top",), on=TWO_ROADS)

    first = Step(0, NodeStop("top", "cold"))
    assert cascade("17%") == (first,)
    assert cascade("15%") == (first, Step(300 * MS, NodeStop("low", "cold")))
    assert cascade("14%", restart="warm") == (
        Step(0, NodeStop("top", "warm")),
        Step(300 * MS, NodeStop("low", "warm")),
        Step(300 * MS, NodeStop("mid", "warm")),
    )
    assert cascade("0%", waves=1) == (first,)


def test_overload_follows_link_costs(steps_of: Any) -> None:
    """The road over top costs more, so nobody used it and nothing moves."""
    dear = Topology(nodes=dict(TWO_ROADS.nodes), links=dict(TWO_ROADS.links))
    for name in ("a-top", "top-b"):
        dear.links[name] = replace(dear.links[name], cost_forward=100, cost_backward=100)
    steps = steps_of("cascade.overload", {"tolerance": "0%"}, nodes=("top",), on=dear)
    assert steps == (Step(0, NodeStop("top", "cold")),)


def test_waves_beyond_the_faults_end_do_not_happen(steps_of: Any) -> None:
    steps = steps_of(
        "cascade.overload",
        {"tolerance": "0%", "step": "2s"},
        nodes=("top",),
        on=TWO_ROADS,
        duration_ns=S,
    )
    assert len(steps) == 1


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.data())
def test_loads_are_the_betweenness_of_the_cheapest_paths(data: st.DataObject) -> None:
    """Against networkx, with ties, parallel links, one-way costs and unconnected parts."""
    count = data.draw(st.integers(2, 9))
    topology = Topology()
    for i in range(count):
        topology.nodes[f"n{i}"] = NodePlan(f"n{i}")
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(topology.nodes)
    end, cost = st.integers(0, count - 1), st.integers(1, 4)
    for k, (a, b, there, back) in enumerate(
        data.draw(st.lists(st.tuples(end, end, cost, cost), max_size=20))
    ):
        if a == b:
            continue
        link = LinkPlan(f"l{k}", f"n{a}", f"n{b}", Impairment(), Impairment(), there, back)
        topology.links[link.name] = link
        for u, v, c in ((link.a, link.b, there), (link.b, link.a, back)):
            graph.add_edge(u, v, cost=min(c, graph.get_edge_data(u, v, {}).get("cost", c)))
    gone = data.draw(st.sets(st.sampled_from(list(topology.nodes)), max_size=count - 1))
    graph.remove_nodes_from(gone)
    expected = dict.fromkeys(graph, 0.0)
    if len(graph) > 1:
        expected = nx.betweenness_centrality(graph, weight="cost", normalized=False, endpoints=True)
    assert PathLoads(topology).without(gone) == pytest.approx(expected)
