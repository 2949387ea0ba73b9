"""Random small meshes under random failures end quiet, agreed within each component, and right."""

from __future__ import annotations

import networkx as nx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from x0mesh.mesh.config import MS, S

steps = st.lists(
    st.tuples(
        st.sampled_from(["cut", "mend", "carrier", "crash", "boot", "overload"]),
        st.integers(0, 99),
        st.integers(1, 3000),
    ),
    max_size=8,
)


def surviving(net) -> nx.MultiGraph:
    graph = nx.MultiGraph()
    graph.add_nodes_from(net.nodes)
    for wire in net.wires.values():
        if wire.is_up and all(end in net.nodes for end in wire.ends):
            graph.add_edge(*wire.ends, key=wire.name)
    return graph


@settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.integers(2, 7), st.integers(0, 6), st.integers(0, 999), st.booleans(), steps)
def test_every_component_ends_quiet_with_one_database(
    network, random_edges, nodes, extra, seed, cold, failures
):
    net = network(random_edges(nodes, extra, seed), seed=seed)
    if cold:
        net.start()
    else:
        net.start_converged()
    net.run(5 * S)
    names, links = list(net.configs), list(net.wires)
    epoch = 1
    for what, pick, pause_ms in failures:
        link, name = links[pick % len(links)], names[pick % len(names)]
        if what == "cut":
            net.cut(link)
        elif what == "mend":
            net.mend(link)
        elif what == "carrier":
            net.carrier_lost(link)
        elif what == "crash" and name in net.nodes:
            net.crash(name)
        elif what == "boot" and name not in net.nodes:
            epoch += 1
            net.boot(name, boot_epoch=epoch).start(net.now)
        elif what == "overload" and name in net.nodes:
            net.nodes[name].set_overload(net.now, pick % 2 == 0)
        net.run_for(pause_ms * MS)
    net.run_for(120 * S)

    assert net.is_quiet()
    graph = surviving(net)
    for component in nx.connected_components(graph):
        members = sorted(component)
        said = [{o: n for o, n in net.database(name).items() if o in component} for name in members]
        assert all(database == said[0] for database in said)
        for name in members:
            truth = sorted([end, link, 10] for _, end, link in graph.edges(name, keys=True))
            assert said[0][name] == truth
            overloaded = set(net.nodes[name].canonical_state()["overloaded"])
            reachable = nx.single_source_shortest_path_length(graph, name)
            for destination, hops in reachable.items():
                if destination != name and not overloaded:
                    route = net.nodes[name].routes[destination]
                    assert route.metric == 10 * hops
                    assert net.path(name, destination) is not None
            assert not set(net.nodes[name].routes) - component
