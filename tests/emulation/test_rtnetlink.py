"""Builders of netlink messages against the real kernel, in namespaces of their own."""

import errno
import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import NamedTuple

import pytest

from x0mesh.emulation import rtnetlink as rt
from x0mesh.emulation.namespaces import NamespaceError, NetNamespace

LLADDR = (bytes.fromhex("020000000001"), bytes.fromhex("020000000002"))
LOCAL = (IPv6Address("fe80::1"), IPv6Address("fe80::2"))
WAIT_S = 30


class Side(NamedTuple):
    namespace: NetNamespace
    netlink: rt.RtNetlink
    index: int


@pytest.fixture
def pair() -> Iterator[tuple[Side, Side]]:
    """Two namespaces joined by one veth, addressed and up."""
    try:
        spaces = [NetNamespace.create() for _ in range(2)]
    except NamespaceError as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    sides = [
        Side(space, rt.RtNetlink(space), index)
        for space, index in zip(spaces, (10, 11), strict=True)
    ]
    a, b = sides
    with rt.RtNetlink() as outside:
        outside.batch(
            [rt.create_veth("e0", a.namespace.fd, 10, "e0", b.namespace.fd, 11, 2000, *LLADDR)]
        )
    for me, side in enumerate(sides):
        side.netlink.batch(
            [
                rt.set_link(side.index, up=True),
                rt.add_address(side.index, LOCAL[me], 64),
                rt.add_address(side.index, IPv4Address("10.0.0.0") + me, 31),
                rt.add_neighbour(side.index, LOCAL[1 - me], LLADDR[1 - me]),
            ]
        )
    for side, address in zip(sides, LOCAL, strict=True):
        wait_until_usable(side, address)
    yield a, b
    for side in sides:
        side.netlink.close()
        side.namespace.close()


def link(side: Side) -> rt.LinkState:
    return next(found for found in side.netlink.links() if found.index == side.index)


def wait_until_usable(side: Side, *addresses: IPv6Address) -> None:
    end = time.monotonic() + WAIT_S
    while not (
        all(found.operational for found in side.netlink.links() if found.index != 1)
        and side.netlink.delivered_here().issuperset(addresses)
    ):
        assert time.monotonic() < end, (side.netlink.links(), side.netlink.delivered_here())
        time.sleep(0.001)


