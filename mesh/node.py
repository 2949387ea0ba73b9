"""A whole node: the parts of the protocol, and the order in which one sets off the next.

A node is driven by exactly three sources: its user (start, overload, identity, trust), the
network (channels, messages, leases) and timers. Everything it does comes out through `Effects`.
The same inputs in the same order give the same outputs: no clock, socket or random source of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from x0mesh.mesh import events
from x0mesh.mesh.adjacency import Adjacency, AdjacencyState
from x0mesh.mesh.config import NodeConfig
from x0mesh.mesh.credential import Signer, Verifier
from x0mesh.mesh.damping import FlapDamping
from x0mesh.mesh.dialling import Dialler
from x0mesh.mesh.effects import Effects, KeepAlive, Lease, LeaseChange, ProtocolEvent, TimerKey
from x0mesh.mesh.flooding import Flooding
from x0mesh.mesh.graph import GraphStore
from x0mesh.mesh.judgement import CREDENTIAL, credential_fault, plain_fault, signature_fault
from x0mesh.mesh.liveness import Session
from x0mesh.mesh.lsdb import Database
from x0mesh.mesh.messages import (
    Credential,
    DatabaseDescription,
    Lsa,
    Message,
    Neighbour,
    Request,
    Update,
)
from x0mesh.mesh.origination import Content, Origination
from x0mesh.mesh.router import Router
from x0mesh.mesh.routes import Route

EXPIRY_TIMER: Final = ("expiry",)
HOLD_TIMER: Final = "hold"

CHANNEL_REPLACED: Final = "replaced by a new channel"
OWN_EXPIRED: Final = "own identity expired"


class Snapshot(msgspec.Struct, frozen=True):
    """What survives a warm restart: the database, and with it our own last sequence."""

    lsas: tuple[Lsa, ...]
    credentials: tuple[Credential, ...]


class Node:
    """One mesh node; all inputs carry `now` in nanoseconds, none may precede an earlier one.

    `draw(purpose)` gives the next number in [0, 1) of that purpose's own stream. `graphs` may be
    shared by nodes of one process: it changes cost, never behaviour.
    """

    def __init__(
        self,
        config: NodeConfig,
        effects: Effects,
        draw: Callable[[str], float],
        signer: Signer,
        verifier: Verifier,
        graphs: GraphStore | None = None,
    ) -> None:
        self.config = config
        self.ignored = 0
        self._name = config.name
        self._effects = effects
        self._signer = signer
        self._verifier = verifier
        self._overload = False
        self._leaving = False
        self._resuming = False
        store = graphs if graphs is not None else GraphStore()
        self._database = Database(store=store)
        self._graph = self._database.graph
        self._router = Router(
            config.name, config.spf, config.destinations, config.repairs, store, effects
        )
        self._flooding = Flooding(
            config.name, config.flooding, self._database, verifier, _FloodingPort(self)
        )
        self._origination = Origination(
            config.name, config.boot_epoch, config.flooding, signer, draw, _OriginationPort(self)
        )
        self._links: dict[str, _Link] = {}
        for link in sorted(config.links, key=lambda link: link.link):
            assert link.link not in self._links, f"link {link.link} twice"
            assert link.peer != config.name, f"link {link.link} leads back to its own node"
            dialler = Dialler(link.link, config.name < link.peer, config.dial, draw, effects)
            adjacency = Adjacency(link, dialler, self._database, _AdjacencyPort(self))
            self._links[link.link] = _Link(self, adjacency)
        self._expiry_armed_ns: int | None = None
        self._condemned: list[tuple[str, str]] = []
        self._distrusted: dict[str, str] = {}

    # The user

    def start(self, now: int) -> None:
        """Cold start: nothing known but the configuration."""
        self._origination.start(now, "start")
        for link in self._links.values():
            link.adjacency.dialler.start(now)

    def start_converged(self, now: int, database: Database, heard: Mapping[str, KeepAlive]) -> None:
        """Start as after a long quiet time; sends nothing.

        `database` holds everyone's advertisement, ours included, and shares this node's graph
        store. `heard` gives, for each link whose adjacency is Full, what the neighbour says.
        """
        self._database.adopt(database)
        self._graph = self._database.graph
        own = self._database.newest(self._name)
        assert own is not None, f"no advertisement of {self._name} in the converged database"
        self._resuming = True
        for name, link in self._links.items():
            if name in heard:
                link.adjacency.resume(now)
                link.is_advertised = True
                self._effects.gate(name, True)
                link.session.resume(now, heard[name])
            else:
                link.adjacency.dialler.start(now)
        self._resuming = False
        assert own.neighbours == self._content().neighbours, "own advertisement is not converged"
        self._origination.resume(now, own)
        self._arm_expiry()
        full = [link.adjacency.config for link in self._links.values() if link.is_advertised]
        self._router.resume(now, self._graph, full)

    def start_warm(self, now: int, snapshot: Snapshot) -> None:
        """Restart with the database of an earlier life; adjacencies and routes begin anew."""
        credentials = {credential.fingerprint: credential for credential in snapshot.credentials}
        for lsa in snapshot.lsas:
            credential = credentials.get(lsa.fingerprint)
            if (
                credential is not None
                and plain_fault(lsa, now, self.config.flooding.max_neighbours) is None
                and credential_fault(self._verifier, credential, now) is None
                and signature_fault(self._verifier, lsa, credential) is None
            ):
                self._database.put(lsa, credential)
        own = self._database.newest(self._name)
        if own is not None:
            self._origination.continue_after(own)
        self._origination.start(now, "warm start")
        for link in self._links.values():
            link.adjacency.dialler.start(now)

    def snapshot(self) -> Snapshot:
        """What `start_warm` needs."""
        return Snapshot(tuple(self._database.lsas()), tuple(self._database.credentials()))

    def withdraw(self, now: int) -> None:
        """Leave the mesh: advertise no neighbours from now on, and let that be flooded.

        The empty advertisement stays until its expiry, newer than any that a partition still
        holds; removing it instead would let those return (compare RFC 2328 s.14.1).
        """
        self._leaving = True
        self._origination.start(now, "withdrawn")

    def set_overload(self, now: int, on: bool) -> None:
        """Ask others not to transit us (RFC 6987), or welcome them again."""
        self._overload = on
        self._origination.news(now, bad=on, reason="overload" if on else "overload over")

    def identity_changed(self, now: int, signer: Signer) -> None:
        """A new SVID: flood it, and sign with it from now on."""
        self._signer = signer
        self._origination.identity_changed(now, signer)

    def trust_changed(self, now: int) -> None:
        """Bundles or revocations changed: judge again what we believe, and what we refused."""
        for lsa in list(self._database.lsas()):
            credential = self._database.credential(lsa.fingerprint)
            assert credential is not None, "an advertisement without its credential"
            fault = credential_fault(self._verifier, credential, now)
            if fault is not None and lsa.origin != self._name:
                self._withdraw(now, lsa, fault)
        if self._distrusted:
            refused, self._distrusted = self._distrusted, {}
            request = Request(tuple(refused), tuple(dict.fromkeys(refused.values())))
            for name in list(self._flooded_links()):
                self._request(name, request)
        self._settle(now)

    # The network

    def link_up(self, now: int, link: str, neighbour_id: str) -> None:
        """The engine has an authenticated channel to `neighbour_id`; it replaces an older one."""
        at = self._links[link]
        if at.adjacency.state is not AdjacencyState.DOWN:
            self._adjacency_lost(now, at, CHANNEL_REPLACED, close=False)
        if neighbour_id != at.adjacency.config.peer:
            reason = f"expected {at.adjacency.config.peer}"
            self._emit(events.SESSION_REFUSED, link, neighbour_id, reason=reason)
            self._effects.close(link, reason)
            at.adjacency.dialler.lost(now)
            return
        at.adjacency.opened(now)
        self._emit(events.SESSION_ESTABLISHED, link, neighbour_id)
        at.session.start(now)

    def link_down(self, now: int, link: str, reason: str) -> None:
        """Carrier lost: the session is Down at once. A dial under way is still answered."""
        at = self._links[link]
        if at.adjacency.state is AdjacencyState.DOWN:
            return
        at.down_reason = reason
        at.session.path_down(now)
        self._tear_down(now, at, reason)  # the session was not Up
        at.down_reason = ""

    def channel_failed(self, now: int, link: str, reason: str) -> None:
        """The channel broke, or a dial did not succeed."""
        at = self._links[link]
        if at.adjacency.state is AdjacencyState.DOWN:
            at.adjacency.dialler.lost(now)
        else:
            self._adjacency_lost(now, at, reason, close=False)

    def receive(self, now: int, link: str, message: Message) -> None:
        """A message of the link's channel."""
        at = self._links[link]
        if at.adjacency.state is AdjacencyState.DOWN:
            self.ignored += 1
            return
        match message:
            case Update():
                self._receive_update(now, at, message)
            case DatabaseDescription():
                at.adjacency.described(now, message)
            case Request():
                at.adjacency.requested(message)

    def lease_changed(
        self, now: int, link: str, heard: KeepAlive, change: LeaseChange, at_ns: int
    ) -> None:
        """The neighbour's keep-alives say something new, or fell silent at `at_ns`."""
        self._links[link].session.lease_changed(now, heard, change, at_ns)

    def lease_report(self, now: int, link: str, received: int, expected: int) -> None:
        """Loss of the last expected keep-alives."""
        self._links[link].session.lease_report(now, received, expected)

    # Timers

    def timer(self, now: int, key: TimerKey, due_ns: int) -> None:
        """A timer set through `Effects` is due; running late feeds local health."""
        for link in self._links.values():
            link.session.late(now, max(0, now - due_ns))
        assert isinstance(key, tuple), key
        match key[0]:
            case "router":
                self._router.timer(now, key)
            case "dial":
                self._links[key[1]].adjacency.dialler.timer(now)
            case "hold":
                self._links[key[1]].hold_due = False
                self._advertise(now, self._links[key[1]])
            case "origination":
                self._origination.timer(now, key)
            case "flooding":
                self._flooding.timer(now)
            case "expiry":
                self._expire(now)
            case _:
                raise AssertionError(f"unknown timer {key!r}")

    # What others may read

    @property
    def routes(self) -> Mapping[str, Route]:
        """Installed routes by destination."""
        return self._router.routes

    @property
    def database(self) -> Database:
        """The link-state database, to be read only."""
        return self._database

    @property
    def quiet(self) -> bool:
        """No SPF, flooding, request, local delay or held-back good news is pending."""
        return (
            self._router.quiet
            and not self._origination.is_pending
            and self._flooding.waiting == 0
            and all(link.adjacency.is_quiet and not link.hold_due for link in self._links.values())
        )

    def adjacency_states(self) -> dict[str, AdjacencyState]:
        """State of every configured link's adjacency."""
        return {name: link.adjacency.state for name, link in self._links.items()}

    def canonical_state(self) -> dict[str, Any]:
        """What must be equal however this state was reached; no sequences and no times."""
        return {
            "adjacencies": {name: at.adjacency.state.value for name, at in self._links.items()},
            "database": {
                lsa.origin: {
                    "neighbours": [[n.node, n.link, n.cost] for n in lsa.neighbours],
                    "overload": lsa.overload,
                }
                for lsa in self._database.lsas()
            },
            "routes": {
                name: msgspec.to_builtins(self._router.routes[name])
                for name in sorted(self._router.routes)
            },
        }

    # Adjacencies coming and going

    def _session_up(self, now: int, at: _Link) -> None:
        if self._resuming:
            return
        config = at.adjacency.config
        self._emit(events.LIVENESS_UP, config.link, config.peer)
        self._effects.gate(config.link, True)
        at.adjacency.session_up(now)

    def _session_down(self, now: int, at: _Link, diagnostic: str) -> None:
        self._adjacency_lost(now, at, at.down_reason or diagnostic, close=True)

    def _session_adapted(self, at: _Link, detection_time_ns: int) -> None:
        config = at.adjacency.config
        seconds = detection_time_ns / 1_000_000_000
        self._emit(events.LIVENESS_ADAPTED, config.link, config.peer, value=seconds)

    def _adjacency_full(self, now: int, link: str) -> None:
        at = self._links[link]
        self._emit(events.ADJACENCY_FULL, link, at.adjacency.config.peer)
        ready_ns = at.damping.up(now)
        if ready_ns <= now:
            self._advertise(now, at)
        else:
            at.hold_due = True
            self._effects.set_timer((HOLD_TIMER, link), ready_ns)

    def _advertise(self, now: int, at: _Link) -> None:
        config = at.adjacency.config
        at.is_advertised = True
        self._router.link_up(now, config.link, config.peer, at.cost)
        self._origination.news(now, bad=False, reason=f"link {config.link} up")

    def _adjacency_lost(self, now: int, at: _Link, reason: str, close: bool) -> None:
        """Repair, tell the others, then tidy up: in this order, whatever the cause."""
        config = at.adjacency.config
        was_up = at.adjacency.session_is_up
        was_full = at.adjacency.state is AdjacencyState.FULL
        if was_up:
            self._emit(events.LIVENESS_DOWN, config.link, config.peer, reason=reason)
        if at.is_advertised:
            self._router.link_failed(now, config.link)
        self._effects.gate(config.link, False)
        if at.hold_due:
            at.hold_due = False
            self._effects.cancel_timer((HOLD_TIMER, config.link))
        if was_full:
            at.damping.down(now)
        if at.is_advertised:
            at.is_advertised = False
            self._origination.news(now, bad=True, reason=f"link {config.link} down")
        at.session.stop(now)
        if close:
            self._effects.close(config.link, reason)
        self._emit(events.SESSION_CLOSED, config.link, config.peer, reason=reason)
        at.adjacency.closed(now)

    def _tear_down(self, now: int, at: _Link, reason: str) -> None:
        if at.adjacency.state is not AdjacencyState.DOWN:
            self._adjacency_lost(now, at, reason, close=True)

    # The database

    def _receive_update(self, now: int, at: _Link, update: Update) -> None:
        exchange = at.adjacency.exchange
        self._flooding.receive(now, at.adjacency.config.link, update)
        if update.answers and not exchange.answered():
            self.ignored += 1
        self._settle(now)
        at.adjacency.advance(now)

    def _settle(self, now: int) -> None:
        """Let routing and timers follow the database, and act on refused neighbours."""
        if self._database.graph is not self._graph:
            self._graph = self._database.graph
            self._router.graph_changed(now, self._graph)
        self._arm_expiry()
        while self._condemned:
            link, reason = self._condemned.pop(0)
            at = self._links[link]
            if at.adjacency.state is not AdjacencyState.DOWN:
                peer = at.adjacency.config.peer
                self._emit(events.SESSION_REFUSED, link, peer, reason=reason)
                self._adjacency_lost(now, at, reason, close=True)

    def _arm_expiry(self) -> None:
        due_ns = self._database.next_expiry_ns()
        if due_ns == self._expiry_armed_ns:
            return
        self._expiry_armed_ns = due_ns
        if due_ns is None:
            self._effects.cancel_timer(EXPIRY_TIMER)
        else:
            self._effects.set_timer(EXPIRY_TIMER, due_ns)

    def _expire(self, now: int) -> None:
        self._expiry_armed_ns = None
        for lsa in self._database.expired(now):
            credential = self._database.credential(lsa.fingerprint)
            assert credential is not None, "an advertisement without its credential"
            fault = credential_fault(self._verifier, credential, now)
            if lsa.origin != self._name:
                self._withdraw(now, lsa, fault)
                continue
            self._database.remove(lsa.origin)
            self._emit(events.LSA_EXPIRED, peer=lsa.origin, reason=fault or "not refreshed")
            if fault is not None:
                self._condemned.extend((name, OWN_EXPIRED) for name in self._links)
        self._settle(now)

    def _withdraw(self, now: int, lsa: Lsa, fault: str | None) -> None:
        """Believe `lsa` no longer; a `fault` of its identity also ends our sessions with it."""
        self._database.remove(lsa.origin)
        self._emit(events.LSA_EXPIRED, peer=lsa.origin, reason=fault or "not refreshed")
        if fault is not None:
            self._distrust(lsa)
            self._condemned.extend(
                (name, fault)
                for name, link in self._links.items()
                if link.adjacency.config.peer == lsa.origin
            )

    def _distrust(self, lsa: Lsa) -> None:
        """Remember whom to ask about when trust changes; bounded."""
        if len(self._distrusted) < self.config.flooding.max_waiting:
            self._distrusted[lsa.origin] = lsa.fingerprint

    def _rejected(self, link: str, lsa: Lsa, reason: str) -> None:
        self._emit(events.LSA_REJECTED, link, lsa.origin, reason=reason)
        if reason.startswith(CREDENTIAL):
            self._distrust(lsa)
            # Only from the neighbour itself: others could replay its old credentials.
            if lsa.origin == self._links[link].adjacency.config.peer:
                self._condemned.append((link, reason))

    def _originated(self, now: int, lsa: Lsa, reason: str) -> None:
        credential = self._signer.credential()
        is_new = self._database.credential(credential.fingerprint) is None
        self._database.put(lsa, credential)
        self._emit(events.LSA_ORIGINATED, value=float(lsa.sequence), reason=reason)
        new_credentials = {credential.fingerprint: credential} if is_new else {}
        self._flooding.flood([lsa], new_credentials, except_link=None)
        self._settle(now)

    def _content(self) -> Content:
        neighbours = [
            Neighbour(link.adjacency.config.peer, name, link.cost)
            for name, link in self._links.items()
            if link.is_advertised and not self._leaving
        ]
        neighbours.sort(key=lambda neighbour: (neighbour.node, neighbour.link))
        return Content(tuple(neighbours), self._overload)

    def _flooded_links(self) -> Iterator[str]:
        for name, link in self._links.items():
            if link.adjacency.is_flooded:
                yield name

    def _request(self, link: str, request: Request) -> None:
        self._links[link].adjacency.exchange.asked()
        self._effects.send(link, request)

    def _emit(
        self,
        kind: str,
        link: str = "",
        peer: str = "",
        value: float | None = None,
        reason: str = "",
    ) -> None:
        self._effects.emit(ProtocolEvent(kind, link, peer, value, reason))


