"""Peers as real processes: mutual TLS and keep-alives between real network namespaces.

A link's middle is a bridge in a namespace of its own: taking an end off the bridge drops
everything and leaves carrier as it was.
"""

import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("cryptography", reason="needs the extra 'emulation'")

from x0mesh.emulation import rtnetlink as rt
from x0mesh.emulation.control import (
    DEFAULT_PORT,
    AskSnapshot,
    AskState,
    Configure,
    DataPlane,
    Drain,
    Happened,
    Identity,
    Interface,
    Ready,
    Renew,
    SnapshotTaken,
    Start,
    State,
    Stop,
    Stopped,
)
from x0mesh.emulation.credentials import node_id
from x0mesh.emulation.fork_server import Died
from x0mesh.emulation.keep_alive import link_id
from x0mesh.emulation.namespaces import NamespaceError, NetNamespace
from x0mesh.emulation.peers import PeerProcess, Peers, PeersError
from x0mesh.identity.authority import Authority
from x0mesh.identity.certificate import parse_chain
from x0mesh.identity.spiffe_id import TrustDomain
from x0mesh.mesh.address import address
from x0mesh.mesh.codec import encode_keep_alive
from x0mesh.mesh.config import LinkConfig, LivenessConfig, NodeConfig, SpfConfig
from x0mesh.mesh.effects import BfdState, KeepAlive

DOMAIN = "mesh.test"
WAIT_S = 60.0
MS = 1_000_000
# Slow enough that a busy machine raises no false alarm in the middle of a test.
LIVENESS = LivenessConfig(
    interval_ns=200 * MS, multiplier=5, slow_interval_ns=200 * MS, adaptive=False
)
SPF = SpfConfig(
    initial_ns=10 * MS,
    short_ns=20 * MS,
    long_ns=50 * MS,
    time_to_learn_ns=20 * MS,
    hold_down_ns=100 * MS,
    local_delay_ns=50 * MS,
)