def deliver(source: Side, target: Side, address: str) -> bytes:
    """One datagram to `address`, sent in `source` and received in `target`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        target.namespace.open_socket(family, socket.SOCK_DGRAM) as receiver,
        source.namespace.open_socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.settimeout(WAIT_S)
        receiver.bind(("", 4000))
        sender.sendto(b"hello", (address, 4000))
        return receiver.recv(16)


def test_both_ends_are_made_with_their_index_name_mtu_and_address(
    pair: tuple[Side, Side],
) -> None:
    for side, lladdr in zip(pair, LLADDR, strict=True):
        assert link(side) == rt.LinkState(side.index, "e0", True, True, True, 2000, lladdr)


def test_datagrams_pass_at_once_without_duplicate_detection_or_resolution(
    pair: tuple[Side, Side],
) -> None:
    a, b = pair
    assert deliver(a, b, "fe80::2%10") == b"hello"
    assert deliver(a, b, "10.0.0.1") == b"hello"


def test_equal_indexes_are_a_programming_error() -> None:
    with pytest.raises(AssertionError):
        rt.create_veth("e0", 0, 10, "e0", 0, 10)


def test_a_refusal_names_the_request_and_the_rest_is_still_done(
    pair: tuple[Side, Side],
) -> None:
    a, _ = pair
    with pytest.raises(rt.NetlinkError, match="set link 99 up") as raised:
        a.netlink.batch([rt.set_link(99, up=True), rt.set_link(a.index, up=False)])
    assert raised.value.errno == errno.ENODEV
    assert not link(a).up


def test_ignored_refusals_are_returned(pair: tuple[Side, Side]) -> None:
    a, _ = pair
    assert a.netlink.batch([rt.delete_nexthop(7)], ignore={errno.ENOENT}) == (errno.ENOENT,)


def test_carrier_is_lost_when_the_other_end_goes_down_and_addresses_stay(
    pair: tuple[Side, Side],
) -> None:
    a, b = pair
    for wanted in (False, True):
        b.netlink.batch([rt.set_link(b.index, up=wanted)])
        assert link(a).up
        assert link(a).carrier == wanted
        assert LOCAL[0] in a.netlink.delivered_here()


def test_a_local_route_delivers_here(pair: tuple[Side, Side]) -> None:
    a, b = pair
    target = IPv6Address("fd00::2")
    a.netlink.batch(
        [rt.add_nexthop(1, a.index, LOCAL[1]), rt.add_route(IPv6Network(target), 10, 1)]
    )
    b.netlink.batch([rt.add_local_route(target, 1, 5)])
    assert deliver(a, b, str(target)) == b"hello"


def test_a_thousand_routes_in_one_batch_are_all_there(pair: tuple[Side, Side]) -> None:
    a, _ = pair
    prefixes = [IPv6Network((0xFD00 << 112 | n, 128)) for n in range(1000)]
    a.netlink.batch(
        [
            rt.add_nexthop(1, a.index, LOCAL[1]),
            *(rt.add_route(prefix, 10, 1) for prefix in prefixes),
        ]
    )
    ours = [route for route in a.netlink.routes() if route.nexthop_id == 1]
    assert ours == [rt.RouteState(prefix, 10, 1) for prefix in prefixes]


@pytest.mark.parametrize(
    "prefix", [IPv6Network("fd00::2/128"), IPv4Network("192.0.2.2/32")], ids=("ipv6", "ipv4")
)
def test_deleting_the_primary_next_hop_leaves_the_route_by_the_repair(
    pair: tuple[Side, Side], prefix: rt.Network
) -> None:
    a, b = pair
    b.netlink.batch([rt.add_address(1, prefix.network_address, prefix.prefixlen)])
    if isinstance(prefix, IPv6Network):
        wait_until_usable(b, prefix.network_address)
    a.netlink.batch(
        [
            rt.add_nexthop(1, a.index, IPv6Address("fe80::99")),
            rt.add_nexthop(2, a.index, LOCAL[1]),
            rt.add_route(prefix, 10, 1),
            rt.add_route(prefix, 20, 2),
        ]
    )
    a.netlink.batch([rt.delete_nexthop(1)])
    family = socket.AF_INET6 if prefix.version == 6 else socket.AF_INET
    assert rt.RouteState(prefix, 20, 2) in a.netlink.routes(family)
    assert rt.RouteState(prefix, 10, 1) not in a.netlink.routes(family)
    assert a.netlink.nexthop_ids() == (2,)
    assert deliver(a, b, str(prefix.network_address)) == b"hello"


@pytest.mark.parametrize("prefix", ["fd00::2/128", "192.0.2.2/32"])
def test_routes_are_replaced_and_deleted_by_prefix_and_metric(
    pair: tuple[Side, Side], prefix: str
) -> None:
    a, _ = pair
    network = IPv6Network(prefix) if ":" in prefix else IPv4Network(prefix)
    family = socket.AF_INET6 if ":" in prefix else socket.AF_INET
    a.netlink.batch([rt.add_nexthop(number, a.index, LOCAL[1]) for number in (1, 2)])
    a.netlink.batch([rt.add_route(network, 10, 1), rt.replace_route(network, 10, 2)])
    assert rt.RouteState(network, 10, 2) in a.netlink.routes(family)
    a.netlink.batch([rt.delete_route(network, 10)])
    assert network not in [route.prefix for route in a.netlink.routes(family)]
    with pytest.raises(rt.NetlinkError):
        a.netlink.batch([rt.delete_route(network, 10)])


def test_a_blackhole_route_refuses_packets(pair: tuple[Side, Side]) -> None:
    a, _ = pair
    a.netlink.batch([rt.add_blackhole_route(IPv6Network("fd00::2/128"), 30)])
    with (
        a.namespace.open_socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
        pytest.raises(OSError, match=r"Invalid argument|unreachable"),
    ):
        sender.sendto(b"hello", ("fd00::2", 4000))


def test_a_packet_follows_its_segments_in_order_and_is_unpacked_at_the_last(
    pair: tuple[Side, Side],
) -> None:
    """SRv6: `a` sends by b's End.X, which leads back to `a`, then to b's End.DT6."""
    a, b = pair
    back, unpack = IPv6Address("fdee::1"), IPv6Address("fdee::2")
    ours, theirs = IPv6Address("fd01::"), IPv6Address("fd01::1")
    source, target = IPv6Address("fd00::1"), IPv6Address("fd00::2")
    try:
        b.netlink.batch([rt.add_local_sid(unpack, b.index, rt.EndDT6())])
    except rt.NetlinkError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        pytest.skip(f"the kernel has no SRv6: {error}")
    b.netlink.batch(
        [
            rt.add_address(b.index, theirs, 127),
            rt.add_neighbour(b.index, ours, LLADDR[0]),
            rt.add_local_sid(back, b.index, rt.EndX(ours)),
            rt.add_address(1, target, 128),
        ]
    )
    a.netlink.batch(
        [
            rt.add_address(a.index, ours, 127),
            rt.add_address(1, source, 128),
            rt.add_nexthop(1, a.index, LOCAL[1]),
            rt.add_nexthop(2, a.index, LOCAL[1], encap=[back, unpack]),
            rt.add_route(IPv6Network(back), 10, 1),
            rt.add_route(IPv6Network(unpack), 10, 1),
            rt.add_route(IPv6Network(target), 10, 2, source=source),
        ]
    )
    wait_until_usable(a, ours, source)
    wait_until_usable(b, theirs, target)
    assert deliver(a, b, str(target)) == b"hello"
    assert received(b, "e0") >= 2


def received(side: Side, name: str) -> int:
    """Packets received on a link."""
    with side.namespace.enter():
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    return next(int(line.split()[2]) for line in lines if line.split()[0] == f"{name}:")


def test_a_bridge_joins_its_ports(pair: tuple[Side, Side]) -> None:
    a, b = pair
    with NetNamespace.create(ipv6=False) as hub, rt.RtNetlink(hub) as netlink:
        netlink.batch(
            [
                rt.create_bridge("b0", 50),
                rt.create_veth("h0", hub.fd, 51, "e1", a.namespace.fd, 20, 2000),
                rt.create_veth("h1", hub.fd, 52, "e1", b.namespace.fd, 21, 2000),
                rt.set_master(51, 50),
                rt.set_master(52, 50),
                *(rt.set_link(index, up=True) for index in (50, 51, 52)),
            ]
        )
        for side, index, address in ((a, 20, "10.1.0.0"), (b, 21, "10.1.0.1")):
            side.netlink.batch(
                [
                    rt.set_link(index, up=True),
                    rt.add_address(index, IPv4Address(address), 31),
                ]
            )
        for side in pair:
            wait_until_usable(side)
        assert deliver(a, b, "10.1.0.1") == b"hello"


def test_a_deleted_link_takes_its_other_end_along(pair: tuple[Side, Side]) -> None:
    a, b = pair
    a.netlink.batch([rt.delete_link(a.index)])
    assert [found.name for found in b.netlink.links()] == ["lo"]
