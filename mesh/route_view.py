"""Routes computed on demand, for destinations a node does not keep installed.

Repairs lead over nodes that may be nobody's destination (segments); where only routes in use are
installed, packets for such a node are answered by the view that was in force.
"""

from __future__ import annotations

from dataclasses import replace

from x0mesh.mesh.alternates import RouteFinder
from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.routes import Active, Route


class RouteView:
    """A node's routes in one graph over the links it can use; its answers never change."""

    __slots__ = ("_graph", "_name", "_routes", "_store", "_usable")

    def __init__(self, store: GraphStore, graph: Graph, name: str, usable: frozenset[str]) -> None:
        self._store = store
        self._graph = graph
        self._name = name
        self._usable = usable
        self._routes: dict[str, Route | None] = {}

    def route(self, node: str) -> Route | None:
        """The route to `node` without repair; None where there is none, or to itself.

        Over a link that cannot be used it is one that has failed and has no repair.
        """
        if node not in self._routes:
            self._routes[node] = self._find(node)
        return self._routes[node]

    def _find(self, node: str) -> Route | None:
        if node == self._name or self._name not in self._graph:
            return None
        route = RouteFinder(self._store, self._graph, self._name).route(node, False)
        if route is not None and route.primary.link not in self._usable:
            return replace(route, active=Active.REPAIR)
        return route
