"""One node's forwarding table: local repair at once, SPF by back-off, local delay.

Driven by topology changes, its links and its timers; it answers with route changes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

from x0mesh.mesh import events
from x0mesh.mesh.alternates import RouteFinder
from x0mesh.mesh.config import LinkConfig, SpfConfig
from x0mesh.mesh.effects import ProtocolEvent, TimerKey
from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import Active, NextHop, Route, RouteChange
from x0mesh.mesh.spf_backoff import SpfBackoff

LOCAL_DELAY_TIMER: Final = ("router", "local-delay")

REASON_START: Final = "start"
REASON_LOCAL_REPAIR: Final = "local repair"
REASON_SPF: Final = "spf"
REASON_LOCAL_DELAY: Final = "local delay over"


class RouterPort(Protocol):
    """The part of `Effects` that a router uses."""

    def set_timer(self, key: TimerKey, due_ns: int) -> None: ...

    def cancel_timer(self, key: TimerKey) -> None: ...

    def install(self, changes: Sequence[RouteChange]) -> None: ...

    def answer_by(self, view: RouteView) -> None: ...

    def emit(self, event: ProtocolEvent) -> None: ...


@dataclass(frozen=True, slots=True)
class _Failure:
    """Local failures since the last SPF run that agrees with the network."""

    neighbours: frozenset[str]
    before: Graph


class Router:
    """Routes of node `name`; `destinations` None means every node of the graph.

    Costs are those advertised, on all nodes alike; `link_up` and `link_failed` only say which of
    our own edges can carry packets now. Local delay (RFC 8333): after SPF, destinations that a
    local repair serves keep it for `local_delay_ns`. It applies as long as every difference from
    the graph before the failure is an edge lost at the failed link's neighbour (the link, or that
    whole node); any other change ends it and the new routes are installed with the next SPF.
    """

    def __init__(
        self,
        name: str,
        config: SpfConfig,
        destinations: frozenset[str] | None,
        repairs: bool,
        store: GraphStore,
        port: RouterPort,
    ) -> None:
        self._name = name
        self._config = config
        self._destinations = None if destinations is None else tuple(sorted(destinations - {name}))
        self._repairs = repairs
        self._store = store
        self._port = port
        self._backoff = SpfBackoff(config, port)
        self._usable: dict[str, str] = {}
        self._graph = store.empty()
        self._computed = store.empty()
        self._traces: dict[str, tuple[Route | None, tuple[int, ...]]] = {}
        self._routes: dict[str, Route] = {}
        self._held: dict[str, Route] = {}
        self._failure: _Failure | None = None

    @property
    def routes(self) -> Mapping[str, Route]:
        """The installed routes by destination; a later install leaves this view as it is."""
        return MappingProxyType(self._routes)

    @property
    def quiet(self) -> bool:
        """No SPF run and no local delay is pending."""
        return not self._backoff.pending and not self._held

    def resume(self, now: int, graph: Graph, links: Iterable[LinkConfig]) -> None:
        """Converged start: these links are usable and the routes are installed at once."""
        self._usable = {link.link: link.peer for link in links}
        self._graph = graph
        self._end_delay()
        self._backoff.reset()
        self._compute(now, REASON_START)

    def graph_changed(self, now: int, graph: Graph) -> None:
        """The link-state database changed; SPF follows by back-off."""
        if graph != self._graph:
            self._graph = graph
            self._backoff.topology_event(now)

    def link_up(self, now: int, link: str, neighbour: str) -> None:
        """The link can carry packets; used once both ends advertise it, at the cost they say."""
        known = self._usable.get(link)
        self._usable[link] = neighbour
        if known != neighbour and self._advertised(link):
            self._backoff.topology_event(now)

    def link_failed(self, now: int, link: str) -> None:
        """Local repair: what used the link uses its repair from this instant on."""
        neighbour = self._usable.pop(link, None)
        if neighbour is None:
            return
        latest = self._routes
        if self._held:
            latest = self._merged()
            self._end_delay()
        routes = {name: self._repaired(route, link) for name, route in latest.items()}
        turned = [route for name, route in routes.items() if route is not latest[name]]
        self._install(routes, REASON_LOCAL_REPAIR)
        self._publish()
        if turned:
            failure = self._failure or _Failure(frozenset(), self._computed)
            self._failure = replace(failure, neighbours=failure.neighbours | {neighbour})
            unprotected = sum(route.repair is None for route in turned)
            reason = f"{unprotected} unprotected" if unprotected else ""
            self._emit(events.ROUTE_REPAIRED, len(turned) - unprotected, link, neighbour, reason)
        if self._advertised(link):
            self._backoff.topology_event(now)

    def timer(self, now: int, key: TimerKey) -> None:
        """A timer set through the port is due."""
        if key == LOCAL_DELAY_TIMER:
            routes = self._merged()
            self._end_delay()
            self._install(routes, REASON_LOCAL_DELAY)
        elif self._backoff.timer(key):
            self._compute(now, REASON_SPF)

    def route_to(self, node: str) -> Route | None:
        """How a packet for `node` leaves now; computed on demand where nothing is installed."""
        return self._routes.get(node) or self._view().route(node)

    def _view(self) -> RouteView:
        return RouteView(self._store, self._computed, self._name, frozenset(self._usable))

    def _publish(self) -> None:
        if self._destinations is not None:
            self._port.answer_by(self._view())

    def _compute(self, now: int, reason: str) -> None:
        graph = self._seen()
        fresh = self._fresh(graph)
        known = self._merged()
        moved = sum(
            _way(known.get(name)) != _way(fresh.get(name)) for name in known.keys() | fresh.keys()
        )
        self._emit(events.SPF_RUN, moved)
        kept = self._kept(fresh, graph)
        if not kept:
            self._end_delay()
        elif not self._held:
            self._port.set_timer(LOCAL_DELAY_TIMER, now + self._config.local_delay_ns)
        self._held = {name: fresh[name] for name in kept}
        self._install(fresh | kept, reason)
        self._publish()

    def _fresh(self, graph: Graph) -> dict[str, Route]:
        """The routes in `graph`, computed anew only where it differs from the one before."""
        older, self._computed = self._computed, graph
        traces, self._traces = self._traces, {}
        if self._name not in graph:
            return {}
        finder = RouteFinder(self._store, graph, self._name)
        for destination in graph.nodes if self._destinations is None else self._destinations:
            trace = traces.get(destination)
            if trace is not None:
                disturbed = self._store.disturbed(older, graph, destination)
                if disturbed is None or not disturbed.isdisjoint(trace[1]):
                    trace = None
            self._traces[destination] = trace or finder.trace(destination, self._repairs)
        return {name: route for name, (route, _) in self._traces.items() if route is not None}

    def _kept(self, fresh: Mapping[str, Route], graph: Graph) -> dict[str, Route]:
        """Installed repairs to keep for the local delay although newer routes are known."""
        failure = self._failure
        if failure is None or self._config.local_delay_ns <= 0 or graph == failure.before:
            return {}
        if not _only_lost_at(failure.neighbours, failure.before, graph):
            return {}
        return {
            name: route
            for name, route in self._routes.items()
            if route.active is Active.REPAIR and route.repair is not None and name in fresh
        }

    def _merged(self) -> dict[str, Route]:
        """The installed routes with those the local delay holds back."""
        return self._routes | self._held

    def _end_delay(self) -> None:
        if self._held:
            self._port.cancel_timer(LOCAL_DELAY_TIMER)
        self._held = {}
        self._failure = None

    def _repaired(self, route: Route, link: str) -> Route:
        """The route once `link` is gone."""
        repair = route.repair
        if repair is not None and repair.hop.link not in self._usable:
            repair = None
        if route.active is Active.PRIMARY:
            if route.primary.link != link:
                return route
            return replace(route, active=Active.REPAIR, repair=repair)
        return route if repair is route.repair else replace(route, repair=repair)

    def _seen(self) -> Graph:
        """The advertised graph without those of our own edges that cannot carry packets now."""
        edges = self._graph.edges(self._name)
        if all(self._usable.get(edge.link) == edge.neighbour for edge in edges):
            return self._graph
        advertised = self._graph.advertisement(self._name)
        assert advertised is not None
        usable = tuple(n for n in advertised if self._usable.get(n.link) == n.node)
        overload = self._graph.is_overloaded(self._name)
        return self._store.apply(self._graph, self._name, usable, overload)

    def _advertised(self, link: str) -> bool:
        return any(edge.link == link for edge in self._graph.edges(self._name))

    def _install(self, routes: dict[str, Route], reason: str) -> None:
        known, self._routes = self._routes, routes
        changes = [
            RouteChange(name, routes.get(name), reason)
            for name in sorted(known.keys() | routes.keys())
            if known.get(name) != routes.get(name)
        ]
        if changes:
            self._port.install(changes)
            if reason != REASON_LOCAL_REPAIR:
                self._emit(events.ROUTE_CHANGED, len(changes), reason=reason)

    def _emit(
        self, kind: str, value: int, link: str = "", peer: str = "", reason: str = ""
    ) -> None:
        self._port.emit(ProtocolEvent(kind, link, peer, float(value), reason))


def _way(route: Route | None) -> tuple[NextHop, int] | None:
    return None if route is None else (route.primary, route.metric)


def _only_lost_at(nodes: frozenset[str], before: Graph, after: Graph) -> bool:
    """Whether `after` is `before` less some edges of a single node, all of `nodes`."""
    if len(nodes) != 1 or before.overloaded != after.overloaded:
        return False
    (node,) = nodes
    for number in after.changed_rows(before):
        name = after.name(number)
        old, new = set(before.edges(name)), set(after.edges(name))
        if new - old or any(node not in (name, edge.neighbour) for edge in old - new):
            return False
    return True
