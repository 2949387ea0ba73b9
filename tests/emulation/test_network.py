"""A plan's nodes and links in the kernel, and Mininet's API over them."""

import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from x0mesh.emulation import addresses
from x0mesh.emulation.impairment import Impairment, open_backend, unavailable
from x0mesh.emulation.namespaces import NamespaceError, NetNamespace
from x0mesh.emulation.network import EmulatedNetwork, NetworkError, Wiring, wiring
from x0mesh.scenarios.actions import Action, LinkBlock, LinkDown
from x0mesh.scenarios.plan import At, FaultPlan, LinkPlan, NodePlan, Plan, Step

WAIT_S = 60
PLAIN = Impairment()
SECOND_NS = 1_000_000_000


@pytest.fixture(autouse=True)
def may_make_namespaces() -> None:
    try:
        NetNamespace.create().close()
    except NamespaceError as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")


def plan(*actions: Action, delay_ns: int = 0) -> Plan:
    """a - b - c, and two parallel links between a and c; the first link has the delay."""
    delayed = Impairment(delay_ns=delay_ns)
    ends = {"ab": ("a", "b"), "bc": ("b", "c"), "ac-1": ("a", "c"), "ac-2": ("a", "c")}
    return Plan(
        scenario="small",
        scenario_sha256="0" * 64,
        seed=1,
        replication=0,
        nodes=tuple(NodePlan(name) for name in "abc"),
        links=tuple(
            LinkPlan(name, *pair, *((delayed, delayed) if name == "ab" else (PLAIN, PLAIN)))
            for name, pair in ends.items()
        ),
        flows=(),
        faults=tuple(
            FaultPlan(f"f{place}", "test", At(0), None, (Step(0, action),))
            for place, action in enumerate(actions)
        ),
        warmup_ns=0,
        chaos_ns=SECOND_NS,
        settle_ns=0,
    )


Build = Callable[[Plan], EmulatedNetwork]


@pytest.fixture
def build() -> Iterator[Build]:
    built: list[EmulatedNetwork] = []

    def make(wanted: Plan) -> EmulatedNetwork:
        built.append(EmulatedNetwork.build(wanted))
        return built[-1]

    yield make
    for network in built:
        network.close()


def deliver(network: EmulatedNetwork, link: str, version: int, timeout_s: float = WAIT_S) -> bool:
    """Whether a datagram over the link, from its end `a`, arrives at its end `b` in time."""
    (source, near), (target, _) = network.ends(link)
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    where: tuple[Any, ...] = (str(near.peer_address_4), 4000)
    if version == 6:
        where = (str(near.peer_link_local), 4000, 0, near.index)
    with (
        network.nodes[target].namespace.open_socket(family, socket.SOCK_DGRAM) as receiver,
        network.nodes[source].namespace.open_socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("", 4000))
        sender.sendto(b"hello", where)
        return bool(select.select([receiver], [], [], timeout_s)[0])


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "condition not met"
        time.sleep(0.001)


def test_a_link_has_what_the_plan_may_do_to_it() -> None:
    wanted = plan(
        LinkDown("bc"), LinkDown("ac-1"), LinkBlock("ac-1", "both", "drop"), delay_ns=1000
    )
    assert wiring(wanted) == {
        "ab": Wiring.IMPAIRED,
        "bc": Wiring.BRIDGED,
        "ac-1": Wiring.IMPAIRED,
        "ac-2": Wiring.DIRECT,
    }


@pytest.mark.parametrize("version", [4, 6])
def test_every_link_carries_packets_as_soon_as_the_network_is_built(
    build: Build, version: int
) -> None:
    network = build(plan(LinkDown("bc")))
    assert list(network.middles) == ["bc"]
    assert all(deliver(network, link, version) for link in network.links)


def test_nodes_know_their_links_under_one_name_and_by_different_indexes(build: Build) -> None:
    network = build(plan(LinkDown("ab")))
    for link in network.links:
        (a, near), (b, far) = network.ends(link)
        assert near.name == far.name
        assert near.index != far.index
        assert near.peer_link_local == far.link_local
        for node, end in ((a, near), (b, far)):
            states = network.nodes[node].netlink.links()
            assert [(s.name, s.lladdr) for s in states if s.index == end.index] == [
                (end.name, end.lladdr)
            ]
    assert list(network.nodes["a"].interfaces) == ["ab", "ac-1", "ac-2"]


def test_both_nodes_lose_carrier_keep_their_addresses_and_get_it_back(build: Build) -> None:
    network = build(plan(LinkDown("ab")))
    assert network.carriers("ab") == (True, True)
    for _ in range(3):
        network.carrier("ab", up=False)
        wait_for(lambda: network.carriers("ab") == (False, False))
        end = network.nodes["a"].interfaces["ab"]
        assert end.link_local in network.nodes["a"].netlink.delivered_here()
        assert network.carriers("bc") == (True, True)
        network.carrier("ab", up=True)
        wait_for(lambda: network.carriers("ab") == (True, True))
        wait_for(lambda: deliver(network, "ab", 6, timeout_s=0.1))


