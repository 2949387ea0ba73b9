"""A ring of namespaces joined by plain veths, without any of the emulation's own machinery.

And stand-ins for programs that the host may not have.
"""

import os
import shutil
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from x0mesh.emulation import rtnetlink as rt
from x0mesh.emulation.namespaces import NamespaceError, NetNamespace
from x0mesh.mesh.address import address

WAIT_S = 30

# Says what Mininet reads from iputils' ping, where that is not installed.
PING = """#!{python}
import os, socket, struct, sys
target = sys.argv[-1]
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.settimeout(float(sys.argv[sys.argv.index("-W") + 1]) if "-W" in sys.argv else 30)
head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1)
total = sum(struct.unpack("!4H", head))
total = (total & 0xFFFF) + (total >> 16)
got = 0
try:
    s.sendto(head[:2] + struct.pack("!H", ~total & 0xFFFF) + head[4:], (target, 0))
    while not got:
        packet, (sender, _) = s.recvfrom(2048)
        got = int(packet[20] == 0 and packet[24:26] == head[4:6])
except OSError:
    pass
print("1 packets transmitted, %d received" % got)
"""


@dataclass
class RingNode:
    """`links`: link name -> (interface index, neighbour, own and neighbour's link-local)."""

    name: str
    namespace: NetNamespace
    netlink: rt.RtNetlink
    address: IPv6Address
    address_4: IPv4Address
    links: dict[str, tuple[int, str, IPv6Address, IPv6Address]] = field(default_factory=dict)

    def state(self, link: str) -> rt.LinkState:
        index = self.links[link][0]
        return next(state for state in self.netlink.links() if state.index == index)


class Ring:
    """Nodes n0..; link `l<i>` joins n<i> and n<i+1>. Addresses only, no routes."""

    def __init__(self, size: int) -> None:
        self.nodes: dict[str, RingNode] = {}
        self.links = [f"l{place}" for place in range(size)]
        for place in range(size):
            name = f"n{place}"
            space = NetNamespace.create()
            self.nodes[name] = RingNode(
                name,
                space,
                rt.RtNetlink(space),
                address(f"spiffe://ring.test/node/{name}"),
                IPv4Address(f"10.1.0.{place + 1}"),
            )
        with rt.RtNetlink() as outside:
            for place, link in enumerate(self.links):
                ends = (f"n{place}", f"n{(place + 1) % size}")
                self._join(outside, link, place, ends)
        for node in self.nodes.values():
            node.netlink.batch(
                [
                    rt.add_address(1, node.address, 128),
                    rt.add_address(1, node.address_4, 32),
                ]
            )
        wait_until(
            lambda: all(
                node.state(link).operational for node in self.nodes.values() for link in node.links
            )
        )

    def _join(self, outside: rt.RtNetlink, link: str, place: int, ends: tuple[str, str]) -> None:
        a, b = (self.nodes[end] for end in ends)
        indexes = (10 + 2 * place, 11 + 2 * place)
        locals_ = (IPv6Address(f"fe80::{place}:1"), IPv6Address(f"fe80::{place}:2"))
        macs = (bytes([2, 0, 0, 0, place, 1]), bytes([2, 0, 0, 0, place, 2]))
        outside.batch(
            [
                rt.create_veth(
                    f"{link}a",
                    a.namespace.fd,
                    indexes[0],
                    f"{link}b",
                    b.namespace.fd,
                    indexes[1],
                    lladdr_a=macs[0],
                    lladdr_b=macs[1],
                )
            ]
        )
        for node, here, there, neighbour in ((a, 0, 1, b), (b, 1, 0, a)):
            node.netlink.batch(
                [
                    rt.set_link(indexes[here], up=True),
                    rt.add_address(indexes[here], locals_[here], 64),
                    rt.add_neighbour(indexes[here], locals_[there], macs[there]),
                ]
            )
            node.links[link] = (indexes[here], neighbour.name, locals_[here], locals_[there])

    def addresses(self) -> dict[str, IPv6Address]:
        return {name: node.address for name, node in self.nodes.items()}

    def addresses_4(self) -> dict[str, IPv4Address]:
        return {name: node.address_4 for name, node in self.nodes.items()}

    def set_carrier(self, node: str, link: str, up: bool) -> None:
        """Set `node`'s own end; the neighbour sees carrier go or come, waited for here."""
        index, neighbour, local, remote = self.nodes[node].links[link]
        near, far = self.nodes[node], self.nodes[neighbour]
        requests = [rt.set_link(index, up=up)]
        if up:  # the kernel has forgotten both with the interface
            requests.append(rt.add_neighbour(index, remote, self._mac(link, far.name)))
        self.nodes[node].netlink.batch(requests)
        if up:
            again = rt.add_address(index, local, 64)
            self.nodes[node].netlink.batch([again], ignore={17})
        wait_until(lambda: far.state(link).carrier is up)
        wait_until(lambda: up or not far.state(link).operational)
        # Until then the kernel drops what is sent over a link that has just come up.
        wait_until(lambda: not up or (far.state(link).operational and near.state(link).operational))

    def _mac(self, link: str, node: str) -> bytes:
        place = self.links.index(link)
        return bytes([2, 0, 0, 0, place, 1 if node == f"n{place}" else 2])

    def udp(self, node: str, version: int = 6) -> socket.socket:
        """A socket bound to the node's address, with a generous time-out."""
        member = self.nodes[node]
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        opened = member.namespace.open_socket(family, socket.SOCK_DGRAM)
        opened.settimeout(WAIT_S)
        opened.bind((str(member.address if version == 6 else member.address_4), 0))
        return opened

    def carries(self, source: str, destination: str, version: int = 6) -> bool:
        """Whether a packet arrives; a lost one is shown by a second, local one that follows."""
        with self.udp(source, version) as sender, self.udp(destination, version) as receiver:
            where = receiver.getsockname()[:2]
            try:
                sender.sendto(b"probe", where)
            except OSError:
                return False
            # Plain veths deliver before sendto returns: what has not come by now never will.
            receiver.setblocking(False)
            for _ in range(200):
                try:
                    return receiver.recv(64) == b"probe"
                except BlockingIOError:
                    threading.Event().wait(0.001)
            return False

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """For what the kernel does by itself, soon after carrier has changed."""
        wait_until(condition)

    def close(self) -> None:
        for node in self.nodes.values():
            node.netlink.close()
            node.namespace.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, for long if need be, until the condition holds."""
    for _ in range(WAIT_S * 200):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("the condition never came true")


@pytest.fixture
def make_ring() -> Iterator[Callable[[int], Ring]]:
    """Builds rings and takes them down; skips where the host forbids namespaces."""
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    built: list[Ring] = []

    def make(size: int) -> Ring:
        try:
            built.append(Ring(size))
        except NamespaceError as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        return built[-1]

    yield make
    for ring in built:
        ring.close()


@pytest.fixture
def mininet_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mininet, the shell of its nodes, and a `ping` whose words it understands."""
    pytest.importorskip("mininet.net", reason="Mininet is not installed")
    if shutil.which("bash") is None:
        pytest.skip("no bash, which Mininet's nodes run")
    if shutil.which("ping") is None:
        script = tmp_path / "ping"
        script.write_text(PING.format(python=sys.executable))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
