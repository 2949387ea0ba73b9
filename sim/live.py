"""Live metrics of a simulated run: what `when` and `abort_if` may look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from x0mesh.mesh.adjacency import AdjacencyState
from x0mesh.sim.host import Host
from x0mesh.sim.link import Link


def full_ratio(links: Iterable[Link], hosts: Mapping[str, Host]) -> float:
    """Full adjacencies over links that are physically up; 1 when there is none.

    Up: carrier and no block in either direction, both processes there. Full: at both ends.
    """
    up = full = 0
    for link in links:
        ends = (hosts[link.plan.a], hosts[link.plan.b])
        passes = link.forward.passes and link.backward.passes
        if passes and all(host.is_running for host in ends):
            up += 1
            full += all(
                host.node.adjacency_states()[link.name] is AdjacencyState.FULL for host in ends
            )
    return full / up if up else 1.0


def converged(hosts: Iterable[Host]) -> float:
    """1.0 when no running node has anything pending, else 0.0."""
    running = (host for host in hosts if host.is_running)
    return float(all(host.node.quiet and not host.is_busy for host in running))


def free_memory_bytes(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Memory the host can still give out; infinite where it does not say."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return float("inf")
    for line in lines:
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return float("inf")
