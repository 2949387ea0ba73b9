"""Whole nodes: forming adjacencies, healing, restarting, leaving; bytes and clocks alone."""

from __future__ import annotations

from x0mesh.mesh.adjacency import AdjacencyState
from x0mesh.mesh.config import S

FULL = AdjacencyState.FULL


def test_two_nodes_reach_full_with_bytes_only(network):
    net = network([("a", "b")]).start()
    net.run(3 * S)
    assert net.nodes["a"].adjacency_states() == {"l0": FULL}
    assert net.nodes["b"].adjacency_states() == {"l0": FULL}
    assert net.database("a") == net.database("b")
    assert net.path("a", "b") == ["a", "b"]
    assert net.is_quiet()


def test_ring_of_six_heals_after_a_silent_cut(network, ring_edges):
    net = network(ring_edges).start()
    net.run(20 * S)
    assert net.path("a", "b") == ["a", "b"]
    net.cut(net.link("a", "b"))
    net.run_for(5 * S)
    assert net.path("a", "b") == ["a", "f", "e", "d", "c", "b"]
    assert net.is_quiet()
    net.mend(net.link("a", "b"))
    net.run_for(10 * S)
    assert net.path("a", "b") == ["a", "b"]
    assert net.is_quiet()
