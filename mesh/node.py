"""A whole node: the parts of the protocol, and the order in which one sets off the next.

A node is driven by exactly three sources: its user (start, overload, identity, trust), the
network (channels, messages, leases) and timers. Everything it does comes out through `Effects`.
The same inputs in the same order give the same outputs: no clock, socket or random source of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from x0mesh.mesh import events
from x0mesh.mesh.adjacency import Adjacency, AdjacencyState
from x0mesh.mesh.config import NodeConfig
from x0mesh.mesh.credential import Signer, Verifier
from x0mesh.mesh.dialling import Dialler
from x0mesh.mesh.effects import Effects, KeepAlive, Lease, LeaseChange, ProtocolEvent, TimerKey
from x0mesh.mesh.graph import GraphStore
from x0mesh.mesh.healing import Decision, Healer
from x0mesh.mesh.knowledge import Action
from x0mesh.mesh.limits import MAX_COST
from x0mesh.mesh.link_state import LinkState, Snapshot
from x0mesh.mesh.liveness import TIME_EXPIRED
from x0mesh.mesh.lsdb import Database
from x0mesh.mesh.messages import DatabaseDescription, Message, Neighbour, Request, Update
from x0mesh.mesh.node_link import NodeLink
from x0mesh.mesh.observations import (
    AdjacencyFull,
    CarrierLost,
    ChannelLost,
    Flapping,
    IdentityExpiring,
    IdentityRenewed,
    LossMeasured,
    NeighbourLinks,
    NodeLate,
    Observation,
    Reachability,
    SessionDown,
    SessionRefused,
    Tick,
)
from x0mesh.mesh.origination import Content
from x0mesh.mesh.router import Router
from x0mesh.mesh.routes import Active, Route
from x0mesh.mesh.spf_backoff import SPF_TIMER

__all__ = ["Node", "Snapshot"]

Loss = SessionDown | CarrierLost | ChannelLost

HOLD_TIMER: Final = "hold"
HEALING_TIMER: Final = ("healing", "check")
IDENTITY_TIMER: Final = ("healing", "identity")

REFUSED_BY_PEER: Final = "refused"
"""`channel_failed` reasons that start so mean that the neighbour refused our identity."""

CHANNEL_REPLACED: Final = "replaced by a new channel"
QUARANTINED: Final = "quarantined"


class Node:
    """One mesh node; all inputs carry `now` in nanoseconds, none may precede an earlier one.

    `draw(purpose)` gives the next number in [0, 1) of that purpose's own stream. `graphs` may be
    shared by nodes of one process: it changes cost, never behaviour. `ignored` counts messages
    that made no sense in the present state.
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
        self._store = graphs if graphs is not None else GraphStore()
        self._identity_expires_ns = signer.credential().expires_ns
        self._overload = False
        self._is_leaving = False
        self._is_resuming = False
        self._has_joined = False
        self._observations: list[Observation] = []
        self._condemned: list[tuple[str, str]] = []
        self._check_armed_ns: int | None = None
        self._lateness_multiplier = 1

        port = _Port(self)
        self._link_state = LinkState(config, effects, draw, signer, verifier, self._store, port)
        self._graph = self._link_state.graph
        self._router = Router(
            config.name, config.spf, config.destinations, config.repairs, self._store, effects
        )
        self._links: dict[str, NodeLink] = {}
        for link in sorted(config.links, key=lambda link: link.link):
            assert link.link not in self._links, f"link {link.link} twice"
            assert link.peer != config.name, f"link {link.link} leads back to its own node"
            dialler = Dialler(link.link, config.name < link.peer, config.dial, draw, effects)
            adjacency = Adjacency(link, dialler, self._link_state.database, port)
            self._links[link.link] = NodeLink(adjacency, config.liveness, config.damping, port)
        self._healer = Healer(config.name, {name: link.peer for name, link in self._links.items()})

    # The user

    def start(self, now: int) -> None:
        """Cold start: nothing known but the configuration."""
        self._link_state.start(now)
        self._dial_all(now)

    def start_warm(self, now: int, snapshot: Snapshot) -> None:
        """Restart with the database of an earlier life; adjacencies and routes begin anew."""
        self._link_state.start_warm(now, snapshot)
        self._dial_all(now)

    def start_converged(self, now: int, database: Database, heard: Mapping[str, KeepAlive]) -> None:
        """Start as after a long quiet time; sends nothing.

        `database` holds everyone's advertisement, ours included, and shares this node's graph
        store. `heard` gives, for each link whose adjacency is Full, what the neighbour says.
        """
        self._is_resuming = True
        for name, link in self._links.items():
            if name in heard:
                link.adjacency.resume(now)
                link.is_advertised = True
                self._effects.gate(name, True)
                link.session.resume(now, heard[name])
            else:
                link.adjacency.dialler.start(now)
        self._is_resuming = False
        self._link_state.start_converged(now, database)
        self._graph = self._link_state.graph
        self._has_joined = True
        self._arm_identity(now)
        full = [link.config for link in self._links.values() if link.is_advertised]
        self._router.resume(now, self._graph, full)

    def snapshot(self) -> Snapshot:
        """What `start_warm` needs."""
        return self._link_state.snapshot()

    def withdraw(self, now: int) -> None:
        """Leave the mesh: advertise no neighbours from now on, and let that be flooded.

        The empty advertisement stays until its expiry, newer than any that a partition still
        holds; removing it instead would let those return (compare RFC 2328 s.14.1).
        """
        self._is_leaving = True
        self._link_state.withdraw(now)
        self._settle(now)

    def set_overload(self, now: int, on: bool) -> None:
        """Ask others not to transit us (RFC 6987), or welcome them again."""
        self._overload = on
        self._link_state.news(now, bad=on, reason="overload" if on else "overload over")
        self._settle(now)

    def identity_changed(self, now: int, signer: Signer) -> None:
        """A new SVID: flood it, and sign with it from now on."""
        self._identity_expires_ns = signer.credential().expires_ns
        self._link_state.identity_changed(now, signer)
        self._observations.append(IdentityRenewed(self._identity_expires_ns))
        self._arm_identity(now)
        self._settle(now)

    def trust_changed(self, now: int) -> None:
        """Bundles or revocations changed: judge again whom we believe."""
        self._link_state.trust_changed(now)
        self._settle(now)

    # The network

    def link_up(self, now: int, link: str, neighbour_id: str) -> None:
        """The engine has an authenticated channel to `neighbour_id`; it replaces an older one."""
        at = self._links[link]
        if at.adjacency.state is not AdjacencyState.DOWN:
            cause = ChannelLost(link, at.peer, CHANNEL_REPLACED)
            self._lost(now, at, cause, CHANNEL_REPLACED, close=False)
        is_quarantined = now < self._healer.quarantined_until_ns(link)
        if is_quarantined or neighbour_id != at.peer:
            reason = QUARANTINED if is_quarantined else f"expected {at.peer}"
            self._effects.close(link, reason)
            self._emit(events.SESSION_REFUSED, link, neighbour_id, reason=reason)
            if not is_quarantined:
                self._observations.append(SessionRefused(link, at.peer, reason))
                at.adjacency.dialler.lost(now)
        else:
            at.adjacency.opened(now)
            self._emit(events.SESSION_ESTABLISHED, link, neighbour_id)
            at.session.start(now)
        self._settle(now)

    def link_down(self, now: int, link: str, reason: str) -> None:
        """Carrier lost: the session is Down at once. A dial under way is still answered."""
        at = self._links[link]
        if at.adjacency.state is not AdjacencyState.DOWN:
            self._lost(now, at, CarrierLost(link, at.peer), reason, close=True)
        self._settle(now)

    def channel_failed(self, now: int, link: str, reason: str) -> None:
        """The channel broke, or a dial did not succeed."""
        at = self._links[link]
        if at.adjacency.state is AdjacencyState.DOWN:
            at.adjacency.dialler.lost(now)
        else:
            self._lost(now, at, ChannelLost(link, at.peer, reason), reason, close=False)
        if reason.startswith(REFUSED_BY_PEER):
            self._observations.append(SessionRefused(link, at.peer, reason, by_peer=True))
        self._settle(now)

    def receive(self, now: int, link: str, message: Message) -> None:
        """A message of the link's channel."""
        at = self._links[link]
        if at.adjacency.state is AdjacencyState.DOWN:
            self.ignored += 1
            return
        match message:
            case Update():
                is_news = self._link_state.receive(now, link, message)
                if not is_news and not message.answers:
                    return
                if message.answers and not at.adjacency.exchange.answered():
                    self.ignored += 1
                if self._condemned:  # before the adjacency could become Full
                    self._settle(now)
                at.adjacency.advance(now)
            case DatabaseDescription():
                at.adjacency.described(now, message)
            case Request():
                at.adjacency.requested(message)
        self._settle(now)

    def lease_changed(
        self, now: int, link: str, heard: KeepAlive, change: LeaseChange, at_ns: int
    ) -> None:
        """The neighbour's keep-alives say something new, or fell silent at `at_ns`."""
        self._links[link].session.lease_changed(now, heard, change, at_ns)
        self._settle(now)

    def lease_report(self, now: int, link: str, received: int, expected: int) -> None:
        """Loss of the last expected keep-alives."""
        at = self._links[link]
        at.session.lease_report(now, received, expected)
        self._observations.append(LossMeasured(link, at.peer, at.session.loss_ratio))
        self._settle(now)

    # Timers

    def timer(self, now: int, key: TimerKey, due_ns: int) -> None:
        """A timer set through `Effects` is due; running late feeds local health."""
        assert isinstance(key, tuple), key
        self._judge_lateness(now, now - due_ns)
        match key[0]:
            case "router":
                self._router.timer(now, key)
                if key == SPF_TIMER:
                    self._look_at_reachability()
            case "dial":
                self._links[key[1]].adjacency.dialler.timer(now)
            case "hold":
                self._links[key[1]].hold_due = False
                self._advertise(now, self._links[key[1]])
            case "healing":
                if key == IDENTITY_TIMER:
                    self._observations.append(IdentityExpiring(self._identity_expires_ns))
                else:
                    self._check_armed_ns = None
                    self._observations.append(Tick())
            case _:
                self._link_state.timer(now, key)
        self._settle(now)

    # What others may read

    @property
    def routes(self) -> Mapping[str, Route]:
        """Installed routes by destination."""
        return self._router.routes

    @property
    def database(self) -> Database:
        """The link-state database, to be read only."""
        return self._link_state.database

    @property
    def healer(self) -> Healer:
        """The healing loop, to be read only."""
        return self._healer

    @property
    def quiet(self) -> bool:
        """No SPF, flooding, request, local delay or held-back good news is pending."""
        return (
            self._router.quiet
            and self._link_state.is_quiet
            and all(at.adjacency.is_quiet and not at.hold_due for at in self._links.values())
        )

    def adjacency_states(self) -> dict[str, AdjacencyState]:
        """State of every configured link's adjacency."""
        return {name: at.adjacency.state for name, at in self._links.items()}

    def route_to(self, node: str) -> Route | None:
        """How a packet for `node` leaves now, installed or not (ends of repair segments)."""
        return self._router.route_to(node)

    def canonical_state(self) -> dict[str, Any]:
        """What must be equal however this state was reached; no sequences and no times.

        `adjacencies`: link to state. `database`: origin to [(neighbour, link, cost)].
        `overloaded`: origins that ask not to be transited. `routes`: destination to route.
        """
        routes = self._router.routes
        return {
            "adjacencies": {name: at.adjacency.state.value for name, at in self._links.items()},
            "database": {
                lsa.origin: [[n.node, n.link, n.cost] for n in lsa.neighbours]
                for lsa in self.database.lsas()
            },
            "overloaded": [lsa.origin for lsa in self.database.lsas() if lsa.overload],
            "routes": {name: msgspec.to_builtins(routes[name]) for name in sorted(routes)},
        }

    # Adjacencies coming and going

    def _dial_all(self, now: int) -> None:
        for at in self._links.values():
            at.adjacency.dialler.start(now)
        self._arm_identity(now)
        self._settle(now)

    def _session_up(self, now: int, link: str) -> None:
        if self._is_resuming:
            return
        at = self._links[link]
        self._emit(events.LIVENESS_UP, link, at.peer)
        self._effects.gate(link, True)
        at.adjacency.session_up(now)

    def _session_down(self, now: int, link: str, diagnostic: str) -> None:
        at = self._links[link]
        if at.adjacency.state is AdjacencyState.DOWN:
            return  # we ended it
        missed = self.config.liveness.multiplier if diagnostic == TIME_EXPIRED else 0
        cause = SessionDown(link, at.peer, diagnostic, missed)
        self._lost(now, at, cause, diagnostic, close=True)

    def _adjacency_full(self, now: int, link: str) -> None:
        at = self._links[link]
        self._emit(events.ADJACENCY_FULL, link, at.peer)
        self._observations.append(AdjacencyFull(link, at.peer))
        ready_ns = at.damping.up(now)
        if ready_ns <= now:
            self._advertise(now, at)
            return
        at.hold_due = True
        self._effects.set_timer((HOLD_TIMER, link), ready_ns)
        if at.damping.is_suppressed(now):
            held_ns = ready_ns - now
            self._observations.append(Flapping(link, at.peer, at.damping.flaps, held_ns))

    def _advertise(self, now: int, at: NodeLink) -> None:
        at.is_advertised = True
        at.neighbour_links = None
        self._router.link_up(now, at.config.link, at.peer)
        self._link_state.news(now, bad=False, reason=f"link {at.config.link} up")

    def _lost(self, now: int, at: NodeLink, cause: Loss, reason: str, close: bool) -> None:
        """Repair, tell the others, then tidy up: in this order, whatever the cause."""
        link = at.config.link
        was_up, was_full = at.adjacency.session_is_up, at.adjacency.state is AdjacencyState.FULL
        if was_up:
            self._emit(events.LIVENESS_DOWN, link, at.peer, reason=reason)
        before = self._router.routes
        if at.is_advertised:
            self._router.link_failed(now, link)
        switched, stranded = _turned(before, self._router.routes)
        self._observations.append(replace(cause, switched=switched, stranded=stranded))
        self._effects.gate(link, False)
        if at.hold_due:
            at.hold_due = False
            self._effects.cancel_timer((HOLD_TIMER, link))
        if was_full:
            at.damping.down(now)
        # From here on nothing is flooded into the channel that is about to be closed.
        at.adjacency.closed(now)
        if at.is_advertised:
            at.is_advertised = False
            self._link_state.news(now, bad=True, reason=f"link {link} down")
        if isinstance(cause, CarrierLost):
            at.session.path_down(now)
        else:
            at.session.stop(now)
        if close:
            self._effects.close(link, reason)
        self._emit(events.SESSION_CLOSED, link, at.peer, reason=reason)

    def _end(self, now: int, at: NodeLink, reason: str) -> None:
        """End the channel for a reason of our own."""
        if at.adjacency.state is not AdjacencyState.DOWN:
            self._lost(now, at, ChannelLost(at.config.link, at.peer, reason), reason, close=True)

    # After every input

    def _settle(self, now: int) -> None:
        """Let what follows from the input follow, until nothing does."""
        while True:
            if self._link_state.graph is not self._graph:
                self._graph = self._link_state.graph
                self._router.graph_changed(now, self._graph)
                self._look_at_lost_neighbours()
            if self._condemned:
                link, reason = self._condemned.pop(0)
                self._refuse(now, self._links[link], reason)
            elif self._observations:
                for decision in self._healer.observe(now, self._observations.pop(0)):
                    self._carry_out(now, decision)
                self._arm_check()
            else:
                break

    def _arm_check(self) -> None:
        due_ns = self._healer.next_check_ns
        if due_ns == self._check_armed_ns:
            return
        self._check_armed_ns = due_ns
        if due_ns is None:
            self._effects.cancel_timer(HEALING_TIMER)
        else:
            self._effects.set_timer(HEALING_TIMER, due_ns)

    def _arm_identity(self, now: int) -> None:
        """Worry when three quarters of what is left of our SVID have passed."""
        left_ns = self._identity_expires_ns - now
        if left_ns > 0:
            self._effects.set_timer(IDENTITY_TIMER, now + left_ns * 3 // 4)

    def _refuse(self, now: int, at: NodeLink, reason: str) -> None:
        """End the session with a neighbour whose identity is not, or no longer, trusted."""
        if at.adjacency.state is AdjacencyState.DOWN:
            return
        self._end(now, at, reason)
        self._emit(events.SESSION_REFUSED, at.config.link, at.peer, reason=reason)
        self._observations.append(SessionRefused(at.config.link, at.peer, reason))

    # Healing

    def _carry_out(self, now: int, decision: Decision) -> None:
        reason = f"{decision.action.value}: {decision.reason}"
        self._emit(events.HEALING_DECISION, decision.link, decision.peer, reason=reason)
        match decision.action:
            case Action.COST_OUT | Action.RESTORE_COST:
                at = self._links[decision.link]
                before = at.reverse_metric
                added = round(at.config.cost * (decision.cost_factor - 1))
                at.reverse_metric = min(MAX_COST, added)
                if at.is_advertised and at.reverse_metric != before:
                    text = f"link {decision.link} reverse metric {at.reverse_metric}"
                    self._link_state.news(now, bad=at.reverse_metric > before, reason=text)
            case Action.QUARANTINE:
                at = self._links[decision.link]
                self._end(now, at, QUARANTINED)
                at.adjacency.dialler.pause(now, decision.until_ns)
            case Action.RE_AUTHENTICATE:
                at = self._links[decision.link]
                if at.adjacency.state is not AdjacencyState.FULL:
                    self._end(now, at, "re-authenticating")
                    at.adjacency.dialler.again(now)
            case Action.SWITCH_TO_REPAIR | Action.WAIT | Action.STRETCH_TIMERS:
                pass  # done by the router and the sessions already, or nothing to do
            case Action.REQUEST_SVID:
                pass  # the engine's identity source acts on the recorded decision

    def _judge_lateness(self, now: int, lateness_ns: int) -> None:
        multiplier = 1
        for at in self._links.values():
            at.session.late(now, lateness_ns)
            multiplier = max(multiplier, at.session.health_multiplier)
        if multiplier != self._lateness_multiplier:
            self._lateness_multiplier = multiplier
            self._observations.append(NodeLate(lateness_ns, multiplier))

    def _look_at_reachability(self) -> None:
        """A mesh that this node has not joined yet is not partitioned from it."""
        reachable = self._graph.reach(self._name)
        known = max(0, len(self._graph.nodes) - 1)
        self._has_joined = self._has_joined or 2 * reachable > known
        if self._has_joined:
            self._observations.append(Reachability(reachable, known))

    def _look_at_lost_neighbours(self) -> None:
        """What others say about neighbours that we lost: is it the link or the node?"""
        for at in self._links.values():
            if at.adjacency.state is not AdjacencyState.DOWN:
                continue
            said = self._graph.advertisement(at.peer)
            others = [n for n in said or () if n.node != self._name]
            if not others:
                continue
            kept = {(edge.neighbour, edge.link) for edge in self._graph.edges(at.peer)}
            lost = sum((n.node, n.link) not in kept for n in others)
            if lost and (lost, len(others)) != at.neighbour_links:
                at.neighbour_links = (lost, len(others))
                self._observations.append(NeighbourLinks(at.peer, lost, len(others)))

    # Link state

    def _content(self) -> Content:
        neighbours = [
            Neighbour(at.peer, name, at.config.cost, at.reverse_metric)
            for name, at in self._links.items()
            if at.is_advertised and not self._is_leaving
        ]
        neighbours.sort(key=lambda neighbour: (neighbour.node, neighbour.link))
        return Content(tuple(neighbours), self._overload)

    def _distrusted(self, origin: str, link: str | None, reason: str) -> None:
        if origin == self._name:
            self._condemned.extend((name, f"own {reason}") for name in self._links)
        elif link is None:
            names = [name for name, at in self._links.items() if at.peer == origin]
            self._condemned.extend((name, reason) for name in names)
        elif self._links[link].peer == origin:
            # Only on the neighbour's own word: others could replay its old credentials.
            self._condemned.append((link, reason))

    def _emit(
        self,
        kind: str,
        link: str = "",
        peer: str = "",
        value: float | None = None,
        reason: str = "",
    ) -> None:
        self._effects.emit(ProtocolEvent(kind, link, peer, value, reason))


class _Port:
    """What the parts of a node ask of it; keeps those methods out of the node's own face."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    def send(self, link: str, message: Message) -> None:
        self._node._effects.send(link, message)

    def keep_alive(self, link: str, lease: Lease | None) -> None:
        self._node._effects.keep_alive(link, lease)

    def session_up(self, now: int, link: str) -> None:
        self._node._session_up(now, link)

    def session_down(self, now: int, link: str, diagnostic: str) -> None:
        self._node._session_down(now, link, diagnostic)

    def session_adapted(self, now: int, link: str, detection_time_ns: int) -> None:
        peer = self._node._links[link].peer
        seconds = detection_time_ns / 1_000_000_000
        self._node._emit(events.LIVENESS_ADAPTED, link, peer, value=seconds)

    def adjacency_full(self, now: int, link: str) -> None:
        self._node._adjacency_full(now, link)

    def flooded_links(self) -> Iterable[str]:
        for name, at in self._node._links.items():
            if at.adjacency.is_flooded:
                yield name

    def request(self, link: str, request: Request) -> None:
        self._node._links[link].adjacency.exchange.asked()
        self._node._effects.send(link, request)

    def content(self) -> Content:
        return self._node._content()

    def distrusted(self, origin: str, link: str | None, reason: str) -> None:
        self._node._distrusted(origin, link, reason)


def _turned(before: Mapping[str, Route], after: Mapping[str, Route]) -> tuple[int, int]:
    """(switched, stranded): routes that went to their repair, and those that had none."""
    if before is after:
        return 0, 0
    turned = [route for name, route in after.items() if route is not before.get(name)]
    stranded = sum(route.repair is None for route in turned if route.active is Active.REPAIR)
    return len(turned) - stranded, stranded
