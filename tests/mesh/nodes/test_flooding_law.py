"""V5: what flooding costs and how long it takes, exactly."""

from __future__ import annotations

import networkx as nx
import pytest

from x0mesh.mesh.config import MS, S
from x0mesh.mesh.messages import Update


@pytest.mark.parametrize(
    ("nodes", "extra", "seed"), [(2, 0, 1), (12, 9, 2), (30, 45, 3), (40, 0, 4)]
)
def test_v5_flooding_cost_and_time(network, random_edges, nodes, extra, seed):
    """One new advertisement: 2m-(n-1) messages, the last after the weighted eccentricity."""
    net = network(random_edges(nodes, extra, seed), seed=seed).start_converged()
    net.run(1 * S)
    assert net.messages.total() == 0

    source = sorted(net.nodes)[nodes // 2]
    started_ns = net.now
    net.nodes[source].set_overload(net.now, True)
    net.run_for(20 * S)

    links = len(net.wires)
    assert net.messages == {"Update": 2 * links - (nodes - 1)}
    graph = nx.Graph()
    for wire in net.wires.values():
        graph.add_edge(*wire.ends, weight=wire.delay_ns)
    eccentricity_ns = max(nx.single_source_dijkstra_path_length(graph, source).values())
    first_ns: dict[str, int] = {source: started_ns}
    for at_ns, _, to, message in net.arrivals:
        assert isinstance(message, Update)
        first_ns.setdefault(to, at_ns)
    assert len(first_ns) == nodes
    assert max(first_ns.values()) - started_ns == eccentricity_ns
    assert all(node.database.newest(source).overload for node in net.nodes.values())
    assert net.is_quiet()


def test_v5_holds_with_parallel_links(network):
    edges = [("a", "b"), ("a", "b"), ("b", "c"), ("c", "a")]
    net = network(edges, delays_ns=[5 * MS, 7 * MS, 3 * MS, 1 * MS]).start_converged()
    net.nodes["a"].set_overload(0, True)
    net.run(1 * S)
    assert net.messages == {"Update": 2 * 4 - (3 - 1)}
