"""Routes of the protocol in a real kernel: traffic follows them, repairs included."""

import errno
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest

from x0mesh.emulation import rtnetlink as rt
from x0mesh.emulation.kernel_routes import Adjacency, KernelRoutes
from x0mesh.emulation.segments import SegmentPlan
from x0mesh.mesh.address import address
from x0mesh.mesh.routes import (
    Active,
    AdjacencySegment,
    NextHop,
    NodeSegment,
    Protection,
    Repair,
    RepairKind,
    Route,
    RouteChange,
    Segment,
)

Tables = dict[str, KernelRoutes]


def adjacencies(node: Any) -> list[Adjacency]:
    return [
        Adjacency(link, index, neighbour, remote)
        for link, (index, neighbour, _, remote) in node.links.items()
    ]


@pytest.fixture
def tables(make_ring: Callable[[int], Any]) -> Iterator[Callable[[Any], Tables]]:
    opened: list[KernelRoutes] = []

    def make(ring: Any) -> Tables:
        made = {
            name: KernelRoutes(
                name,
                ring.addresses(),
                ring.links,
                adjacencies(node),
                node.namespace,
                ring.addresses_4(),
            )
            for name, node in ring.nodes.items()
        }
        opened.extend(made.values())
        return made

    yield make
    for table in opened:
        table.close()


def hop(ring: Any, node: str, link: str) -> NextHop:
    return NextHop(link, ring.nodes[node].links[link][1])


def repair(over: NextHop, *segments: Segment) -> Repair:
    kind = RepairKind.EXPLICIT if segments else RepairKind.LFA
    return Repair(over, segments, kind, Protection.LINK)


def around(ring: Any, tables: Tables, skip: str = "") -> None:
    """Shortest ways on the ring, without repairs; nothing at `skip`."""
    size = len(ring.nodes)
    for place in range(size):
        name = f"n{place}"
        if name == skip:
            continue
        changes = []
        for step in range(1, size):
            clockwise = step <= size // 2
            link = f"l{place if clockwise else (place - 1) % size}"
            to = f"n{(place + step) % size}"
            metric = 10 * min(step, size - step)
            changes.append(RouteChange(to, Route(to, hop(ring, name, link), None, metric), "spf"))
        tables[name].install(changes)


@pytest.mark.parametrize("version", [6, 4])
def test_packets_follow_the_installed_routes(
    make_ring: Callable[[int], Any], tables: Callable[[Any], Tables], version: int
) -> None:
    ring = make_ring(4)
    table = tables(ring)
    assert not ring.carries("n0", "n2", version)
    around(ring, table)
    assert all(ring.carries(a, b, version) for a in ring.nodes for b in ring.nodes if a != b)
    table["n0"].install([RouteChange("n2", None, "spf")])
    assert not ring.carries("n0", "n2", version)
    assert ring.carries("n0", "n1", version)


@pytest.mark.parametrize("version", [6, 4])
def test_local_repair_takes_the_other_way_and_a_later_spf_takes_over(
    make_ring: Callable[[int], Any], tables: Callable[[Any], Tables], version: int
) -> None:
    ring = make_ring(4)
    table = tables(ring)
    around(ring, table)
    here, there = hop(ring, "n0", "l0"), hop(ring, "n0", "l3")
    protected = Route("n2", here, repair(there), 20)
    table["n0"].install([RouteChange("n2", protected, "spf")])
    assert ring.carries("n0", "n2", version)
    silence(ring, "n1")
    assert not ring.carries("n0", "n2", version)
    failed = Route("n2", here, repair(there), 20, Active.REPAIR)
    lost = Route("n1", here, None, 10, Active.REPAIR)
    table["n0"].install(
        [RouteChange("n1", lost, "local repair"), RouteChange("n2", failed, "local repair")]
    )
    assert ring.carries("n0", "n2", version)
    assert not ring.carries("n0", "n1", version)
    table["n0"].install([RouteChange("n2", Route("n2", there, None, 20), "spf")])
    assert ring.carries("n0", "n2", version)


def silence(ring: Any, node: str) -> None:
    """The node takes nothing from anybody any more, its links keep carrier."""
    space = ring.nodes[node].namespace
    for setting in ("net/ipv6/conf/all/forwarding", "net/ipv4/ip_forward"):
        space.write_sysctl(setting, "0")


