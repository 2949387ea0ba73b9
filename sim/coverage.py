"""How much of what the surviving graph can protect the installed routes protect.

Counted from the tables as they are, not from what the algorithms promise. Two denominators, as
in `x0mesh.mesh.coverage`: link protection over (node, destination) whose primary link is no
bridge; node protection where the next hop neither is the destination nor separates it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx as nx

from x0mesh.mesh.routes import Protection, Route
from x0mesh.sim.surviving import components


def installed_coverage(
    links: Mapping[str, tuple[str, str]], tables: Mapping[str, Mapping[str, Route]]
) -> dict[str, float]:
    """`backup.coverage` and `backup.node_coverage`, 0..1; a name is missing where nothing could
    be protected.

    `links` are those that work, with their ends; `tables` the routes by node.
    """
    graph: nx.MultiGraph[str] = nx.MultiGraph()
    graph.add_nodes_from(tables)
    for name, (a, b) in links.items():
        graph.add_edge(a, b, key=name)
    bridges = {frozenset(edge) for edge in nx.bridges(nx.Graph(graph))}
    bridges = {edge for edge in bridges if graph.number_of_edges(*edge) == 1}
    without = _components_without(nx.articulation_points(nx.Graph(graph)), links, tables)
    protectable = dict.fromkeys(Protection, 0)
    protected = dict.fromkeys(Protection, 0)
    for node, table in tables.items():
        for destination, route in table.items():
            neighbour = route.primary.neighbour
            repair = route.repair
            if frozenset((node, neighbour)) not in bridges:
                protectable[Protection.LINK] += 1
                protected[Protection.LINK] += repair is not None
            apart = without.get(neighbour)
            if neighbour != destination and (
                apart is None or apart.get(node) == apart.get(destination)
            ):
                protectable[Protection.NODE] += 1
                protected[Protection.NODE] += (
                    repair is not None and repair.protects is Protection.NODE
                )
    names = {Protection.LINK: "backup.coverage", Protection.NODE: "backup.node_coverage"}
    return {
        name: protected[kind] / protectable[kind]
        for kind, name in names.items()
        if protectable[kind]
    }


def _components_without(
    cut_vertices: Iterable[str],
    links: Mapping[str, tuple[str, str]],
    tables: Mapping[str, object],
) -> dict[str, dict[str, str]]:
    """For each cut vertex, the components its loss leaves."""
    return {
        cut: components(
            (node for node in tables if node != cut),
            (ends for ends in links.values() if cut not in ends),
        )
        for cut in cut_vertices
    }