class _Link:
    """What a node keeps for one configured link; the session's port."""

    __slots__ = (
        "_node",
        "adjacency",
        "cost",
        "damping",
        "down_reason",
        "hold_due",
        "is_advertised",
        "session",
    )

    def __init__(self, node: Node, adjacency: Adjacency) -> None:
        self._node = node
        self.adjacency = adjacency
        self.cost = adjacency.config.cost
        self.damping = FlapDamping(node.config.damping)
        self.session = Session(node.config.liveness, self)
        self.is_advertised = False
        self.hold_due = False
        self.down_reason = ""

    def keep_alive(self, lease: Lease | None) -> None:
        self._node._effects.keep_alive(self.adjacency.config.link, lease)

    def session_up(self, now: int) -> None:
        self._node._session_up(now, self)

    def session_down(self, now: int, diagnostic: str) -> None:
        self._node._session_down(now, self, diagnostic)

    def session_adapted(self, now: int, detection_time_ns: int) -> None:
        self._node._session_adapted(self, detection_time_ns)


class _AdjacencyPort:
    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def send(self, link: str, message: Message) -> None:
        self._node._effects.send(link, message)

    def adjacency_full(self, now: int, link: str) -> None:
        self._node._adjacency_full(now, link)


class _FloodingPort:
    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def send(self, link: str, message: Message) -> None:
        self._node._effects.send(link, message)

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        self._node._effects.set_timer(key, due_ns)

    def flooded_links(self) -> Iterable[str]:
        return self._node._flooded_links()

    def request(self, link: str, request: Request) -> None:
        self._node._request(link, request)

    def rejected(self, now: int, link: str, lsa: Lsa, reason: str) -> None:
        self._node._rejected(link, lsa, reason)

    def own_returned(self, now: int, lsa: Lsa) -> None:
        self._node._origination.outdo(now, lsa)


class _OriginationPort:
    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        self._node._effects.set_timer(key, due_ns)

    def cancel_timer(self, key: TimerKey) -> None:
        self._node._effects.cancel_timer(key)

    def content(self) -> Content:
        return self._node._content()

    def originated(self, now: int, lsa: Lsa, reason: str) -> None:
        self._node._originated(now, lsa, reason)
