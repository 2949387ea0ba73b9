"""A network before faults: named nodes and links, whatever it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import networkx as nx

from x0mesh.scenarios.plan import LinkPlan, NodePlan


@dataclass(slots=True)
class Topology:
    """Nodes and links by name, in a fixed order. `notes` say what was added or left out."""

    nodes: dict[str, NodePlan] = field(default_factory=dict)
    links: dict[str, LinkPlan] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def graph(self) -> nx.MultiGraph[str]:
        """Undirected multigraph; edge keys are link names, edge attribute `link` the LinkPlan."""
        graph: nx.MultiGraph[str] = nx.MultiGraph()
        graph.add_nodes_from(self.nodes)
        for link in self.links.values():
            graph.add_edge(link.a, link.b, key=link.name, link=link)
        return graph
