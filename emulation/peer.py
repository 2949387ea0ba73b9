"""A mesh node as a process of its own: drives one `mesh.Node` over real sockets and real time.

The node's three sources become an asyncio loop's: its user is the engine's control socket, the
network is the namespace this process lives in, timers are the loop's. No decision of the protocol
is made here. A fault of ours ends the process, loudly: nothing goes on half alive.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from x0mesh.emulation import control
from x0mesh.emulation.carrier import CarrierWatch
from x0mesh.emulation.control import (
    AskSnapshot,
    AskState,
    Assembler,
    Configure,
    Drain,
    Happened,
    Identity,
    Ready,
    Renew,
    SnapshotTaken,
    Start,
    State,
    Stop,
    Stopped,
    ToPeer,
)
from x0mesh.emulation.loop_clock import LoopClock
from x0mesh.emulation.peer_link import PeerLink
from x0mesh.emulation.ports import GatePort, RoutePort, make_ports
from x0mesh.emulation.trust import RememberingVerifier, Trust
from x0mesh.identity.tls import TlsPump
from x0mesh.mesh.codec import encode
from x0mesh.mesh.effects import KeepAlive, Lease, LeaseChange, ProtocolEvent, TimerKey
from x0mesh.mesh.events import SESSION_REFUSED
from x0mesh.mesh.messages import Message
from x0mesh.mesh.node import Node
from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import RouteChange

MAX_UNSENT: Final = 100_000
"""Control datagrams that may wait for the engine; one more and the peer gives up."""
MAX_HANDSHAKES: Final = 1000
CARRIER_LOST: Final = "carrier lost"
STALE: Final = "stale after a warm restart"
STALE_NS: Final = 10_000_000_000
"""After a warm restart, routes not installed anew within this are withdrawn (cf. RFC 4724)."""

_INTERNAL_ERROR: Final = 70


class PeerError(RuntimeError):
    """The engine asked for something that this peer cannot do."""


class Peer:
    """Implements `mesh.effects.Effects` on an event loop. `tell` sends to the engine."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Configure,
        routes: RoutePort,
        gate: GatePort,
        tell: Callable[[msgspec.Struct], None],
    ) -> None:
        if config.node.destinations is not None:
            raise PeerError("a kernel keeps routes to every node, not to some only")
        self._loop = loop
        self._clock = LoopClock(loop)
        self._config = config
        self._routes = routes
        self._gate = gate
        self._tell = tell
        self._timers: dict[TimerKey, tuple[asyncio.TimerHandle, int]] = {}
        self._streams: dict[str, random.Random] = {}
        self._worst_lateness_ns = 0
        self._is_started = False
        self._peers = {link.link: link.peer for link in config.node.links}
        odd = sorted(set(self._peers) ^ {interface.link for interface in config.interfaces})
        if odd:
            raise PeerError(f"links without an interface, or the reverse: {', '.join(odd)}")
        self._links = {
            interface.link: PeerLink(
                loop,
                self._clock,
                interface,
                config.port,
                lambda link=interface.link: self._draw(f"keep-alive gap {link}"),  # type: ignore[misc]
                self,
            )
            for interface in config.interfaces
        }
        self._names = {interface.index: interface.link for interface in config.interfaces}
        self._carrier = CarrierWatch(tuple(self._names), self._carrier_changed)
        self._identity = config.identity
        self._trust = Trust(config.node.name, config.identity)
        self._verifier = RememberingVerifier(self._trust)
        self._node = Node(config.node, self, self._draw, self._trust.signer, self._verifier)

    async def open(self) -> None:
        """Listen on every link, learn the present carriers, then tell the engine."""
        self._carrier.read()
        self._loop.add_reader(self._carrier.socket.fileno(), self._carrier.read)
        for link in self._links.values():
            await link.open()
        self._tell(Ready(self._clock.now_ns()))

    # The user

    def obey(self, message: ToPeer) -> None:
        """Do what the engine asks; `Stop` is for `run_peer`."""
        match message:
            case Start(at_ns):
                self._clock.call_at(at_ns, self._start)
            case Drain(on):
                self._node.set_overload(self._clock.now_ns(), on)
            case Renew(identity):
                self._renew(identity)
            case AskState(request):
                self._tell(self._state(request))
            case AskSnapshot(request):
                routes = tuple(sorted(self._node.routes))
                self._tell(SnapshotTaken(request, self._node.snapshot(), routes))
            case Configure() | Stop():
                raise PeerError(f"{type(message).__name__} at the wrong moment")

    def shut(self) -> None:
        """Close everything and tell the engine; neighbours are told nothing."""
        for handle, _ in self._timers.values():
            handle.cancel()
        for link in self._links.values():
            link.shut()
        self._loop.remove_reader(self._carrier.socket.fileno())
        self._carrier.close()
        self._tell(Stopped(self._clock.now_ns()))

    def _start(self) -> None:
        now_ns = self._clock.now_ns()
        self._is_started = True
        if self._config.snapshot is None:
            self._node.start(now_ns)
        else:
            self._clock.call_at(now_ns + STALE_NS, self._sweep)
            self._node.start_warm(now_ns, self._config.snapshot)
        if self._config.overload:
            self._node.set_overload(self._clock.now_ns(), True)

    def _sweep(self) -> None:
        stale = sorted(set(self._config.inherited_routes) - set(self._node.routes))
        if stale:
            self._routes.install([RouteChange(name, None, STALE) for name in stale])

    def _renew(self, identity: Identity) -> None:
        before, self._identity = self._identity, identity
        self._trust = Trust(self._config.node.name, identity)
        if identity.chain != before.chain:
            self._node.identity_changed(self._clock.now_ns(), self._trust.signer)
        if (identity.bundle, identity.revocation_list) != (before.bundle, before.revocation_list):
            self._verifier.forget(self._trust)
            self._node.trust_changed(self._clock.now_ns())

    def _state(self, request: int) -> State:
        worst_ns, self._worst_lateness_ns = self._worst_lateness_ns, 0
        handshakes = [ns for link in self._links.values() for ns in link.handshake_ns]
        return State(
            request=request,
            t_ns=self._clock.now_ns(),
            quiet=self._is_started and self._node.quiet,
            canonical=json.dumps(
                self._node.canonical_state(), sort_keys=True, separators=(",", ":")
            ),
            counters={name: link.count() for name, link in self._links.items()},
            handshake_ns=tuple(handshakes[-MAX_HANDSHAKES:]),
            worst_lateness_ns=worst_ns,
            gate_refused=self._gate.refused(),
            routes_missing=self._routes.missing,
            repairs_left_out=self._routes.repairs_left_out,
            congestion_control=next((link.congestion_control for link in self._links.values()), ""),
        )

    # The network: PeerLinkUser and carrier

    def pump(self, link: str, is_server: bool) -> TlsPump:
        trust, neighbour = self._trust, self._peers[link]
        return TlsPump(
            trust.context(is_server),
            is_server=is_server,
            judge=lambda chain: trust.judge(neighbour, chain, self._clock.now_ns()),
        )

    def has_carrier(self, link: str) -> bool:
        return self._carrier.has_carrier(self._links[link].interface.index)

    def channel_opened(self, link: str) -> None:
        if self._is_started:
            self._node.link_up(self._clock.now_ns(), link, self._peers[link])
        else:
            self._links[link].close("not started")

    def channel_failed(self, link: str, reason: str) -> None:
        self._node.channel_failed(self._clock.now_ns(), link, reason)

    def message_arrived(self, link: str, message: Message) -> None:
        self._node.receive(self._clock.now_ns(), link, message)

    def neighbour_refused(self, link: str, reason: str) -> None:
        self.emit(ProtocolEvent(SESSION_REFUSED, link, self._peers[link], reason=reason))

    def lease_changed(self, link: str, heard: KeepAlive, change: LeaseChange, at_ns: int) -> None:
        self._node.lease_changed(self._clock.now_ns(), link, heard, change, at_ns)

    def lease_report(self, link: str, received: int, expected: int) -> None:
        self._node.lease_report(self._clock.now_ns(), link, received, expected)

    def _carrier_changed(self, index: int, carrier: bool) -> None:
        link = self._names[index]
        if carrier:
            self._routes.restore()
        elif self._is_started:
            self._links[link].carrier_lost()
            self._node.link_down(self._clock.now_ns(), link, CARRIER_LOST)

    # Timers

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        self.cancel_timer(key)
        handle = self._clock.call_at(due_ns, lambda: self._timer_due(key))
        self._timers[key] = (handle, due_ns)

    def cancel_timer(self, key: TimerKey) -> None:
        found = self._timers.pop(key, None)
        if found is not None:
            found[0].cancel()

    def _timer_due(self, key: TimerKey) -> None:
        _, due_ns = self._timers.pop(key)
        now_ns = self._clock.at_least_ns(due_ns)
        self._worst_lateness_ns = max(self._worst_lateness_ns, now_ns - due_ns)
        self._node.timer(now_ns, key, due_ns)

    # Effects

    def dial(self, link: str) -> None:
        self._links[link].dial()

    def send(self, link: str, message: Message) -> None:
        self._links[link].send(encode(message))

    def keep_alive(self, link: str, lease: Lease | None) -> None:
        self._links[link].keep_alive(lease)

    def gate(self, link: str, is_open: bool) -> None:
        self._gate.set(link, is_open)

    def install(self, changes: Sequence[RouteChange]) -> None:
        self._routes.install(changes)

    def answer_by(self, view: RouteView) -> None:
        raise AssertionError("only nodes that keep some routes ask for this")

    def close(self, link: str, reason: str) -> None:
        self._links[link].close(reason)

    def emit(self, event: ProtocolEvent) -> None:
        self._tell(
            Happened(
                self._clock.now_ns(),
                event.kind,
                event.link,
                event.peer,
                event.value,
                event.reason,
            )
        )

    def _draw(self, purpose: str) -> float:
        stream = self._streams.get(purpose)
        if stream is None:
            node = self._config.node
            stream = random.Random(f"{self._config.seed}/{node.name}/{node.boot_epoch}/{purpose}")
            self._streams[purpose] = stream
        return stream.random()


