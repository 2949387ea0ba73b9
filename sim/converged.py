"""Converged start: put every node into the state a quiet mesh ends in, instead of waiting for it.

All nodes share one link-state database and one graph store, so memory does not grow with their
square. Keep-alives start at random phases, as if they had been running for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from x0mesh.mesh.converged import converged_database
from x0mesh.mesh.credential import Signer
from x0mesh.mesh.graph import GraphStore
from x0mesh.mesh.liveness import steady_content
from x0mesh.sim.host import Host


def start_converged(
    hosts: Iterable[Host], signers: Mapping[str, Signer], store: GraphStore
) -> None:
    """Start booted, unstarted hosts at the present instant, every adjacency Full."""
    booted = list(hosts)
    database = converged_database(
        ((host.node.config, signers[host.name]) for host in booted),
        booted[0].world.clock.now_ns,
        store,
    )
    for host in booted:
        for name, interface in host.interfaces.items():
            if interface.stream.channel == 0:
                channel = host.world.next_channel()
                interface.stream.settle(channel)
                interface.opposite.stream.settle(channel)
            assert interface.stream.channel == interface.opposite.stream.channel, name
    for host in booted:
        heard = {
            name: steady_content(interface.opposite.host.node.config.liveness)
            for name, interface in host.interfaces.items()
        }
        host.settling = True
        host.node.start_converged(host.world.clock.now_ns, database, heard)
        host.settling = False
    for host in booted:
        for interface in host.interfaces.values():
            interface.lease.settle_heard()
