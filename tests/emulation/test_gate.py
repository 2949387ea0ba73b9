"""The data gate in a real kernel: closed refuses and counts, open passes, control always passes."""

import shutil
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest

from x0mesh.emulation import gate as gate_module
from x0mesh.emulation import rtnetlink as rt
from x0mesh.emulation.gate import DataGate, GateError
from x0mesh.emulation.kernel_routes import Adjacency, KernelRoutes
from x0mesh.emulation.nfnetlink import InterfaceSet, NetfilterError
from x0mesh.mesh.routes import (
    Active,
    AdjacencySegment,
    NextHop,
    Protection,
    Repair,
    RepairKind,
    Route,
    RouteChange,
)

pytestmark = pytest.mark.skipif(
    shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin") is None, reason="nft is not installed"
)


@pytest.fixture
def line(make_ring: Callable[[int], Any]) -> Any:
    """n0 - n1 - n2 of a ring of four, with routes both ways over n1."""
    ring = make_ring(4)
    for node, link, others in (
        ("n0", "l0", ("n1", "n2")),
        ("n1", "l0", ("n0",)),
        ("n1", "l1", ("n2",)),
        ("n2", "l1", ("n0", "n1")),
    ):
        member = ring.nodes[node]
        index, _, _, gateway = member.links[link]
        requests = [rt.add_nexthop(index, index, gateway)]
        for other in others:
            to = ring.nodes[other]
            requests.append(rt.add_route(IPv6Network(to.address), 10, index, member.address))
            requests.append(rt.add_route(IPv4Network(to.address_4), 10, index, member.address_4))
        member.netlink.batch(requests)
    return ring


@pytest.fixture
def gate(line: Any) -> Iterator[DataGate]:
    """The gate of n1, closed."""
    node = line.nodes["n1"]
    interfaces = {link: index for link, (index, *_) in node.links.items()}
    with DataGate(interfaces, node.namespace) as made:
        yield made


@pytest.mark.parametrize("version", [6, 4])
def test_a_closed_gate_refuses_and_counts_and_an_open_one_passes(
    line: Any, gate: DataGate, version: int
) -> None:
    assert not line.carries("n0", "n2", version), "forwarded"
    assert not line.carries("n0", "n1", version), "for the node itself"
    assert gate.refused() == {"l0": 2, "l1": 0}
    gate.set("l0", True)
    assert line.carries("n0", "n2", version)
    assert line.carries("n0", "n1", version)
    assert not line.carries("n2", "n0", version), "each neighbour has a gate of its own"
    gate.set("l1", True)
    gate.set("l0", False)
    assert line.carries("n2", "n0", version)
    assert not line.carries("n0", "n2", version)
    assert gate.refused() == {"l0": 3, "l1": 1}


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_control_between_link_locals_passes_a_closed_gate(
    line: Any, gate: DataGate, kind: socket.SocketKind
) -> None:
    here, there = line.nodes["n0"], line.nodes["n1"]
    index, _, _, remote = here.links["l0"]
    with (
        there.namespace.open_socket(socket.AF_INET6, kind) as server,
        here.namespace.open_socket(socket.AF_INET6, kind) as client,
    ):
        server.settimeout(30)
        client.settimeout(30)
        server.bind((str(remote), 0, 0, there.links["l0"][0]))
        where = (str(remote), server.getsockname()[1], 0, index)
        if kind is socket.SOCK_DGRAM:
            client.sendto(b"hello", where)
            assert server.recv(16) == b"hello"
        else:
            server.listen()
            client.connect(where)
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"hello")
                assert accepted.recv(16) == b"hello"
    assert gate.refused() == {"l0": 0, "l1": 0}


def test_saying_it_twice_changes_nothing(line: Any, gate: DataGate) -> None:
    gate.set("l0", False)
    gate.set("l0", True)
    gate.set("l0", True)
    assert gate.open_links == {"l0"}
    gate.set("l0", False)
    gate.set("l0", False)
    assert not line.carries("n0", "n1")


def test_all_gates_close_for_whoever_asks(line: Any, gate: DataGate) -> None:
    """The engine closes the gates of a node whose process has been killed."""
    gate.set("l0", True)
    gate.set("l1", True)
    node = line.nodes["n1"]
    assert line.carries("n0", "n2")
    gate.close_all()
    assert not line.carries("n0", "n2")
    gate.set("l0", True)
    with DataGate({link: i for link, (i, *_) in node.links.items()}, node.namespace):
        assert not line.carries("n0", "n2"), "a new process of the node starts with closed gates"


def test_a_gate_that_cannot_be_had_is_an_error(line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = line.nodes["n1"]
    monkeypatch.setattr(gate_module, "_RULES", "table inet {")
    with pytest.raises(GateError, match="refused"):
        DataGate({}, node.namespace)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/nowhere/nft")
    with pytest.raises(GateError, match="nftables"):
        DataGate({}, node.namespace)


def test_a_refused_change_is_an_error(line: Any) -> None:
    sets = InterfaceSet("absent", line.nodes["n0"].namespace)
    try:
        with pytest.raises(NetfilterError):
            sets.add("open", 7)
        with pytest.raises(NetfilterError):
            sets.packets("open")
    finally:
        sets.close()


def test_encapsulated_data_meets_the_gate_too(make_ring: Callable[[int], Any]) -> None:
    """An SRv6 repair over n1 is data, although n1 only passes it on by a local SID."""
    ring = make_ring(4)
    tables = {
        name: KernelRoutes(
            name,
            ring.addresses(),
            ring.links,
            [Adjacency(k, i, peer, remote) for k, (i, peer, _, remote) in node.links.items()],
            node.namespace,
        )
        for name, node in ring.nodes.items()
    }
    if not tables["n0"].segment_routing:
        pytest.skip("this kernel has no SRv6")
    over = NextHop("l0", "n1")
    onward = AdjacencySegment("n1", NextHop("l1", "n2"))
    led = Repair(over, (onward,), RepairKind.EXPLICIT, Protection.LINK)
    failed = Route("n2", NextHop("l3", "n3"), led, 20, Active.REPAIR)
    tables["n0"].install([RouteChange("n2", failed, "local repair")])
    assert ring.carries("n0", "n2")
    middle = ring.nodes["n1"]
    with DataGate({k: i for k, (i, *_) in middle.links.items()}, middle.namespace) as gate:
        assert not ring.carries("n0", "n2")
        assert gate.refused()["l0"] == 1
        gate.set("l0", True)
        assert ring.carries("n0", "n2")
    for table in tables.values():
        table.close()
