"""How many node pairs reach each other now, of those the surviving graph connects.

Walks the forwarding tables in force, ignoring random loss. Up to `ALL_PAIRS` nodes every pair
counts; above, the pairs towards a sample of destinations drawn once per run. Where only routes in
use are installed, the destinations are those in use.
"""

from __future__ import annotations

from x0mesh.mesh.routes import Active, NextHop, Route
from x0mesh.scenarios.draws import stream
from x0mesh.sim.forwarding import MAX_HOPS, Fate, Forwarding, Packet

ALL_PAIRS = 64
SAMPLED = 32


def sampled_destinations(names: list[str], seed: int) -> list[str]:
    """All of `names`, or `SAMPLED` of them for large networks, in their order."""
    if len(names) <= ALL_PAIRS:
        return names
    chosen = stream(seed, "network", "reachability").choice(len(names), SAMPLED, replace=False)
    return [names[i] for i in sorted(int(i) for i in chosen)]


class Reachability:
    """Counts pairs for the state in force at an instant that is not earlier than any change."""

    def __init__(self, forwarding: Forwarding, destinations: list[str]) -> None:
        self.forwarding = forwarding
        self.destinations = destinations

    def ratio(self, t_ns: int, labels: dict[str, str]) -> float:
        """Reached over connected pairs; 1 when no pair is connected. `labels`: components."""
        connected = reached = 0
        for destination in self.destinations:
            label = labels.get(destination)
            if label is None:
                continue
            sources = [n for n, other in labels.items() if other == label and n != destination]
            connected += len(sources)
            reached += self._reaching(t_ns, destination, sources)
        return reached / connected if connected else 1.0

    def _reaching(self, t_ns: int, destination: str, sources: list[str]) -> int:
        """How many sources reach `destination`; unmarked packets at one node share a fate."""
        known: dict[str, bool] = {destination: True}
        for source in sources:
            trail: dict[str, None] = {}
            node: str | None = source
            while node is not None and node not in known:
                if node in trail or len(trail) > MAX_HOPS:
                    node = None
                    break
                trail[node] = None
                route = self._route(node, destination)
                if route is None:
                    node = None
                elif route.active is Active.PRIMARY:
                    node = self._beyond(node, route.primary)
                else:
                    packet = Packet(node, destination, 0)
                    packet.hops = len(trail) - 1
                    known[node] = self._arrives(t_ns, packet)
            outcome = node is not None and known[node]
            known.update(dict.fromkeys(trail, outcome))
        return sum(known[source] for source in sources)

    def _route(self, node: str, destination: str) -> Route | None:
        """What an unmarked packet at `node` follows now."""
        forwarding = self.forwarding
        if not forwarding.on[node].now:
            return None
        installed = forwarding.tables[node].get(destination)
        if installed is not None and installed.now is not None:
            return installed.now
        views = forwarding.views.get(node)
        return views.now.route(destination) if views is not None and views.now is not None else None

    def _arrives(self, t_ns: int, packet: Packet) -> bool:
        """Whether a packet that meets a failure gets there."""
        while True:
            if packet.arrive(packet.node) or packet.hops > MAX_HOPS:
                return False
            hop, fate, _ = self.forwarding.next_hop(t_ns, packet)
            if hop is None:
                return fate is Fate.DELIVERED
            receiver = self._beyond(packet.node, hop)
            if receiver is None:
                return False
            packet.node = receiver
            packet.hops += 1

    def _beyond(self, node: str, hop: NextHop) -> str | None:
        """Who gets what `node` sends to `hop`; None if nobody does."""
        forwarding = self.forwarding
        direction = forwarding.directions[hop.link, node]
        passes, held, impairment = direction.state.now
        if not passes or held or impairment.loss >= 1.0:
            return None
        gate = forwarding.gates.get((direction.receiver, direction.link))
        return direction.receiver if gate is not None and gate.now else None
