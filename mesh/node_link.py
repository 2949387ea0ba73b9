"""The parts that each link of a node has: adjacency, BFD session, flap damping, metric."""

from __future__ import annotations

from typing import Protocol

from x0mesh.mesh.adjacency import Adjacency
from x0mesh.mesh.config import DampingConfig, LinkConfig, LivenessConfig
from x0mesh.mesh.damping import FlapDamping
from x0mesh.mesh.effects import Lease
from x0mesh.mesh.liveness import Session


class NodeLinkPort(Protocol):
    """What a link's session asks of the node."""

    def keep_alive(self, link: str, lease: Lease | None) -> None: ...

    def session_up(self, now: int, link: str) -> None: ...

    def session_down(self, now: int, link: str, diagnostic: str) -> None: ...

    def session_adapted(self, now: int, link: str, detection_time_ns: int) -> None: ...


class NodeLink:
    """One configured link. `is_advertised`: our advertisement names it and routes may use it.

    `hold_due`: Full, but damping holds the good news back.
    """

    __slots__ = (
        "_port",
        "adjacency",
        "config",
        "damping",
        "hold_due",
        "is_advertised",
        "neighbour_links",
        "reverse_metric",
        "session",
    )

    def __init__(
        self,
        adjacency: Adjacency,
        liveness: LivenessConfig,
        damping: DampingConfig,
        port: NodeLinkPort,
    ) -> None:
        self._port = port
        self.adjacency = adjacency
        self.config: LinkConfig = adjacency.config
        self.reverse_metric = 0
        self.damping = FlapDamping(damping)
        self.session = Session(liveness, self)
        self.is_advertised = False
        self.hold_due = False
        self.neighbour_links: tuple[int, int] | None = None

    @property
    def peer(self) -> str:
        """The neighbour expected behind this link."""
        return self.config.peer

    def keep_alive(self, lease: Lease | None) -> None:
        self._port.keep_alive(self.config.link, lease)

    def session_up(self, now: int) -> None:
        self._port.session_up(now, self.config.link)

    def session_down(self, now: int, diagnostic: str) -> None:
        self._port.session_down(now, self.config.link, diagnostic)

    def session_adapted(self, now: int, detection_time_ns: int) -> None:
        self._port.session_adapted(now, self.config.link, detection_time_ns)