def test_traffic_goes_on_while_the_repair_takes_over(
    make_ring: Callable[[int], Any], tables: Callable[[Any], Tables]
) -> None:
    ring = make_ring(4)
    table = tables(ring)
    around(ring, table)
    here, there = hop(ring, "n0", "l0"), hop(ring, "n0", "l3")
    with ring.udp("n0") as sender, ring.udp("n2") as receiver:
        to = receiver.getsockname()[:2]
        for number in range(300):
            if number == 100:
                protected = Route("n2", here, repair(there), 20)
                table["n0"].install([RouteChange("n2", protected, "spf")])
            if number == 200:
                failed = Route("n2", here, repair(there), 20, Active.REPAIR)
                lost = Route("n1", here, None, 10, Active.REPAIR)
                table["n0"].install(
                    [RouteChange("n1", lost, "repair"), RouteChange("n2", failed, "repair")]
                )
            sender.sendto(number.to_bytes(4, "big"), to)
            assert int.from_bytes(receiver.recv(16), "big") == number


@pytest.mark.parametrize("version", [6, 4])
@pytest.mark.parametrize(
    "segments",
    [
        (NodeSegment("n4"),),
        (NodeSegment("n4"), AdjacencySegment("n4", NextHop("l3", "n3"))),
        (AdjacencySegment("n4", NextHop("l3", "n3")), NodeSegment("n2")),
    ],
    ids=["node", "adjacency", "adjacency-then-node"],
)
def test_a_repair_over_segments_carries_traffic(
    make_ring: Callable[[int], Any],
    tables: Callable[[Any], Tables],
    version: int,
    segments: tuple[Segment, ...],
) -> None:
    """Without its segments the packet comes back: n5 and n4 go by n0 to reach n1."""
    ring = make_ring(6)
    table = tables(ring)
    around(ring, table)
    if not table["n0"].segment_routing:
        pytest.skip("this kernel has no SRv6")
    table["n4"].install([RouteChange("n1", Route("n1", NextHop("l4", "n5"), None, 30), "spf")])
    if len(segments) == 1:
        table["n4"].install([RouteChange("n1", Route("n1", NextHop("l3", "n3"), None, 30), "spf")])
    here, there = hop(ring, "n0", "l0"), hop(ring, "n0", "l5")
    ring.set_carrier("n1", "l0", False)
    plain = Route("n1", here, repair(there), 10, Active.REPAIR)
    table["n0"].install([RouteChange("n1", plain, "local repair")])
    assert not ring.carries("n0", "n1", version)
    led = Route("n1", here, repair(there, *segments), 10, Active.REPAIR)
    table["n0"].install([RouteChange("n1", led, "local repair")])
    with ring.udp("n0", version) as sender, ring.udp("n1", version) as receiver:
        sender.sendto(bytes(1400), receiver.getsockname()[:2])
        assert len(receiver.recv(2000)) == 1400


def test_carrier_loss_switches_by_itself_and_the_next_install_brings_the_routes_back(
    make_ring: Callable[[int], Any], tables: Callable[[Any], Tables]
) -> None:
    ring = make_ring(4)
    table = tables(ring)
    around(ring, table)
    here, there = hop(ring, "n0", "l0"), hop(ring, "n0", "l3")
    protected = Route("n2", here, repair(there), 20)
    table["n0"].install([RouteChange("n2", protected, "spf")])
    ring.set_carrier("n1", "l0", False)
    ring.wait_until(lambda: bool(ring.carries("n0", "n2")))
    failed = Route("n2", here, repair(there), 20, Active.REPAIR)
    lost = Route("n1", here, None, 10, Active.REPAIR)
    table["n0"].install(
        [RouteChange("n1", lost, "local repair"), RouteChange("n2", failed, "local repair")]
    )
    assert ring.carries("n0", "n2")
    ring.set_carrier("n1", "l0", True)
    table["n1"].restore()
    one = Route("n1", here, None, 10)
    table["n0"].install([RouteChange("n1", one, "spf"), RouteChange("n2", protected, "spf")])
    assert table["n0"].missing == table["n1"].missing == 0
    assert ring.carries("n0", "n1")
    ring.set_carrier("n3", "l3", False)
    assert ring.carries("n0", "n2"), "the primary, not the repair, carries again"


def test_a_flap_nobody_reported_is_mended_by_restore(
    make_ring: Callable[[int], Any], tables: Callable[[Any], Tables]
) -> None:
    ring = make_ring(4)
    table = tables(ring)
    around(ring, table)
    ring.set_carrier("n1", "l0", False)
    ring.wait_until(lambda: missing(table["n0"]) > 0)
    ring.set_carrier("n1", "l0", True)
    assert not ring.carries("n0", "n1")
    for name in ("n0", "n1"):
        table[name].restore()
        assert table[name].missing == 0
    assert ring.carries("n0", "n1")
    assert ring.carries("n1", "n0")


def missing(table: KernelRoutes) -> int:
    table.restore()
    return table.missing


