"""One link's adjacency: a channel, a session over it, and a database exchange, in that order.

DOWN until the engine has an authenticated channel; CONNECTED while the BFD session is not Up;
EXCHANGE until both summaries are worked off; then FULL (compare RFC 2328 s.10.1). Every new
channel starts at the beginning, and leaving FULL for any reason ends the channel.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from x0mesh.mesh.config import LinkConfig
from x0mesh.mesh.dialling import Dialler
from x0mesh.mesh.exchange import Exchange, answer
from x0mesh.mesh.lsdb import Database
from x0mesh.mesh.messages import DatabaseDescription, Message, Request


class AdjacencyState(Enum):
    """How far an adjacency has come."""

    DOWN = "down"
    CONNECTED = "connected"
    EXCHANGE = "exchange"
    FULL = "full"


class AdjacencyPort(Protocol):
    """What an adjacency asks of its node."""

    def send(self, link: str, message: Message) -> None: ...

    def adjacency_full(self, now: int, link: str) -> None:
        """Both summaries are worked off and the session is Up."""


class Adjacency:
    """State of one link towards the neighbour that its configuration expects."""

    __slots__ = ("_database", "_port", "config", "dialler", "exchange", "session_is_up", "state")

    def __init__(
        self, config: LinkConfig, dialler: Dialler, database: Database, port: AdjacencyPort
    ) -> None:
        self.config = config
        self.dialler = dialler
        self.exchange = Exchange()
        self.session_is_up = False
        self.state = AdjacencyState.DOWN
        self._database = database
        self._port = port

    @property
    def is_flooded(self) -> bool:
        """The neighbour has our summary, so it must hear of what we store from now on."""
        return self.exchange.described

    @property
    def is_quiet(self) -> bool:
        """Nothing is under way that this end waits for."""
        return not self.exchange.awaits_answer and self.state is not AdjacencyState.EXCHANGE

    def opened(self, now: int) -> None:
        """A new channel to the right neighbour."""
        assert self.state is AdjacencyState.DOWN, self.state
        self.dialler.opened(now)
        self.state = AdjacencyState.CONNECTED

    def closed(self, now: int) -> None:
        """The channel is gone."""
        self.state = AdjacencyState.DOWN
        self.session_is_up = False
        self.exchange = Exchange()
        self.dialler.lost(now)

    def session_up(self, now: int) -> None:
        """Both directions work: describe our database."""
        assert self.state is AdjacencyState.CONNECTED, self.state
        self.state = AdjacencyState.EXCHANGE
        self.session_is_up = True
        for part in self.exchange.describe(self._database):
            self._port.send(self.config.link, part)
        self.advance(now)

    def resume(self, now: int) -> None:
        """Be FULL at once (converged start)."""
        self.dialler.opened(now)
        self.session_is_up = True
        self.exchange.resume()
        self.state = AdjacencyState.FULL

    def described(self, now: int, part: DatabaseDescription) -> None:
        """The neighbour's summary; it may come before our own end of the session is Up."""
        request = self.exchange.heard(self._database, part)
        if request is not None:
            self._port.send(self.config.link, request)
        self.advance(now)

    def requested(self, request: Request) -> None:
        """The neighbour lacks something we named."""
        for part in answer(self._database, request):
            self._port.send(self.config.link, part)

    def advance(self, now: int) -> None:
        """Become FULL if nothing is missing any more."""
        if self.state is AdjacencyState.EXCHANGE and self.exchange.is_complete:
            self.state = AdjacencyState.FULL
            self.dialler.settled()
            self._port.adjacency_full(now, self.config.link)
