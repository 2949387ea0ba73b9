"""A router repairs before anyone is told, converges by back-off, and returns without microloops."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.mesh import events
from x0mesh.mesh.alternates import RouteFinder
from x0mesh.mesh.config import MS, LinkConfig, S, SpfConfig
from x0mesh.mesh.effects import ProtocolEvent, TimerKey
from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.messages import Neighbour
from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.router import LOCAL_DELAY_TIMER, Router
from x0mesh.mesh.routes import Active, RepairKind, Route, RouteChange

SPF_TIMER = ("router", "spf")
SQUARE = [
    ("a", "b", "ab", 10, 10),
    ("b", "c", "bc", 10, 10),
    ("c", "d", "cd", 10, 10),
    ("d", "a", "da", 15, 15),
]
"""From `a`, `b` and `c` are behind `ab`, repaired over `da`."""


class Bench:
    """A router with its timers, its data plane as installed, and everything in order."""

    def __init__(
        self,
        store: GraphStore,
        name: str = "a",
        destinations: frozenset[str] | None = None,
        repairs: bool = True,
        config: SpfConfig | None = None,
    ) -> None:
        self.timers: dict[TimerKey, int] = {}
        self.installed: dict[str, Route] = {}
        self.installs: list[list[RouteChange]] = []
        self.events: list[ProtocolEvent] = []
        self.router = Router(name, config or SpfConfig(), destinations, repairs, store, self)

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        self.timers[key] = due_ns

    def cancel_timer(self, key: TimerKey) -> None:
        self.timers.pop(key, None)

    def answer_by(self, view: RouteView) -> None:
        pass

    def install(self, changes: Sequence[RouteChange]) -> None:
        self.installs.append(list(changes))
        for change in changes:
            assert self.installed.get(change.destination) != change.route, "not a change"
            if change.route is None:
                del self.installed[change.destination]
            else:
                self.installed[change.destination] = change.route
        assert self.installed == dict(self.router.routes)

    def emit(self, event: ProtocolEvent) -> None:
        self.events.append(event)

    def fire(self, key: TimerKey) -> int:
        due = self.timers.pop(key)
        self.router.timer(due, key)
        return due

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


def links_of(graph: Graph, name: str) -> list[LinkConfig]:
    return [LinkConfig(edge.link, edge.neighbour, edge.cost) for edge in graph.edges(name)]


@pytest.fixture
def square(make_graph: Callable[..., Graph]) -> tuple[Bench, GraphStore, Graph]:
    store = GraphStore()
    graph = make_graph(store, SQUARE)
    bench = Bench(store)
    bench.router.resume(0, graph, links_of(graph, "a"))
    return bench, store, graph


def without(store: GraphStore, graph: Graph, name: str, *links: str) -> Graph:
    """`name` withdraws links."""
    said = graph.advertisement(name) or ()
    return store.apply(graph, name, tuple(n for n in said if n.link not in links))


def via(bench: Bench) -> dict[str, str]:
    """Destination to the link that carries its packets now."""
    out: dict[str, str] = {}
    for name, route in bench.installed.items():
        if route.active is Active.PRIMARY:
            out[name] = route.primary.link
        elif route.repair is not None:
            out[name] = route.repair.hop.link
    return out


def test_a_converged_start_installs_everything_at_once(
    square: tuple[Bench, GraphStore, Graph],
) -> None:
    bench, _, _ = square
    assert via(bench) == {"b": "ab", "c": "ab", "d": "da"}
    assert {name: route.metric for name, route in bench.installed.items()} == {
        "b": 10,
        "c": 20,
        "d": 15,
    }
    assert len(bench.installs) == 1
    assert bench.timers == {}
    assert bench.router.quiet


def test_local_repair_needs_no_message_and_no_timer(
    square: tuple[Bench, GraphStore, Graph],
) -> None:
    bench, _, _ = square
    bench.events.clear()
    bench.router.link_failed(7, "ab")
    assert via(bench) == {"b": "da", "c": "da", "d": "da"}
    assert [change.destination for change in bench.installs[-1]] == ["b", "c"]
    assert bench.events == [ProtocolEvent(events.ROUTE_REPAIRED, "ab", "b", 2.0)]
    assert bench.timers[SPF_TIMER] == 7 + 50 * MS
    assert not bench.router.quiet


def test_a_second_report_of_the_same_failure_changes_nothing(
    square: tuple[Bench, GraphStore, Graph],
) -> None:
    bench, _, _ = square
    bench.router.link_failed(7, "ab")
    count = len(bench.installs)
    bench.router.link_failed(8, "ab")
    assert len(bench.installs) == count


def test_without_repairs_destinations_are_lost_until_spf(
    make_graph: Callable[..., Graph],
) -> None:
    store = GraphStore()
    graph = make_graph(store, SQUARE)
    bench = Bench(store, repairs=False)
    bench.router.resume(0, graph, links_of(graph, "a"))
    assert all(route.repair is None for route in bench.installed.values())
    bench.router.link_failed(7, "ab")
    assert via(bench) == {"d": "da"}
    assert bench.events[-1].value == 0.0
    assert bench.events[-1].reason == "2 unprotected"
    bench.fire(SPF_TIMER)
    assert via(bench) == {"b": "da", "c": "da", "d": "da"}
    assert bench.router.quiet


def test_repaired_destinations_keep_their_repair_for_the_local_delay(
    square: tuple[Bench, GraphStore, Graph],
) -> None:
    bench, store, graph = square
    bench.router.link_failed(7, "ab")
    lost_here = without(store, graph, "a", "ab")
    bench.router.graph_changed(7, lost_here)
    now = bench.fire(SPF_TIMER)
    assert bench.timers[LOCAL_DELAY_TIMER] == now + 2 * S
    assert bench.installed["b"].active is Active.REPAIR
    assert bench.installed["d"].active is Active.PRIMARY
    assert not bench.router.quiet
    # The far end says the same a little later: still the same failure.
    bench.router.graph_changed(now + MS, without(store, lost_here, "b", "ab"))
    bench.fire(SPF_TIMER)
    assert bench.timers[LOCAL_DELAY_TIMER] == now + 2 * S
    assert bench.installed["b"].active is Active.REPAIR
    bench.fire(LOCAL_DELAY_TIMER)
    assert bench.installed["b"] == Route("b", bench.installed["d"].primary, repair=None, metric=35)
    assert bench.router.quiet


def test_a_lost_node_is_one_failure_for_the_local_delay(
    square: tuple[Bench, GraphStore, Graph],
) -> None:
    bench, store, graph = square
    bench.router.link_failed(7, "ab")
    bench.router.graph_changed(7, without(store, graph, "a", "ab"))
    bench.router.graph_changed(8, without(store, without(store, graph, "a", "ab"), "c", "bc"))
    bench.fire(SPF_TIMER)
    assert "b" not in bench.installed
    assert bench.installed["c"].active is Active.REPAIR
    assert LOCAL_DELAY_TIMER in bench.timers


def test_another_change_ends_the_local_delay(square: tuple[Bench, GraphStore, Graph]) -> None:
    bench, store, graph = square
    bench.router.link_failed(7, "ab")
    graph = without(store, graph, "a", "ab")
    bench.router.graph_changed(7, graph)
    now = bench.fire(SPF_TIMER)
    shifted = tuple(Neighbour(n.node, n.link, 11) for n in graph.advertisement("d") or ())
    bench.router.graph_changed(now + MS, store.apply(graph, "d", shifted))
    bench.fire(SPF_TIMER)
    assert all(route.active is Active.PRIMARY for route in bench.installed.values())
    assert LOCAL_DELAY_TIMER not in bench.timers
    assert bench.router.quiet


def test_a_second_local_failure_ends_the_delay_and_repairs_at_once(
    make_graph: Callable[..., Graph],
) -> None:
    store = GraphStore()
    star = [("a", mid, f"a{mid}", cost, cost) for mid, cost in (("x", 1), ("y", 2), ("z", 3))]
    graph = make_graph(store, [*star, *((m, "d", f"{m}d", 1, 1) for m in "xyz")])
    bench = Bench(store)
    bench.router.resume(0, graph, links_of(graph, "a"))
    bench.router.link_failed(7, "ax")
    bench.router.graph_changed(7, without(store, graph, "a", "ax"))
    now = bench.fire(SPF_TIMER)
    assert via(bench)["d"] == "ay"
    assert LOCAL_DELAY_TIMER in bench.timers
    bench.router.link_failed(now + MS, "ay")
    assert via(bench)["d"] == "az"
    assert LOCAL_DELAY_TIMER not in bench.timers


def test_a_repair_over_a_link_that_is_gone_is_not_used(
    square: tuple[Bench, GraphStore, Graph],
) -> None:
    bench, _, _ = square
    bench.router.link_failed(7, "da")
    bench.router.link_failed(8, "ab")
    assert via(bench) == {}
    assert {route.active for route in bench.installed.values()} == {Active.REPAIR}


def test_a_link_back_before_spf_needs_no_delay(square: tuple[Bench, GraphStore, Graph]) -> None:
    bench, _, _ = square
    before = dict(bench.installed)
    bench.router.link_failed(7, "ab")
    bench.router.link_up(8, "ab", "b")
    bench.fire(SPF_TIMER)
    assert bench.installed == before
    assert bench.router.quiet


def test_an_edge_counts_once_both_ends_advertise_it_and_our_link_is_up(
    make_graph: Callable[..., Graph],
) -> None:
    store = GraphStore()
    bench = Bench(store)
    one_sided = store.apply(store.empty(), "a", (Neighbour("b", "ab", 10),))
    bench.router.link_up(1, "ab", "b")
    bench.router.graph_changed(1, one_sided)
    bench.fire(SPF_TIMER)
    assert bench.installed == {}
    both = store.apply(one_sided, "b", (Neighbour("a", "ab", 10),))
    bench.router.graph_changed(2, both)
    bench.fire(SPF_TIMER)
    assert via(bench) == {"b": "ab"}
    other = Bench(store)
    other.router.graph_changed(1, both)
    other.fire(SPF_TIMER)
    assert other.installed == {}


def test_only_the_destinations_in_use_are_installed_and_others_answered_on_demand(
    make_graph: Callable[..., Graph],
) -> None:
    store = GraphStore()
    graph = make_graph(store, SQUARE)
    everything, some = Bench(store), Bench(store, destinations=frozenset("abc"))
    for bench in (everything, some):
        bench.router.resume(0, graph, links_of(graph, "a"))
    assert set(some.installed) == {"b", "c"}
    assert all(some.installed[name] == everything.installed[name] for name in "bc")
    on_demand = some.router.route_to("d")
    assert on_demand is not None
    assert on_demand.primary == everything.installed["d"].primary
    some.router.link_failed(7, "da")
    lost = some.router.route_to("d")
    assert lost is not None
    assert (lost.active, lost.repair) == (Active.REPAIR, None)
    assert some.router.route_to("a") is None
    assert some.router.route_to("nowhere") is None


def test_an_overloaded_node_is_left_by_its_transit(make_graph: Callable[..., Graph]) -> None:
    store = GraphStore()
    graph = make_graph(store, SQUARE)
    bench = Bench(store)
    bench.router.resume(0, graph, links_of(graph, "a"))
    bench.router.graph_changed(1, store.apply(graph, "b", graph.advertisement("b"), True))
    bench.fire(SPF_TIMER)
    assert via(bench) == {"b": "ab", "c": "da", "d": "da"}


def test_events_say_what_happened(square: tuple[Bench, GraphStore, Graph]) -> None:
    bench, store, graph = square
    bench.events.clear()
    bench.router.link_failed(7, "ab")
    bench.router.graph_changed(7, without(store, graph, "a", "ab"))
    bench.fire(SPF_TIMER)
    bench.fire(LOCAL_DELAY_TIMER)
    assert bench.kinds() == [
        events.ROUTE_REPAIRED,
        events.SPF_RUN,
        events.ROUTE_CHANGED,
        events.ROUTE_CHANGED,
    ]
    assert [event.value for event in bench.events] == [2.0, 2.0, 1.0, 2.0]


def test_a_parallel_link_takes_over_and_its_neighbour_counts_as_one(
    make_graph: Callable[..., Graph],
) -> None:
    store = GraphStore()
    graph = make_graph(store, [("a", "b", "l1", 1, 1), ("a", "b", "l2", 1, 1)])
    bench = Bench(store)
    bench.router.resume(0, graph, links_of(graph, "a"))
    repair = bench.installed["b"].repair
    assert repair is not None
    assert repair.kind is RepairKind.PARALLEL
    bench.router.link_failed(1, "l1")
    assert via(bench) == {"b": "l2"}
    bench.router.link_failed(2, "l2")
    assert via(bench) == {}
    bench.fire(SPF_TIMER)
    assert bench.installed == {}


@settings(derandomize=True, max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), repairs=st.booleans())
def test_routes_kept_over_changes_equal_routes_computed_afresh(
    make_graph: Callable[..., Graph], random_links: Callable[..., list], seed: int, repairs: bool
) -> None:
    source = random.Random(seed)
    store = GraphStore()
    links = random_links(seed) + random_links(seed + 1)
    links = [
        (a, b, f"{name}/{i}", there, back) for i, (a, b, name, there, back) in enumerate(links)
    ]
    graph = whole = make_graph(store, links)
    bench = Bench(store, "n0", repairs=repairs, config=SpfConfig(local_delay_ns=0))
    bench.router.resume(0, graph, links_of(graph, "n0"))
    for now in range(1, 25):
        name = source.choice(whole.nodes)
        said = whole.advertisement(name) or ()
        kept = [
            Neighbour(n.node, n.link, source.choice([n.cost, n.cost, source.randint(1, 4)]))
            for n in said
            if source.random() < 0.8
        ]
        gone = name != "n0" and source.random() < 0.1
        shy = source.random() < 0.1
        graph = store.apply(graph, name, None if gone else tuple(kept), shy)
        bench.router.graph_changed(now, graph)
        if SPF_TIMER in bench.timers:
            bench.fire(SPF_TIMER)
        private = GraphStore()
        copy = private.apply_all(
            private.empty(),
            [(n, graph.advertisement(n), graph.is_overloaded(n)) for n in reversed(graph.nodes)],
        )
        finder = RouteFinder(private, copy, "n0")
        afresh = {name: finder.route(name, repairs) for name in copy.nodes}
        assert bench.installed == {name: route for name, route in afresh.items() if route}
