"""What the control plane tells the data plane: next hops, repairs and route changes.

A route holds a primary next hop and, precomputed, the repair used from the moment the primary
fails until the network has reconverged. Both engines interpret these values and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class NextHop:
    """An outgoing link and the neighbour behind it (parallel links differ in `link` only)."""

    link: str
    neighbour: str


@dataclass(frozen=True, slots=True)
class NodeSegment:
    """Reach `node` along shortest paths, then continue (a prefix segment, RFC 8402 s.3.2)."""

    node: str


@dataclass(frozen=True, slots=True)
class AdjacencySegment:
    """At `node`, leave over exactly this link (an adjacency segment, RFC 8402 s.3.4)."""

    node: str
    hop: NextHop


Segment = NodeSegment | AdjacencySegment


class RepairKind(Enum):
    """How a repair path was found, in order of preference."""

    PARALLEL = "parallel-link"
    LFA = "lfa"  # RFC 5286
    REMOTE_LFA = "remote-lfa"  # RFC 7490
    EXPLICIT = "explicit"  # RFC 9855


class Protection(Enum):
    """What the repair survives: the failed link, or the whole node behind it."""

    LINK = "link"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Repair:
    """A loop-free way round the primary. `segments` are worked off in order, then the destination.

    A packet forwarded over a repair is marked; a marked packet that meets a second failed
    primary is dropped, never repaired again.
    """

    hop: NextHop
    segments: tuple[Segment, ...]
    kind: RepairKind
    protects: Protection


class Active(Enum):
    """Which of a route's two next hops forwards now."""

    PRIMARY = "primary"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Route:
    """Forwarding entry for one destination node. `metric` is the primary's path cost.

    `active` is REPAIR from local repair until the new primary is installed; with `repair` None
    and `active` REPAIR the destination is unreachable and packets are dropped.
    """

    destination: str
    primary: NextHop
    repair: Repair | None
    metric: int
    active: Active = Active.PRIMARY


@dataclass(frozen=True, slots=True)
class RouteChange:
    """New route for `destination`, or None to withdraw it. `reason` is an event reason."""

    destination: str
    route: Route | None
    reason: str