def test_a_link_without_faults_has_no_carrier_to_take(build: Build) -> None:
    with pytest.raises(NetworkError, match="ac-2 has no middle"):
        build(plan(LinkDown("ab"))).carrier("ac-2", up=False)


def test_an_impaired_link_is_joined_by_the_backend(build: Build) -> None:
    reason = unavailable("delay-line")
    if reason:
        pytest.skip(f"no delay line here: {reason}")
    network = build(plan(delay_ns=1_000_000))
    middle = network.middles["ab"]
    assert not deliver(network, "ab", 6, timeout_s=0.05)
    backend = open_backend("delay-line", seed=1)
    try:
        line = backend.add_link(
            "ab", middle.namespace.fd, middle.index_a, middle.index_b, PLAIN, PLAIN
        )
        assert deliver(network, "ab", 6)
        assert deliver(network, "ab", 4)
        assert line.counters("forward").passed >= 2
    finally:
        backend.close()


def test_addresses_of_nodes_follow_their_identity(build: Build) -> None:
    network = build(plan())
    held = network.nodes.values()
    assert len({node.address for node in held}) == 3
    assert {node.address for node in build(plan()).nodes.values()} == {n.address for n in held}


def test_nothing_stays_when_a_network_is_closed_or_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    EmulatedNetwork.build(plan(LinkDown("ab"))).close()
    assert descriptors() == before
    monkeypatch.setattr(addresses, "interface_index", lambda *_, **__: -1)
    with pytest.raises(Exception, match=r"."):
        EmulatedNetwork.build(plan(LinkDown("ab")))
    assert descriptors() == before


def test_more_links_than_there_are_open_files_is_refused_with_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (100, 200))
    with pytest.raises(NetworkError, match=r"need \d+ open files, the limit is 200"):
        EmulatedNetwork.build(plan())


@pytest.fixture
def mininet_net(mininet_tools: None) -> Iterator[Any]:
    from x0mesh.emulation.mininet_api import mininet

    net = mininet(build=False)
    yield net
    net.stop()


def test_stock_mininet_calls_work_on_our_classes(mininet_net: Any) -> None:
    net = mininet_net
    one, two = net.addHost("h1"), net.addHost("h2")
    net.addLink(one, two)
    net.start()
    assert net.get("h1") is one
    assert one.IP() == "10.0.0.1"
    assert one.MAC() == one.intf().updateMAC()
    assert net.pingAll() == 0
    net.configLinkStatus("h1", "h2", "down")
    assert not one.intf().isUp()
    assert net.pingAll(timeout="1") == 100
    net.configLinkStatus("h1", "h2", "up")
    wait_for(lambda: net.pingAll(timeout="1") == 0)


def test_a_node_runs_commands_in_its_own_namespace(mininet_net: Any) -> None:
    net = mininet_net
    node = net.addHost("h1")
    net.start()
    look = "readlink /proc/self/ns/net"
    expected = f"net:[{node.namespace.inode}]"
    assert node.cmd(look).strip() == expected
    assert node.pexec(look)[0].strip() == expected
    assert node.pexec("false")[2] == 1
    assert node.pexec(f"{look}; exit 3", shell=True) == (expected + "\n", "", 3)


def test_a_link_s_ends_have_different_indexes_and_go_together(mininet_net: Any) -> None:
    net = mininet_net
    one, two = net.addHost("h1"), net.addHost("h2")
    link = net.addLink(one, two, params1={"ip": "10.9.0.0/31"}, params2={"ip": "10.9.0.1/31"})
    assert link.intf1.index != link.intf2.index
    assert link.status() == "(OK OK)"
    net.delLink(link)
    assert [state.name for state in two.netlink.links()] == ["lo"]


def test_impairments_of_a_mininet_link_are_refused_and_not_forgotten(mininet_net: Any) -> None:
    one, two = mininet_net.addHost("h1"), mininet_net.addHost("h2")
    with pytest.raises(ValueError, match="no delay"):
        mininet_net.addLink(one, two, delay="10ms")


def test_a_built_network_is_a_mininet_and_outlives_it(build: Build, mininet_tools: None) -> None:
    network = build(plan(LinkDown("bc")))
    net = network.mininet()
    assert sorted(net.keys()) == ["a", "b", "c"]
    assert net.ping([net["a"], net["b"]]) == 0
    assert len(net.linksBetween(net["a"], net["c"])) == 2
    net.stop()
    assert deliver(network, "ab", 6)
