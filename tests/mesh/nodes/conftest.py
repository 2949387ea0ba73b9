"""A small deterministic network of whole nodes, driven by bytes and clocks alone.

Every message is encoded and decoded on every hop. Links have a constant delay; a cut link stalls
what is in flight, as a reliable stream would, and lets leases run out. Keep-alives are not sent
one by one: an unbroken direction renews its lease for ever, a broken one lets it expire.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from x0mesh.mesh.codec import decode, encode
from x0mesh.mesh.config import MS, LinkConfig, NodeConfig, S
from x0mesh.mesh.converged import converged_database
from x0mesh.mesh.credential import FakeSigner, FakeVerifier
from x0mesh.mesh.effects import KeepAlive, Lease, LeaseChange, ProtocolEvent, TimerKey
from x0mesh.mesh.graph import GraphStore
from x0mesh.mesh.link_state import Snapshot
from x0mesh.mesh.liveness import steady_content
from x0mesh.mesh.messages import Message
from x0mesh.mesh.node import Node
from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import Active, RouteChange

DIAL_TIMEOUT_NS = 400 * MS
SVID_LIFE_NS = 24 * 3600 * S

Edge = tuple[str, str]


@dataclass
class Wire:
    """One link: its ends, delay, whether it carries, and the generation of its channel."""

    name: str
    ends: Edge
    delay_ns: int
    is_up: bool = True
    channel: int = 0
    is_open: bool = False
    stalled: list[tuple[str, int, bytes]] = field(default_factory=list)

    def other(self, node: str) -> str:
        return self.ends[1] if node == self.ends[0] else self.ends[0]


@dataclass
class Ear:
    """What one end hears on one wire: the lease it keeps and how the silence stands."""

    lease: Lease | None = None
    heard: KeepAlive | None = None
    silent_since_ns: int | None = None
    told: bool = False
    check: int = 0


class End:
    """The effects of one life of one node, and a log of them."""

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.name = name
        self.timers: dict[TimerKey, int] = {}
        self.gates: dict[str, bool] = {}
        self.events: list[tuple[int, ProtocolEvent]] = []
        self.log: list[tuple[Any, ...]] = []

    def dial(self, link: str) -> None:
        self.log.append((self.network.now, "dial", link))
        self.network.dialled(self, link)

    def send(self, link: str, message: Message) -> None:
        encoded = encode(message)
        self.log.append((self.network.now, "send", link, encoded))
        self.network.sent(self, link, message, encoded)

    def keep_alive(self, link: str, lease: Lease | None) -> None:
        self.log.append((self.network.now, "keep_alive", link, lease))
        self.network.declared(self, link, lease)

    def gate(self, link: str, is_open: bool) -> None:
        self.log.append((self.network.now, "gate", link, is_open))
        self.gates[link] = is_open

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        assert due_ns >= self.network.now, (key, due_ns)
        self.timers[key] = due_ns
        self.network.at(due_ns, lambda: self.network.timer(self, key, due_ns))

    def cancel_timer(self, key: TimerKey) -> None:
        self.timers.pop(key, None)

    def answer_by(self, view: RouteView) -> None:
        pass

    def install(self, changes: Sequence[RouteChange]) -> None:
        self.log.append((self.network.now, "install", tuple(changes)))

    def close(self, link: str, reason: str) -> None:
        self.log.append((self.network.now, "close", link, reason))
        self.network.closed(self, link)

    def emit(self, event: ProtocolEvent) -> None:
        self.events.append((self.network.now, event))


class Network:
    """Nodes named in `edges` ((a, b) or (a, b, cost); equal pairs make parallel links).

    `delays_ns` gives each link's delay; by default distinct values from 1 to 3 ms.
    """

    def __init__(
        self,
        edges: Iterable[tuple[Any, ...]],
        delays_ns: Sequence[int] | None = None,
        seed: int = 1,
        change: Callable[[NodeConfig], NodeConfig] = lambda config: config,
    ) -> None:
        self.now = 0
        self.seed = seed
        self.store = GraphStore()
        self.verifier = FakeVerifier()
        self.verifiers: dict[str, FakeVerifier] = {}
        self.wires: dict[str, Wire] = {}
        self.ends: dict[str, End] = {}
        self.nodes: dict[str, Node] = {}
        self.ears: dict[tuple[str, str], Ear] = {}
        self.messages: Counter[str] = Counter()
        self.arrivals: list[tuple[int, str, str, Message]] = []
        self.tamper: Callable[[str, Message], Message | None] | None = None
        self.speaks_as: dict[str, str] = {}
        self.history: list[End] = []
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._random: dict[str, random.Random] = {}
        links: dict[str, list[LinkConfig]] = {}
        listed = list(edges)
        if delays_ns is None:
            spread = random.Random(seed)
            delays_ns = [MS + 1000 * k for k in spread.sample(range(2000), len(listed))]
        for number, (edge, delay_ns) in enumerate(zip(listed, delays_ns, strict=True)):
            a, b = edge[:2]
            cost = edge[2] if len(edge) > 2 else 10
            name = f"l{number}"
            self.wires[name] = Wire(name, (a, b), delay_ns)
            links.setdefault(a, []).append(LinkConfig(name, b, cost))
            links.setdefault(b, []).append(LinkConfig(name, a, cost))
        self.configs = {n: change(NodeConfig(n, tuple(links[n]))) for n in sorted(links)}
        self.signers = {n: FakeSigner(n, SVID_LIFE_NS) for n in self.configs}

    # Building and running

    def boot(self, name: str, boot_epoch: int | None = None) -> Node:
        """A new life of a node, not yet started."""
        config = self.configs[name]
        if boot_epoch is not None:
            config = self.configs[name] = replace(config, boot_epoch=boot_epoch)
        end = End(self, name)
        self.history.append(end)
        draws = self._random.setdefault(name, random.Random(f"{self.seed}/{name}"))
        signer, verifier = self.signers[name], self.verifiers.get(name, self.verifier)
        node = Node(config, end, lambda _: draws.random(), signer, verifier, self.store)
        self.ends[name], self.nodes[name] = end, node
        for link in config.links:
            self.ears[name, link.link] = Ear()
        return node

    def start(self, *names: str) -> Network:
        """Cold start of the given nodes, or of all."""
        for name in names or tuple(self.configs):
            self.boot(name).start(self.now)
        return self

    def start_converged(self) -> Network:
        """Everything Full from the first instant."""
        pairs = [(config, self.signers[name]) for name, config in self.configs.items()]
        database = converged_database(pairs, self.now, self.store)
        for name in self.configs:
            self.boot(name)
        for wire in self.wires.values():
            wire.is_open, wire.channel = True, 1
            for name in wire.ends:
                said = steady_content(self.configs[wire.other(name)].liveness)
                self.ears[name, wire.name].heard = said
        for name, config in self.configs.items():
            heard = {at.link: self.ears[name, at.link].heard for at in config.links}
            self.nodes[name].start_converged(self.now, database, heard)
        return self

    def run(self, until_ns: int) -> None:
        """Everything due up to and at `until_ns`."""
        while self._heap and self._heap[0][0] <= until_ns:
            self.now, _, act = heapq.heappop(self._heap)
            act()
        self.now = until_ns

    def run_for(self, duration_ns: int) -> None:
        self.run(self.now + duration_ns)

    def at(self, when_ns: int, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when_ns, self._count, act))

    # Faults

    def link(self, a: str, b: str) -> str:
        return next(w.name for w in self.wires.values() if set(w.ends) == {a, b})

    def cut(self, link: str) -> None:
        """Silent cut of both directions: nobody is told."""
        wire = self.wires[link]
        wire.is_up = False
        for name in wire.ends:
            self._falls_silent(name, wire, self.now + wire.delay_ns)

    def mend(self, link: str) -> None:
        wire = self.wires[link]
        wire.is_up = True
        stalled, wire.stalled = wire.stalled, []
        for to, channel, encoded in stalled:
            self._in_flight(wire, to, channel, encoded)
        for name in wire.ends:
            self._speaks(name, wire)

    def carrier_lost(self, link: str) -> None:
        """Both ends are told at once; `mend` brings the link back, of which nobody is told."""
        wire = self.wires[link]
        wire.is_up = wire.is_open = False
        wire.stalled.clear()
        for name in wire.ends:
            if name in self.nodes:
                self.nodes[name].link_down(self.now, link, "carrier lost")

    def crash(self, name: str) -> Snapshot:
        """The node is gone without a word; what a warm restart would need."""
        node = self.nodes.pop(name)
        self.ends.pop(name).timers.clear()
        for link in self.configs[name].links:
            wire = self.wires[link.link]
            wire.is_open = False
            self.ears.pop((name, link.link))
            self._falls_silent(wire.other(name), wire, self.now + wire.delay_ns)
        return node.snapshot()

    # What a test asks

    def count(self, kind: str) -> int:
        return sum(e.kind == kind for end in self.history for _, e in end.events)

    def reasons(self, name: str, kind: str) -> list[str]:
        return [e.reason for _, e in self.ends[name].events if e.kind == kind]

    def database(self, name: str) -> dict[str, Any]:
        return dict(self.nodes[name].canonical_state()["database"])

    def is_quiet(self) -> bool:
        return all(node.quiet for node in self.nodes.values())

    def path(self, source: str, destination: str) -> list[str] | None:
        """Nodes that a packet visits by primary routes, or None where it is dropped."""
        path = [source]
        while path[-1] != destination:
            route = self.nodes[path[-1]].routes.get(destination)
            if route is None or route.active is not Active.PRIMARY or len(path) > len(self.nodes):
                return None
            path.append(route.primary.neighbour)
        return path

    # Engine

    def timer(self, end: End, key: TimerKey, due_ns: int) -> None:
        if self.ends.get(end.name) is end and end.timers.get(key) == due_ns:
            del end.timers[key]
            self.nodes[end.name].timer(self.now, key, due_ns)

    def dialled(self, end: End, link: str) -> None:
        wire = self.wires[link]
        peer = wire.other(end.name)

        def arrive() -> None:
            if self.ends.get(end.name) is not end:
                return
            if not wire.is_up or peer not in self.nodes:
                self.at(self.now + DIAL_TIMEOUT_NS, fail)
                return
            wire.channel += 1
            wire.is_open = True
            wire.stalled.clear()
            for name in wire.ends:
                self.ears[name, wire.name] = Ear()
            for name in sorted(wire.ends):
                other = wire.other(name)
                self.nodes[name].link_up(self.now, link, self.speaks_as.get(other, other))

        def fail() -> None:
            if self.ends.get(end.name) is end:
                self.nodes[end.name].channel_failed(self.now, link, "timed out")

        self.at(self.now + 2 * wire.delay_ns, arrive)

    def sent(self, end: End, link: str, message: Message, encoded: bytes) -> None:
        wire = self.wires[link]
        if wire.is_open:
            self.messages[type(message).__name__] += 1
            self._in_flight(wire, wire.other(end.name), wire.channel, encoded)

    def closed(self, end: End, link: str) -> None:
        wire = self.wires[link]
        if not wire.is_open:
            return
        wire.is_open = False
        peer, channel = wire.other(end.name), wire.channel

        def finish() -> None:
            if wire.is_up and wire.channel == channel and peer in self.nodes:
                self.nodes[peer].channel_failed(self.now, link, "closed by the neighbour")

        self.at(self.now + wire.delay_ns, finish)

    def declared(self, end: End, link: str, lease: Lease | None) -> None:
        wire = self.wires[link]
        ear = self.ears[end.name, link]
        is_news = lease is not None and (ear.lease is None or ear.lease.content != lease.content)
        ear.lease = lease
        ear.told = False
        self._watch(end.name, wire)
        if lease is None:
            self._falls_silent(wire.other(end.name), wire, self.now + wire.delay_ns)
        elif is_news:
            self._say(wire.other(end.name), wire, lease.content)

    def _in_flight(self, wire: Wire, to: str, channel: int, encoded: bytes) -> None:
        def arrive() -> None:
            if not wire.is_open or wire.channel != channel or to not in self.nodes:
                return
            if not wire.is_up:
                wire.stalled.append((to, channel, encoded))
                return
            message: Message | None = decode(encoded)
            if self.tamper is not None:
                message = self.tamper(to, message)
            if message is not None:
                self.arrivals.append((self.now, wire.name, to, message))
                self.nodes[to].receive(self.now, wire.name, message)

        self.at(self.now + wire.delay_ns, arrive)

    def _say(self, to: str, wire: Wire, content: KeepAlive) -> None:
        channel = wire.channel
        self.at(self.now + wire.delay_ns, lambda: self._hears(to, wire, channel, content))

    def _hears(self, name: str, wire: Wire, channel: int, content: KeepAlive) -> None:
        ear = self.ears.get((name, wire.name))
        if ear is None or not wire.is_up or wire.channel != channel or ear.lease is None:
            return
        was_told, ear.told = ear.told, False
        speaker = self.ears.get((wire.other(name), wire.name))
        is_last_word = speaker is None or speaker.lease is None
        ear.silent_since_ns = self.now if is_last_word else None
        if was_told or ear.heard is None or content.epoch > ear.heard.epoch:
            ear.heard = content
            self.nodes[name].lease_changed(self.now, wire.name, content, LeaseChange.UP, self.now)
        self._watch(name, wire)

    def _speaks(self, name: str, wire: Wire) -> None:
        """The wire carries again: the neighbour's next keep-alive arrives."""
        speaker = self.ears.get((wire.other(name), wire.name))
        if speaker is not None and speaker.lease is not None:
            self._say(name, wire, speaker.lease.content)

    def _falls_silent(self, name: str, wire: Wire, when_ns: int) -> None:
        ear = self.ears.get((name, wire.name))
        if ear is not None and ear.silent_since_ns is None:
            ear.silent_since_ns = when_ns
            self._watch(name, wire)

    def _watch(self, name: str, wire: Wire) -> None:
        ear = self.ears.get((name, wire.name))
        if ear is None:
            return
        ear.check += 1
        lease, since_ns, check = ear.lease, ear.silent_since_ns, ear.check
        if lease is None or lease.detection_time_ns == 0 or since_ns is None or ear.told:
            return
        due_ns = max(self.now, since_ns + lease.detection_time_ns)

        def expire() -> None:
            if self.ears.get((name, wire.name)) is ear and ear.check == check:
                assert ear.heard is not None
                ear.told = True
                self.nodes[name].lease_changed(
                    self.now, wire.name, ear.heard, LeaseChange.EXPIRED, due_ns
                )

        self.at(due_ns, expire)


@pytest.fixture
def network() -> type[Network]:
    """The class of small networks; call it with edges."""
    return Network


@pytest.fixture
def ring_edges() -> list[Edge]:
    """Six nodes a to f in a ring."""
    names = "abcdef"
    return [(names[i], names[(i + 1) % 6]) for i in range(6)]


@pytest.fixture
def random_edges() -> Callable[[int, int, int], list[Edge]]:
    """(nodes, extra links, seed) to the edges of a connected random graph."""

    def make(nodes: int, extra: int, seed: int) -> list[Edge]:
        draws = random.Random(seed)
        names = [f"n{i:02d}" for i in range(nodes)]
        edges = [(names[draws.randrange(i)], names[i]) for i in range(1, nodes)]
        spare = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if (a, b) not in edges]
        return edges + draws.sample(spare, min(extra, len(spare)))

    return make
