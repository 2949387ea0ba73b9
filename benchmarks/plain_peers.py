"""The real protocol on plain SimPy: a process and a Store per node, a Timeout per packet and timer.

What the simulator's own engine does is done here in the most direct way SimPy offers, with the
same delays, service times and random draws, so that both send the same packets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import Any

import simpy

from x0mesh.mesh.converged import converged_database
from x0mesh.mesh.credential import FakeSigner, FakeVerifier
from x0mesh.mesh.effects import KeepAlive, Lease, LeaseChange, ProtocolEvent, TimerKey
from x0mesh.mesh.graph import GraphStore
from x0mesh.mesh.lease_monitor import LeaseMonitor
from x0mesh.mesh.liveness import steady_content, transmit_gap_ns
from x0mesh.mesh.messages import Message
from x0mesh.mesh.node import Node
from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import RouteChange
from x0mesh.scenarios.plan import Plan
from x0mesh.sim.engine import node_configs
from x0mesh.sim.host import CARRIER_LOST, ServiceModel
from x0mesh.sim.randomness import Draws, Streams


class End:
    """One end of a link: its channel, the keep-alives it sends and those it monitors."""

    def __init__(self, peer: Peer, link: str, delay_ns: int, gaps: Draws) -> None:
        self.peer = peer
        self.link = link
        self.delay_ns = delay_ns
        self.far: End
        self.is_up = True
        self.is_open = True
        self.lease: Lease | None = None
        self.monitor = LeaseMonitor()
        self._gaps = gaps
        self._sent = 0
        self._sending = 0
        self._watching = 0

    def declare(self, lease: Lease | None, phase: float | None) -> None:
        """`Effects.keep_alive`; `phase` places the first packet of a converged start."""
        before, self.lease = self.lease, lease
        env = self.peer.env
        if lease is None:
            self._sending += 1
            self._watching += 1
            return
        if phase is not None:
            self._sending += 1
            first_ns = round(lease.transmit_interval_ns * phase)
            env.timeout(first_ns, self._sending).callbacks.append(self._send)
        elif before is None or before.content.epoch != lease.content.epoch:
            self._sending += 1
            env.timeout(0, self._sending).callbacks.append(self._send)
        self.monitor.monitor(env.now, lease.detection_time_ns)
        if lease.detection_time_ns and (before is None or not before.detection_time_ns):
            self._watch_for(lease.detection_time_ns)

    def _send(self, timer: Any) -> None:
        lease = self.lease
        if timer.value != self._sending or lease is None:
            return
        peer, number = self.peer, self._sent
        self._sent += 1
        if self.is_up:
            peer.counts["keep_alives"] += 1
            packet = peer.env.timeout(self.delay_ns, (number, lease.content))
            packet.callbacks.append(self.far.hear)
        gap_ns = transmit_gap_ns(
            lease.transmit_interval_ns, lease.content.detect_multiplier, self._gaps.at(number)
        )
        peer.env.timeout(gap_ns, timer.value).callbacks.append(self._send)

    def hear(self, packet: Any) -> None:
        """A keep-alive arrives."""
        if self.is_up:
            number, content = packet.value
            self.peer.inbox.put((0, self._heard, number, content))

    def _heard(self, now_ns: int, number: int, content: KeepAlive) -> None:
        arrival = self.monitor.arrive(now_ns, number, content)
        node, heard = self.peer.node, self.monitor.heard
        if arrival.news and heard is not None:
            node.lease_changed(now_ns, self.link, heard, LeaseChange.UP, now_ns)
        if arrival.report is not None:
            self.peer.counts["reports"] += 1
            report = arrival.report
            node.lease_report(now_ns, self.link, report.received, report.expected)

    def _watch_for(self, wait_ns: int) -> None:
        self._watching += 1
        self.peer.env.timeout(wait_ns, self._watching).callbacks.append(self._watch)

    def _watch(self, timer: Any) -> None:
        now_ns, due_ns = self.peer.env.now, self.monitor.expiry_ns
        if timer.value != self._watching or due_ns is None:
            return
        if now_ns < due_ns:
            self._watch_for(due_ns - now_ns)
        elif self.monitor.expire(now_ns):
            self.peer.inbox.put((self.peer.event_ns, self._expired, due_ns, None))

    def _expired(self, now_ns: int, due_ns: int, _: None) -> None:
        heard = self.monitor.heard
        assert heard is not None
        self.peer.node.lease_changed(now_ns, self.link, heard, LeaseChange.EXPIRED, due_ns)

    def send(self, message: Message) -> None:
        """`Effects.send`."""
        if self.is_open:
            self.peer.counts["messages"] += 1
            packet = self.peer.env.timeout(self.delay_ns, message)
            packet.callbacks.append(self.far.receive)

    def receive(self, packet: Any) -> None:
        """A message arrives."""
        if self.is_open:
            self.peer.inbox.put((self.peer.message_ns, self._receive, packet.value, None))

    def _receive(self, now_ns: int, message: Message, _: None) -> None:
        if self.is_open:
            self.peer.node.receive(now_ns, self.link, message)

    def cut(self) -> None:
        """Carrier is lost."""
        self.is_up = self.is_open = False
        self.peer.inbox.put((self.peer.event_ns, self._cut, None, None))

    def _cut(self, now_ns: int, _: None, __: None) -> None:
        self.peer.node.link_down(now_ns, self.link, CARRIER_LOST)

    def dial(self) -> None:
        """`Effects.dial`; a link that was cut stays so here."""
        self.peer.inbox.put((self.peer.event_ns, self._dialled, None, None))

    def _dialled(self, now_ns: int, _: None, __: None) -> None:
        self.peer.node.channel_failed(now_ns, self.link, "no carrier")


class Peer:
    """Implements `mesh.effects.Effects` for one node."""

    def __init__(self, env: Any, name: str, streams: Streams, counts: Counter[str]) -> None:
        service = ServiceModel()
        self.env = env
        self.name = name
        self.counts = counts
        self.message_ns = service.message_ns
        self.event_ns = service.event_ns
        self.inbox = simpy.Store(env)
        self.ends: dict[str, End] = {}
        self.is_settling = False
        self.node: Node
        self._streams = streams
        self._draws: dict[str, tuple[Draws, int]] = {}
        self._timers: dict[TimerKey, int] = {}

    def live(self) -> Generator[simpy.Event, Any, None]:
        """Take inputs from the Store one by one; each takes its service time."""
        env, inbox = self.env, self.inbox
        while True:
            service_ns, handle, first, second = yield inbox.get()
            if service_ns:
                yield env.timeout(service_ns)
            handle(env.now, first, second)

    def draw(self, purpose: str) -> float:
        """The node's next number of this purpose."""
        draws, counter = self._draws.get(purpose) or (self._streams.draws(self.name, purpose), 0)
        self._draws[purpose] = (draws, counter + 1)
        return draws.at(counter)

    def dial(self, link: str) -> None:
        self.ends[link].dial()

    def send(self, link: str, message: Message) -> None:
        self.ends[link].send(message)

    def keep_alive(self, link: str, lease: Lease | None) -> None:
        phase = self.draw(f"phase {link}") if self.is_settling and lease is not None else None
        self.ends[link].declare(lease, phase)

    def gate(self, link: str, is_open: bool) -> None:
        pass

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        self._timers[key] = due_ns
        wait_ns = max(0, due_ns - self.env.now)
        self.env.timeout(wait_ns, (key, due_ns)).callbacks.append(self._timer_due)

    def _timer_due(self, timer: Any) -> None:
        key, due_ns = timer.value
        if self._timers.get(key) == due_ns:
            self.inbox.put((self.event_ns, self._timer, key, due_ns))

    def _timer(self, now_ns: int, key: TimerKey, due_ns: int) -> None:
        if self._timers.get(key) == due_ns:
            del self._timers[key]
            self.node.timer(now_ns, key, due_ns)

    def cancel_timer(self, key: TimerKey) -> None:
        self._timers.pop(key, None)

    def install(self, changes: Sequence[RouteChange]) -> None:
        self.counts["route_changes"] += len(changes)

    def answer_by(self, view: RouteView) -> None:
        pass

    def close(self, link: str, reason: str) -> None:
        self.ends[link].is_open = False

    def emit(self, event: ProtocolEvent) -> None:
        self.counts[event.kind] += 1


