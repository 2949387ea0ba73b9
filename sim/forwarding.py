"""Forwarding state of the whole simulated network over time, and one packet's way through it.

Interprets `x0mesh.mesh.routes` exactly as documented there: primary or repair, segments, the
mark that forbids a second repair, and the neighbour's data gate on arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import (
    Active,
    AdjacencySegment,
    NextHop,
    NodeSegment,
    Route,
    RouteChange,
    Segment,
)
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import LinkPlan, Plan
from x0mesh.sim.history import FOREVER, History

MAX_HOPS = 64
"""Hop limit of a packet; a loop ends there."""


class Fate(Enum):
    """What became of a packet at a node."""

    DELIVERED = "delivered"
    FORWARDED = "forwarded"
    NODE_DOWN = "node down"
    NO_ROUTE = "no route"
    NO_REPAIR = "no repair"
    SECOND_FAILURE = "repaired packet met a second failure"
    GATE_CLOSED = "data gate closed"
    LINK_DOWN = "link down or blocked"
    TOO_BIG = "larger than the link's MTU"
    LOST = "lost on the link"
    CORRUPT = "damaged on the link"
    QUEUE_FULL = "queue full"
    HOP_LIMIT = "hop limit"


class LinkDirection:
    """One direction of a link over time. `state` is (passes, held, impairment)."""

    __slots__ = ("entity", "index", "link", "receiver", "sender", "state")

    def __init__(self, index: int, link: LinkPlan, forward: bool) -> None:
        self.index = index
        self.link = link.name
        self.sender, self.receiver = (link.a, link.b) if forward else (link.b, link.a)
        self.entity = f"{link.name}:{'forward' if forward else 'backward'}"
        base = link.forward if forward else link.backward
        self.state: History[tuple[bool, bool, Impairment]] = History(0, (True, False, base))


class Packet:
    """What a packet carries: destination, segments left, the repair mark; and where it has been."""

    __slots__ = (
        "destination",
        "hops",
        "looped",
        "node",
        "repaired",
        "segments",
        "size_bytes",
        "trail",
        "visited",
    )

    def __init__(self, source: str, destination: str, size_bytes: int) -> None:
        self.node = source
        self.destination = destination
        self.segments: tuple[Segment, ...] = ()
        self.repaired = False
        self.looped = False
        self.hops = 0
        self.size_bytes = size_bytes
        self.visited: set[tuple[str, bool, int]] = set()
        self.trail: list[int] = []

    def arrive(self, node: str) -> bool:
        """Note the visit; True when it closes the packet's first forwarding loop.

        Coming back to a node in another state (repaired, or further along its segments) is a
        detour, not a loop.
        """
        state = (node, self.repaired, len(self.segments))
        closes = state in self.visited and not self.looped
        self.looped = self.looped or closes
        self.visited.add(state)
        return closes


class Forwarding:
    """Histories of every node's table and gates and of every link's state."""

    def __init__(self, plan: Plan) -> None:
        self.directions: dict[tuple[str, str], LinkDirection] = {}
        self.by_link: dict[str, tuple[LinkDirection, LinkDirection]] = {}
        for link in plan.links:
            pair = (
                LinkDirection(2 * len(self.by_link), link, True),
                LinkDirection(2 * len(self.by_link) + 1, link, False),
            )
            self.by_link[link.name] = pair
            for direction in pair:
                self.directions[direction.link, direction.sender] = direction
        self.on: dict[str, History[bool]] = {n.name: History(0, True) for n in plan.nodes}
        self.tables: dict[str, dict[str, History[Route | None]]] = {n.name: {} for n in plan.nodes}
        self.views: dict[str, History[RouteView | None]] = {}
        self.gates: dict[tuple[str, str], History[bool]] = {}

    def install(self, t_ns: int, node: str, changes: Sequence[RouteChange]) -> None:
        table = self.tables[node]
        for change in changes:
            history = table.get(change.destination)
            if history is None:
                history = table[change.destination] = History(0, None)
            history.set(t_ns, change.route)

    def answer_by(self, t_ns: int, node: str, view: RouteView) -> None:
        history = self.views.get(node)
        if history is None:
            history = self.views[node] = History(0, None)
        history.set(t_ns, view)

    def flush(self, t_ns: int, node: str) -> None:
        if node in self.views:
            self.views[node].set(t_ns, None)
        for history in self.tables[node].values():
            history.set(t_ns, None)

    def set_gate(self, t_ns: int, node: str, link: str, is_open: bool) -> None:
        history = self.gates.get((node, link))
        if history is None:
            history = self.gates[node, link] = History(0, False)
        history.set(t_ns, is_open)

    def gate_open(self, t_ns: int, node: str, link: str) -> tuple[bool, int]:
        """Whether `node` admits data from `link` at `t_ns`, and until when that holds."""
        history = self.gates.get((node, link))
        return (False, FOREVER) if history is None else (history.at(t_ns), history.until(t_ns))

    def _route(self, t_ns: int, node: str, target: str) -> tuple[Route | None, int]:
        """The route in force at `node`, installed or answered by its view, and until when."""
        until = FOREVER
        installed = self.tables[node].get(target)
        if installed is not None:
            until = installed.until(t_ns)
            route = installed.at(t_ns)
            if route is not None:
                return route, until
        views = self.views.get(node)
        if views is None:
            return None, until
        view = views.at(t_ns)
        return None if view is None else view.route(target), min(until, views.until(t_ns))

    def next_hop(self, t_ns: int, packet: Packet) -> tuple[NextHop | None, Fate, int]:
        """Decide at `packet.node`; updates the packet's segments and mark.

        Returns the hop (None unless FORWARDED), the fate, and the instant until which the same
        decision would be taken.
        """
        node = packet.node
        power = self.on[node]
        until = power.until(t_ns)
        if not power.at(t_ns):
            return None, Fate.NODE_DOWN, until
        segments = packet.segments
        while segments and isinstance(segments[0], NodeSegment) and segments[0].node == node:
            segments = packet.segments = segments[1:]
        target = packet.destination
        if segments:
            first = segments[0]
            if isinstance(first, AdjacencySegment) and first.node == node:
                packet.segments = segments[1:]
                return first.hop, Fate.FORWARDED, until
            target = first.node
        elif node == packet.destination:
            return None, Fate.DELIVERED, until
        route, holds = self._route(t_ns, node, target)
        until = min(until, holds)
        if route is None:
            return None, Fate.NO_ROUTE, until
        if route.active is Active.PRIMARY:
            return route.primary, Fate.FORWARDED, until
        if packet.repaired:
            return None, Fate.SECOND_FAILURE, until
        repair = route.repair
        if repair is None:
            return None, Fate.NO_REPAIR, until
        packet.repaired = True
        packet.segments = repair.segments + packet.segments
        return repair.hop, Fate.FORWARDED, until
