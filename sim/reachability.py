"""How many node pairs reach each other now, of those the surviving graph connects.

Walks the forwarding tables in force, ignoring random loss. Up to `ALL_PAIRS` nodes every pair
counts; above, the pairs towards a sample of destinations drawn once per run. Where only routes in
use are installed, the destinations are those in use.
"""

from __future__ import annotations

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
            if source in known:
                continue
            packet = Packet(source, destination, 0)
            trail: list[str] = []
            outcome: bool | None = None
            while outcome is None:
                plain = not packet.repaired and not packet.segments
                if plain and packet.node in known:
                    outcome = known[packet.node]
                    break
                if packet.arrive(packet.node) or packet.hops > MAX_HOPS:
                    outcome = False
                    break
                if plain:
                    trail.append(packet.node)
                outcome = self._hop(t_ns, packet)
            for node in trail:
                known[node] = outcome
        return sum(known[source] for source in sources)

    def _hop(self, t_ns: int, packet: Packet) -> bool | None:
        """Advance one hop; True delivered, False dropped, None under way."""
        hop, fate, _ = self.forwarding.next_hop(t_ns, packet)
        if hop is None:
            return fate is Fate.DELIVERED
        direction = self.forwarding.directions[hop.link, packet.node]
        passes, held, impairment = direction.state.now
        if not passes or held or impairment.loss >= 1.0:
            return False
        if not self.forwarding.gate_open(t_ns, direction.receiver, direction.link)[0]:
            return False
        packet.node = direction.receiver
        packet.hops += 1
        return None