class _ControlSocket:
    """The peer's end of its control socket, without ever blocking the protocol."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._socket = sock
        self._assembler = Assembler()
        self._unsent: deque[bytes] = deque()

    def tell(self, message: msgspec.Struct) -> None:
        """Send, or queue behind what still waits."""
        was_waiting = bool(self._unsent)
        self._unsent.extend(control.datagrams(message))
        if len(self._unsent) > MAX_UNSENT:
            raise PeerError("the engine does not read")
        if not was_waiting:
            self._send()

    async def receive(self) -> ToPeer | None:
        """The engine's next message; None when it has closed its end."""
        while True:
            datagram = await self._loop.sock_recv(self._socket, control.PART_BYTES + 1)
            if not datagram:
                return None
            encoded = self._assembler.take(datagram)
            if encoded is not None:
                return control.decode_to_peer(encoded)

    async def drained(self) -> None:
        """Return when nothing waits any more."""
        while self._unsent:
            await asyncio.sleep(0.01)

    def _send(self) -> None:
        try:
            while self._unsent:
                self._socket.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._socket.fileno(), self._writable)
        except (BrokenPipeError, ConnectionResetError):
            self._unsent.clear()  # the engine is gone; `receive` says so

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        self._send()


def run_peer(sock: socket.socket) -> None:
    """Be a peer of the engine at the other end of `sock` until it says `Stop` or closes."""
    asyncio.run(_run(sock))


async def _run(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_die)
    engine = _ControlSocket(loop, sock)
    config = await engine.receive()
    if config is None:
        return
    if not isinstance(config, Configure):
        raise PeerError(f"{type(config).__name__} before Configure")
    peer = Peer(loop, config, *make_ports(config), engine.tell)
    await peer.open()
    while True:
        message = await engine.receive()
        if message is None:
            return
        if isinstance(message, Stop):
            break
        peer.obey(message)
    peer.shut()
    await engine.drained()


def _die(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception in a callback: say it and end, so that the engine hears of it."""
    print(context.get("message"), file=sys.stderr)
    error = context.get("exception")
    if error is not None:
        traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(_INTERNAL_ERROR)