class PlainMesh:
    """All peers of a plan, started converged. `at` may be used to make things happen."""

    def __init__(self, plan: Plan) -> None:
        self.env: Any = simpy.Environment()
        self.counts: Counter[str] = Counter()
        streams, store, verifier = Streams(plan.seed), GraphStore(), FakeVerifier()
        configs = node_configs(plan)
        signers = {name: FakeSigner(name, plan.identity.svid_ttl_ns) for name in configs}
        self.peers = {name: Peer(self.env, name, streams, self.counts) for name in configs}
        self.ends: dict[str, tuple[End, End]] = {}
        for link in plan.links:
            a = _end(self.peers[link.a], link.name, "forward", link.forward.delay_ns, streams)
            b = _end(self.peers[link.b], link.name, "backward", link.backward.delay_ns, streams)
            a.far, b.far = b, a
            self.ends[link.name] = (a, b)
        for name, peer in self.peers.items():
            peer.node = Node(configs[name], peer, peer.draw, signers[name], verifier, store)
        database = converged_database(
            ((configs[name], signers[name]) for name in configs), 0, store
        )
        for peer in self.peers.values():
            heard = {
                at: steady_content(configs[end.far.peer.name].liveness)
                for at, end in peer.ends.items()
            }
            peer.is_settling = True
            peer.node.start_converged(0, database, heard)
            peer.is_settling = False
            for name, content in heard.items():
                peer.ends[name].monitor.heard = content
            self.env.process(peer.live())

    def at(self, at_ns: int, act: Callable[[], None]) -> None:
        """Call `act` at that instant."""
        self.env.timeout(at_ns).callbacks.append(lambda _: act())

    def cut(self, link: str) -> None:
        """Both ends lose carrier for good."""
        for end in self.ends[link]:
            end.cut()

    def run(self, until_ns: int) -> None:
        """Simulate up to that instant."""
        self.env.run(until=until_ns)


def _end(peer: Peer, link: str, side: str, delay_ns: int, streams: Streams) -> End:
    end = End(peer, link, delay_ns, streams.draws(f"{link}:{side}", "keep-alive gap"))
    peer.ends[link] = end
    return end