class Mesh:
    """Nodes in namespaces of their own; `links`: name -> (node, node)."""

    def __init__(self, links: dict[str, tuple[str, str]], folder: Path) -> None:
        self.links = links
        self.names = sorted({name for ends in links.values() for name in ends})
        self.spaces = {name: NetNamespace.create() for name in self.names}
        self.middle = NetNamespace.create()
        self.interfaces: dict[str, list[Interface]] = {name: [] for name in self.names}
        self._macs: dict[tuple[str, str], bytes] = {}
        with rt.RtNetlink(self.middle) as middle:
            for place, (link, ends) in enumerate(links.items()):
                self._join(middle, place, link, ends)
        self.epoch_ns = time.time_ns() - time.monotonic_ns()
        self.authority = Authority(TrustDomain(DOMAIN), time.time_ns)
        self.peers = Peers(folder)
        self.process: dict[str, PeerProcess] = {}
        self.events: list[tuple[str, Happened]] = []
        self.deaths: list[tuple[str, Died]] = []
        self.said: list[tuple[str, Any]] = []
        self.boots: dict[str, int] = {}
        self._requests = 0

    def _join(self, middle: rt.RtNetlink, place: int, link: str, ends: tuple[str, str]) -> None:
        bridge = 1000 + place
        middle.batch([rt.create_bridge(f"br{place}", bridge), rt.set_link(bridge, up=True)])
        addresses = [IPv6Address(f"fe80::{place + 1:x}:{end}") for end in (1, 2)]
        macs = [bytes([2, 0, 0, 0, place, end]) for end in (1, 2)]
        for end, name in enumerate(ends):
            here, there = 10 + 4 * place + end, 500 + 4 * place + end
            outer = f"m{place}{'ab'[end]}"
            space = self.spaces[name]
            veth = rt.create_veth(
                f"e{place}", space.fd, here, outer, self.middle.fd, there, lladdr_a=macs[end]
            )
            middle.batch([veth, rt.set_master(there, bridge), rt.set_link(there, up=True)])
            with rt.RtNetlink(space) as netlink:
                netlink.batch(
                    [
                        rt.set_link(here, up=True),
                        rt.add_address(here, addresses[end], 64),
                        rt.add_neighbour(here, addresses[1 - end], macs[1 - end]),
                    ]
                )
            own, peer = str(addresses[end]), str(addresses[1 - end])
            self.interfaces[name].append(Interface(link, here, own, peer))

    # Faults

    def blackhole(self, link: str, on: bool = True) -> None:
        """Drop everything in the middle; carrier stays."""
        place = list(self.links).index(link)
        with rt.RtNetlink(self.middle) as middle:
            middle.batch([rt.set_master(500 + 4 * place, 0 if on else 1000 + place)])

    def set_carrier(self, link: str, up: bool) -> None:
        """Both ends lose or regain carrier."""
        place = list(self.links).index(link)
        with rt.RtNetlink(self.middle) as middle:
            middle.batch([rt.set_link(500 + 4 * place + end, up=up) for end in (0, 1)])

    # Peers

    def identity(self, name: str, authority: Authority | None = None) -> Identity:
        issuer = authority or self.authority
        svid = issuer.issue(node_id(DOMAIN, name))
        bundle = self.authority.bundle().to_der()
        return Identity(DOMAIN, svid.chain_der, svid.key_der(), bundle, self.epoch_ns)

    def config(self, name: str) -> Configure:
        self.boots[name] = self.boots.get(name, 0) + 1
        links = tuple(
            LinkConfig(link, a if b == name else b)
            for link, (a, b) in self.links.items()
            if name in (a, b)
        )
        node = NodeConfig(name, links, self.boots[name], liveness=LIVENESS, spf=SPF)
        return Configure(node, tuple(self.interfaces[name]), self.identity(name), seed=1)

    def spawn(self, name: str, config: Configure | None = None) -> None:
        self.process[name] = self.peers.spawn(name, self.spaces[name].fd)
        self.process[name].tell(config or self.config(name))

    def start(self, *names: str) -> None:
        """Spawn if need be, and start together once all are ready."""
        for name in names:
            if name not in self.process:
                self.spawn(name)
        for name in names:
            self.hears(name, Ready)
        at_ns = time.monotonic_ns() + 20 * MS
        for name in names:
            self.process[name].tell(Start(at_ns))

    def listen(self, timeout_s: float = 0.05) -> None:
        for process, message in self.peers.wait(timeout_s):
            match message:
                case Happened():
                    self.events.append((process.name, message))
                case Died():
                    self.deaths.append((process.name, message))
                case _:
                    self.said.append((process.name, message))

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait, for long if need be, until the condition gives something."""
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            found = condition()
            if found:
                return found
            self.listen()
        trail = "\n".join(f"{n} {e}" for n, e in self.events[-30:])
        raise AssertionError(f"the condition never came true\n{trail}\n{self.deaths}")

    def hears(self, name: str, kind: type) -> Any:
        def heard() -> Any:
            for place, (who, message) in enumerate(self.said):
                if who == name and isinstance(message, kind):
                    return self.said.pop(place)[1]
            return None

        return self.until(heard)

    def state(self, name: str) -> State:
        self._requests += 1
        self.process[name].tell(AskState(self._requests))
        answer = self.hears(name, State)
        assert answer.request == self._requests
        return answer

    def canonical(self, name: str) -> dict[str, Any]:
        canonical: dict[str, Any] = json.loads(self.state(name).canonical)
        return canonical

    def happened(self, name: str, kind: str, after: int = 0, **fields: str) -> list[Happened]:
        return [
            event
            for who, event in self.events[after:]
            if who == name
            and event.kind == kind
            and all(getattr(event, key) == value for key, value in fields.items())
        ]

    def is_whole(self) -> bool:
        """Every adjacency is Full, everybody has the whole database and a route to everybody."""
        states = {name: self.canonical(name) for name in self.names}
        databases = [state["database"] for state in states.values()]
        return (
            all(database == databases[0] for database in databases)
            and sum(map(len, databases[0].values())) == 2 * len(self.links)
            and all(set(s["adjacencies"].values()) == {"full"} for s in states.values())
            and all(set(s["routes"]) == set(self.names) - {n} for n, s in states.items())
        )

    def form(self) -> None:
        self.start(*self.names)
        self.until(self.is_whole)

    def close(self) -> None:
        self.peers.close()
        for space in (*self.spaces.values(), self.middle):
            space.close()


@pytest.fixture
def make_mesh(tmp_path: Path) -> Iterator[Callable[[dict[str, tuple[str, str]]], Mesh]]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    made: list[Mesh] = []

    def make(links: dict[str, tuple[str, str]]) -> Mesh:
        try:
            made.append(Mesh(links, tmp_path))
        except (NamespaceError, rt.NetlinkError) as error:
            pytest.skip(f"namespaces with bridges cannot be made here: {error}")
        return made[-1]

    yield make
    for mesh in made:
        mesh.close()


PAIR = {"l0": ("n0", "n1")}
RING = {f"l{i}": (f"n{i}", f"n{(i + 1) % 4}") for i in range(4)}


def test_ring_of_real_peers_converges_and_detects_a_crash_and_a_silent_blackhole(make_mesh):
    mesh = make_mesh(RING)
    mesh.form()

    # What everybody believes is the same, and it is the ring.
    database = mesh.canonical("n0")["database"]
    assert {name: sorted(n[0] for n in said) for name, said in database.items()} == {
        "n0": ["n1", "n3"],
        "n1": ["n0", "n2"],
        "n2": ["n1", "n3"],
        "n3": ["n0", "n2"],
    }
    counters = mesh.state("n1").counters["l0"]
    assert counters.keep_alives_received > 0
    assert counters.keep_alives_spoofed == 0
    assert counters.messages_received > 0

    # Everything is dropped in the middle of l0, carrier stays: only keep-alives can tell.
    before = len(mesh.events)
    mesh.blackhole("l0")
    for name in ("n0", "n1"):
        mesh.until(lambda name=name: mesh.happened(name, "liveness.down", before, link="l0"))
    down = mesh.happened("n0", "liveness.down", before, link="l0")
    down += mesh.happened("n1", "liveness.down", before, link="l0")
    assert "control detection time expired" in {event.reason for event in down}
    mesh.until(lambda: mesh.canonical("n0")["routes"]["n1"]["primary"]["link"] == "l3")
    mesh.blackhole("l0", on=False)
    mesh.until(mesh.is_whole)

    # A process that is killed says nothing either.
    before = len(mesh.events)
    mesh.process["n2"].signal(signal.SIGKILL)
    for name, link in (("n1", "l1"), ("n3", "l2")):
        mesh.until(lambda n=name, k=link: mesh.happened(n, "session.closed", before, link=k))
    mesh.until(lambda: "n2" not in mesh.canonical("n0")["routes"])
    mesh.until(lambda: mesh.deaths)
    assert [(name, death.exit_code) for name, death in mesh.deaths] == [("n2", -signal.SIGKILL)]

    # It comes back with nothing but a higher boot epoch.
    mesh.spawn("n2")
    mesh.start("n2")
    mesh.until(mesh.is_whole)


def test_the_kernel_forwards_by_the_routes_of_the_peers(make_mesh):
    mesh = make_mesh(RING)
    addresses = {name: address(str(node_id(DOMAIN, name))) for name in mesh.names}
    plane = DataPlane({n: str(a) for n, a in addresses.items()}, {}, tuple(RING), gate=False)
    for name in mesh.names:
        with rt.RtNetlink(mesh.spaces[name]) as netlink:
            netlink.batch([rt.add_address(1, addresses[name], 128)])
        mesh.spawn(name, msgspec.structs.replace(mesh.config(name), data_plane=plane))
    mesh.form()

    def carries(source: str, destination: str) -> bool:
        sender = mesh.spaces[source].open_socket(socket.AF_INET6, socket.SOCK_DGRAM)
        receiver = mesh.spaces[destination].open_socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with sender, receiver:
            sender.bind((str(addresses[source]), 0))
            receiver.bind((str(addresses[destination]), 0))
            receiver.settimeout(0.2)
            try:
                sender.sendto(b"probe", receiver.getsockname()[:2])
                return receiver.recv(16) == b"probe"
            except OSError:
                return False

    mesh.until(lambda: carries("n0", "n2"))
    before = len(mesh.events)
    mesh.blackhole("l0")
    mesh.until(lambda: mesh.happened("n0", "liveness.down", before, link="l0"))
    mesh.until(lambda: carries("n0", "n1"))


def test_carrier_loss_is_heard_from_the_kernel_and_the_link_comes_back(make_mesh):
    mesh = make_mesh(PAIR)
    mesh.form()
    before = len(mesh.events)
    mesh.set_carrier("l0", up=False)
    for name in mesh.names:
        lost = mesh.until(lambda n=name: mesh.happened(n, "session.closed", before, link="l0"))
        assert lost[0].reason == "carrier lost"
    mesh.set_carrier("l0", up=True)
    mesh.until(mesh.is_whole)


def test_spoofed_and_replayed_keep_alives_are_counted_and_change_nothing(make_mesh):
    mesh = make_mesh(PAIR)
    mesh.form()
    before = len(mesh.events)
    attacked = mesh.interfaces["n1"][0]
    attacker = mesh.interfaces["n0"][0]
    lie = KeepAlive(99, BfdState.ADMIN_DOWN, 50 * MS, 50 * MS, 3)
    forged = encode_keep_alive(link_id("l0"), 1 << 40, lie, b"k" * 32)
    overheard = overhear(mesh, "n1")
    where = (attacked.address, DEFAULT_PORT, 0, attacker.index)
    with mesh.spaces["n0"].open_socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for datagram in (forged, forged, b"noise", overheard, overheard):
            sock.sendto(datagram, where)

    def counted() -> bool:
        counters = mesh.state("n1").counters["l0"]
        return counters.keep_alives_spoofed >= 3 and counters.keep_alives_replayed >= 2

    mesh.until(counted)
    assert mesh.is_whole()
    assert not mesh.happened("n1", "liveness.down", before)


def overhear(mesh: Mesh, name: str) -> bytes:
    """One keep-alive on its way to the node, as somebody on the wire would record it."""
    interface = mesh.interfaces[name][0]
    packets = mesh.spaces[name].open_socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    with packets:
        packets.bind((f"e{list(mesh.links).index(interface.link)}", 0x86DD))
        packets.settimeout(WAIT_S)
        while True:
            packet, sender = packets.recvfrom(4096)
            is_udp = packet[6] == socket.IPPROTO_UDP
            if is_udp and sender[2] == socket.PACKET_HOST:
                return packet[48:]


def test_who_has_no_certificate_or_a_foreign_one_is_refused_with_the_reason(make_mesh):
    mesh = make_mesh(PAIR)
    mesh.start("n1")

    def refused(reason: str) -> list[Happened]:
        return mesh.happened("n1", "session.refused", reason=reason)

    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname = False
    nobody.verify_mode = ssl.CERT_NONE
    here, there = mesh.interfaces["n0"][0], mesh.interfaces["n1"][0]
    where = (there.address, DEFAULT_PORT, 0, here.index)
    with mesh.spaces["n0"].open_socket(socket.AF_INET6, socket.SOCK_STREAM) as plain:
        plain.settimeout(WAIT_S)
        plain.connect(where)
        with nobody.wrap_socket(plain) as stranger, pytest.raises(ssl.SSLError) as alert:
            stranger.recv(1)
    assert "CERTIFICATE_REQUIRED" in str(alert.value).upper().replace(" ", "_")
    mesh.until(lambda: refused("no certificate"))

    # An impostor with the right name from an authority of its own; it refuses n1 in turn.
    other = Authority(TrustDomain(DOMAIN), time.time_ns)
    honest = mesh.config("n0")
    mesh.spawn("n0", msgspec.structs.replace(honest, identity=mesh.identity("n0", other)))
    mesh.start("n0")
    mesh.until(lambda: refused("unknown authority"))
    told = mesh.until(lambda: mesh.happened("n0", "healing.decision"))
    assert any("unknown authority" in event.reason for event in told)
    assert mesh.canonical("n1")["adjacencies"] == {"l0": "down"}


def test_a_paused_peer_sends_no_burst_and_the_drained_one_is_avoided(make_mesh):
    mesh = make_mesh(PAIR)
    mesh.form()
    process = mesh.process["n0"]
    before = len(mesh.events)
    process.signal(signal.SIGSTOP)
    mesh.until(lambda: mesh.happened("n1", "liveness.down", before))
    sent_before = mesh_sent(mesh, "n1")
    process.signal(signal.SIGCONT)
    mesh.until(mesh.is_whole)
    assert mesh_sent(mesh, "n1") > sent_before

    process.tell(Drain(True))
    mesh.until(lambda: "n0" in json.dumps(mesh.canonical("n1")["overloaded"]))
    process.tell(Drain(False))
    mesh.until(lambda: not mesh.canonical("n1")["overloaded"])


def mesh_sent(mesh: Mesh, name: str) -> int:
    return sum(link.keep_alives_sent for link in mesh.state(name).counters.values())


def test_warm_restart_and_a_new_svid(make_mesh):
    mesh = make_mesh(PAIR)
    mesh.form()
    mesh.process["n0"].tell(AskSnapshot(7))
    taken = mesh.hears("n0", SnapshotTaken)
    assert (taken.request, taken.routes) == (7, ("n1",))
    mesh.process["n0"].signal(signal.SIGKILL)
    mesh.until(lambda: mesh.deaths)

    warm = msgspec.structs.replace(
        mesh.config("n0"), snapshot=taken.snapshot, inherited_routes=taken.routes
    )
    mesh.spawn("n0", warm)
    mesh.start("n0")
    mesh.until(mesh.is_whole)

    before = len(mesh.events)
    mesh.process["n0"].tell(Renew(mesh.identity("n0")))
    mesh.until(lambda: mesh.happened("n0", "lsa.originated", before))
    mesh.until(mesh.is_whole)
    assert not mesh.happened("n1", "liveness.down", before)


def test_a_revoked_neighbour_is_cut_off_and_refused(make_mesh):
    mesh = make_mesh(PAIR)
    mesh.form()
    revoked = mesh.process["n0"]
    identities = {name: mesh.identity(name) for name in mesh.names}
    revoked.tell(Renew(identities["n0"]))
    before = len(mesh.events)
    mesh.until(lambda: mesh.happened("n0", "lsa.originated"))
    mesh.authority.revoke(parse_chain(identities["n0"].chain)[0])
    news = mesh.authority.revocation_list()
    judged = msgspec.structs.replace(identities["n1"], revocation_list=news)
    mesh.process["n1"].tell(Renew(judged))
    mesh.until(lambda: mesh.happened("n1", "session.refused", before))
    mesh.until(lambda: mesh.canonical("n1")["adjacencies"] == {"l0": "down"})


def test_a_peer_that_dies_by_itself_is_reported_with_its_last_lines(make_mesh):
    mesh = make_mesh(PAIR)
    config = mesh.config("n0")
    wrong = tuple(msgspec.structs.replace(i, address="fe80::dead") for i in config.interfaces)
    mesh.spawn("n0", msgspec.structs.replace(config, interfaces=wrong))
    mesh.until(lambda: mesh.deaths)
    name, death = mesh.deaths[0]
    assert name == "n0"
    assert death.exit_code == 1
    assert "Cannot assign requested address" in death.last_lines[-1]


def test_stop_ends_a_peer_and_losing_the_engine_ends_them_all(make_mesh):
    mesh = make_mesh(PAIR)
    mesh.form()
    mesh.process["n0"].tell(Stop())
    assert mesh.hears("n0", Stopped)
    mesh.until(lambda: mesh.deaths)
    assert mesh.deaths[0][1].exit_code == 0

    survivor = mesh.process["n1"].pid
    os.kill(mesh.peers.server_pid, signal.SIGKILL)
    with pytest.raises(PeersError):
        mesh.until(lambda: False)
    deadline_s = time.monotonic() + WAIT_S
    while is_running(survivor) and time.monotonic() < deadline_s:
        threading.Event().wait(0.01)
    assert not is_running(survivor)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