def test_no_route_is_not_another_route(
    make_ring: Callable[[int], Any], tables: Callable[[Any], Tables]
) -> None:
    """A default route must not catch what the mesh cannot reach."""
    ring = make_ring(4)
    table = tables(ring)
    around(ring, table, skip="n0")
    index, _, _, gateway = ring.nodes["n0"].links["l0"]
    default = 1 << 30
    ring.nodes["n0"].netlink.batch(
        [
            rt.add_nexthop(default, index, gateway),
            rt.add_route(IPv6Network("::/0"), 1, default),
        ]
    )
    assert not ring.carries("n0", "n2")
    with ring.udp("n0") as sender, pytest.raises(OSError) as refused:  # noqa: PT011
        sender.sendto(b"x", (str(ring.nodes["n2"].address), 9))
    assert refused.value.errno == errno.EINVAL, "a blackhole answers so to its own node"


def test_flush_takes_every_destination_and_a_new_install_brings_them_back(
    make_ring: Callable[[int], Any], tables: Callable[[Any], Tables]
) -> None:
    ring = make_ring(4)
    table = tables(ring)
    around(ring, table)
    table["n1"].flush()
    assert not ring.carries("n0", "n2")
    around(ring, table)
    assert ring.carries("n0", "n2")


def test_a_thousand_destinations_are_repaired_by_one_deletion(
    make_ring: Callable[[int], Any],
) -> None:
    ring = make_ring(4)
    others = [f"m{number}" for number in range(1000)]
    addresses = ring.addresses() | {
        name: address(f"spiffe://ring.test/node/{name}") for name in others
    }
    node = ring.nodes["n0"]
    here, there = hop(ring, "n0", "l0"), hop(ring, "n0", "l3")
    with KernelRoutes("n0", addresses, ring.links, adjacencies(node), node.namespace) as table:
        routes = {name: Route(name, here, repair(there), 20) for name in others}
        table.install([RouteChange(name, route, "spf") for name, route in routes.items()])
        assert metrics(node.netlink, addresses, others) == {(10, 20): 1000}
        table.install(
            [
                RouteChange(name, Route(name, here, route.repair, 20, Active.REPAIR), "repair")
                for name, route in routes.items()
            ]
        )
        assert metrics(node.netlink, addresses, others) == {(20,): 1000}
        table.install([RouteChange(name, route, "spf") for name, route in routes.items()])
        ring.set_carrier("n1", "l0", False)
        ring.wait_until(lambda: metrics(node.netlink, addresses, others) == {(20,): 1000})
        ring.set_carrier("n1", "l0", True)
        table.restore()
        assert metrics(node.netlink, addresses, others) == {(10, 20): 1000}
        table.install([RouteChange(name, None, "spf") for name in others])
        assert metrics(node.netlink, addresses, others) == {(): 1000}


def metrics(
    netlink: rt.RtNetlink, addresses: dict[str, IPv6Address], names: list[str]
) -> dict[tuple[int, ...], int]:
    """How many of the destinations have routes of these metrics."""
    found: dict[Any, list[int]] = {IPv6Network(addresses[name]): [] for name in names}
    for route in netlink.routes(socket.AF_INET6):
        if route.prefix in found:
            found[route.prefix].append(route.metric)
    counted: dict[tuple[int, ...], int] = {}
    for held in found.values():
        counted[tuple(held)] = counted.get(tuple(held), 0) + 1
    return counted


def test_the_next_process_of_a_node_starts_with_an_empty_table(
    make_ring: Callable[[int], Any], tables: Callable[[Any], Tables]
) -> None:
    ring = make_ring(4)
    around(ring, tables(ring))
    assert ring.carries("n0", "n2")
    tables(ring)
    assert not ring.carries("n0", "n2")


def test_segment_lists_name_each_step_once() -> None:
    names = ["a", "b", "c", "d"]
    plan = SegmentPlan(
        {name: address(f"spiffe://x.test/{name}") for name in names}, ["ab", "bc", "cd"]
    )
    over = NextHop("ab", "b")
    assert plan.segment_list(repair(over), 6) == ()
    assert plan.segment_list(repair(over, NodeSegment("b")), 6) == ()
    assert plan.segment_list(repair(over, NodeSegment("c")), 6) == (
        plan.arrival("b", "ab"),
        plan.decapsulate("c", 6),
    )
    onward = AdjacencySegment("c", NextHop("cd", "d"))
    assert plan.segment_list(repair(over, NodeSegment("c"), onward), 4) == (
        plan.arrival("b", "ab"),
        plan.adjacency("c", "cd"),
        plan.decapsulate("d", 4),
    )
    assert all(plan.end(name) in plan.locator(name) for name in names)


def test_nodes_that_would_share_a_locator_are_refused() -> None:
    twins = {"a": IPv6Address("fd00::1:0:0:1"), "b": IPv6Address("fd00::1:0:0:2")}
    with pytest.raises(ValueError, match="same SRv6 locator"):
        SegmentPlan(twins, [])
