"""A plan's nodes and links in the kernel: a namespace each, joined by veths.

A link that a fault or an impairment needs to act on has a middle, a namespace of its own between
two veths: a --- [middle] --- b. Nothing ever acts on a node's own interface, whose addresses and
routes would go with it.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final, Self

from x0mesh.emulation import addresses
from x0mesh.emulation.credentials import node_id
from x0mesh.emulation.namespaces import NetNamespace
from x0mesh.emulation.rtnetlink import (
    Request,
    RtNetlink,
    add_address,
    add_neighbour,
    create_bridge,
    create_veth,
    set_link,
    set_master,
)
from x0mesh.mesh.address import address as node_address
from x0mesh.scenarios.actions import LinkBlock, LinkDown, LinkImpair
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import LinkPlan, Plan

if TYPE_CHECKING:
    from mininet.net import Mininet

VETH_MTU: Final = 2000
_LOOPBACK: Final = 1
_BRIDGE: Final = 8
_READY_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.001
# Per node and per middle a namespace and a netlink socket; and what the process had before.
_DESCRIPTORS_EACH: Final = 2
_DESCRIPTORS_SPARE: Final = 256


class NetworkError(Exception):
    """The network cannot be built here, or cannot do what is asked; says why."""


class Wiring(Enum):
    """What joins the two ends of a link."""

    DIRECT = "direct"
    """One veth."""
    BRIDGED = "bridged"
    """A bridge in the middle; the link can lose carrier."""
    IMPAIRED = "impaired"
    """Nothing yet: the impairment backend is to join the middle's two interfaces."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A node's end of a link, as seen inside the node's namespace. IPv4 addresses are a /31."""

    link: str
    index: int
    name: str
    lladdr: bytes
    peer_lladdr: bytes
    link_local: IPv6Address
    peer_link_local: IPv6Address
    address_4: IPv4Address
    peer_address_4: IPv4Address
    mtu: int = VETH_MTU


@dataclass(frozen=True, slots=True)
class NodeNamespace:
    """A node in the kernel. `interfaces` by link name, in the plan's order."""

    name: str
    namespace: NetNamespace
    netlink: RtNetlink
    address: IPv6Address
    address_4: IPv4Address
    interfaces: dict[str, Interface] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Middle:
    """The inside of a link; `index_a` faces the plan entry's end `a`."""

    wiring: Wiring
    namespace: NetNamespace
    netlink: RtNetlink
    index_a: int
    index_b: int


def wiring(plan: Plan) -> dict[str, Wiring]:
    """What each link of the plan needs, by name."""
    plain = Impairment()
    found = {
        link.name: Wiring.DIRECT
        if link.forward == plain and link.backward == plain
        else Wiring.IMPAIRED
        for link in plan.links
    }
    for fault in plan.faults:
        for step in fault.steps:
            match step.action:
                case LinkBlock(link=name) | LinkImpair(link=name):
                    found[name] = Wiring.IMPAIRED
                case LinkDown(link=name):
                    if found[name] is Wiring.DIRECT:
                        found[name] = Wiring.BRIDGED
                case _:
                    pass
    return found


def addresses_of(plan: Plan) -> dict[str, IPv6Address]:
    """Every node's address, by name (`x0mesh.mesh.address`)."""
    domain = plan.identity.trust_domain
    return {node.name: node_address(str(node_id(domain, node.name))) for node in plan.nodes}


def addresses_4_of(plan: Plan) -> dict[str, IPv4Address]:
    """Every node's IPv4 address, by name."""
    return {node.name: addresses.node_address_4(place) for place, node in enumerate(plan.nodes)}


class EmulatedNetwork:
    """Namespaces and links of one plan. Held by descriptors only: nothing outlives the process.

    `nodes` and `middles` (of links that have one) are by name, in the plan's order.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, NodeNamespace] = {}
        self.middles: dict[str, Middle] = {}
        self._links: dict[str, LinkPlan] = {}

    @classmethod
    def build(cls, plan: Plan) -> Self:
        """Create everything, and return when every link carries packets.

        Impaired links are only there up to their middle. Raises NetworkError, NamespaceError or
        NetlinkError, and has then taken everything down again.
        """
        needs = wiring(plan)
        _check(plan, needs)
        network = cls()
        try:
            network._create(plan, needs)
            network._wait_until_usable()
        except BaseException:
            network.close()
            raise
        return network

    def carrier(self, link: str, up: bool) -> None:
        """Take both nodes' carrier away, or give it back; their interfaces stay up."""
        middle = self._middle(link)
        middle.netlink.batch([set_link(index, up) for index in (middle.index_a, middle.index_b)])

    def carriers(self, link: str) -> tuple[bool, bool]:
        """Whether the nodes at the ends `a` and `b` see carrier."""
        plan = self._links[link]
        return self._sees_carrier(plan.a, link), self._sees_carrier(plan.b, link)

    def mininet(self) -> Mininet:
        """This network as a `mininet.net.Mininet`, for looking around and commands in nodes.

        Stopping it ends what was started through it and leaves this network as it is. Raises
        ImportError without Mininet.
        """
        from x0mesh.emulation.mininet_api import adopt

        return adopt(self)

    def ends(self, link: str) -> tuple[tuple[str, Interface], tuple[str, Interface]]:
        """Node name and interface at `a` and at `b`."""
        plan = self._links[link]
        return (
            (plan.a, self.nodes[plan.a].interfaces[link]),
            (plan.b, self.nodes[plan.b].interfaces[link]),
        )

    @property
    def links(self) -> tuple[str, ...]:
        """Link names in the plan's order."""
        return tuple(self._links)

    def close(self) -> None:
        """Let everything go; the kernel takes it down in the background."""
        for node in self.nodes.values():
            node.netlink.close()
            node.namespace.close()
        for middle in self.middles.values():
            middle.netlink.close()
            middle.namespace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _create(self, plan: Plan, needs: dict[str, Wiring]) -> None:
        own, own_4 = addresses_of(plan), addresses_4_of(plan)
        for node in plan.nodes:
            namespace, netlink = _namespace()
            self.nodes[node.name] = NodeNamespace(
                node.name, namespace, netlink, own[node.name], own_4[node.name]
            )
        veths: list[Request] = []
        for place, link in enumerate(plan.links):
            self._links[link.name] = link
            veths += self._wire(place, link, needs[link.name])
        with RtNetlink() as outside:
            outside.batch(veths)
        for middle in self.middles.values():
            middle.netlink.batch(_middle_set_up(middle))
        for end in self.nodes.values():
            end.netlink.batch(_node_set_up(end))

    def _wire(self, place: int, link: LinkPlan, wired: Wiring) -> list[Request]:
        """Note the link's interfaces and, if it has one, its middle; returns its veths."""
        a, b = self.nodes[link.a], self.nodes[link.b]
        near, far = _interface(place, link.name, 0), _interface(place, link.name, 1)
        a.interfaces[link.name], b.interfaces[link.name] = near, far
        ends = ((a, near, "a", 0), (b, far, "b", 1))
        if wired is Wiring.DIRECT:
            return [
                create_veth(
                    near.name,
                    a.namespace.fd,
                    near.index,
                    far.name,
                    b.namespace.fd,
                    far.index,
                    VETH_MTU,
                    near.lladdr,
                    far.lladdr,
                )
            ]
        namespace, netlink = _namespace(ipv6=False)
        inside = (
            addresses.interface_index(place, 0, in_middle=True),
            addresses.interface_index(place, 1, in_middle=True),
        )
        self.middles[link.name] = Middle(wired, namespace, netlink, *inside)
        return [
            create_veth(
                end.name,
                node.namespace.fd,
                end.index,
                letter,
                namespace.fd,
                inside[which],
                VETH_MTU,
                end.lladdr,
            )
            for node, end, letter, which in ends
        ]

    def _wait_until_usable(self) -> None:
        """IPv6 addresses and links become usable some time after the kernel acknowledged them."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        for node in self.nodes.values():
            wanted = {node.address, *(end.link_local for end in node.interfaces.values())}
            while not (
                all(link.operational for link in node.netlink.links() if link.index != _LOOPBACK)
                and node.netlink.delivered_here() >= wanted
            ):
                if time.monotonic() > deadline:
                    raise NetworkError(f"node {node.name}: links or addresses do not come up")
                time.sleep(_POLL_S)

    def _middle(self, link: str) -> Middle:
        if link not in self.middles:
            raise NetworkError(f"link {link} has no middle: the plan has no fault for it")
        return self.middles[link]

    def _sees_carrier(self, node: str, link: str) -> bool:
        held = self.nodes[node]
        index = held.interfaces[link].index
        return any(state.carrier for state in held.netlink.links() if state.index == index)


def _check(plan: Plan, needs: dict[str, Wiring]) -> None:
    if len(plan.links) > addresses.MAX_LINKS or len(plan.nodes) > addresses.MAX_NODES:
        raise NetworkError(f"at most {addresses.MAX_NODES} nodes and {addresses.MAX_LINKS} links")
    middles = sum(wired is not Wiring.DIRECT for wired in needs.values())
    wanted = _DESCRIPTORS_EACH * (len(plan.nodes) + middles) + _DESCRIPTORS_SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise NetworkError(
            f"{len(plan.nodes)} nodes and {middles} links with a middle need {wanted} open files,"
            f" the limit is {hard} (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _namespace(ipv6: bool = True) -> tuple[NetNamespace, RtNetlink]:
    namespace = NetNamespace.create(ipv6)
    try:
        return namespace, RtNetlink(namespace)
    except BaseException:
        namespace.close()
        raise


def _interface(place: int, link: str, end: addresses.End) -> Interface:
    other: addresses.End = 0 if end else 1
    return Interface(
        link=link,
        index=addresses.interface_index(place, end, in_middle=False),
        name=f"e{place}",
        lladdr=addresses.lladdr(place, end),
        peer_lladdr=addresses.lladdr(place, other),
        link_local=addresses.link_local(place, end),
        peer_link_local=addresses.link_local(place, other),
        address_4=addresses.link_address_4(place, end),
        peer_address_4=addresses.link_address_4(place, other),
    )


def _node_set_up(node: NodeNamespace) -> list[Request]:
    requests = [
        add_address(_LOOPBACK, node.address, 128),
        add_address(_LOOPBACK, node.address_4, 32),
    ]
    for end in node.interfaces.values():
        requests += _end_set_up(end)
    return requests


def _end_set_up(end: Interface) -> Iterable[Request]:
    return (
        set_link(end.index, up=True),
        add_address(end.index, end.link_local, 64),
        add_address(end.index, end.address_4, addresses.LINK_PREFIX_LENGTH_4),
        add_neighbour(end.index, end.peer_link_local, end.peer_lladdr),
        add_neighbour(end.index, end.peer_address_4, end.peer_lladdr),
    )


def _middle_set_up(middle: Middle) -> list[Request]:
    ends = (middle.index_a, middle.index_b)
    up = [set_link(index, up=True) for index in ends]
    if middle.wiring is not Wiring.BRIDGED:
        return up
    return [
        create_bridge("bridge", _BRIDGE, VETH_MTU),
        set_link(_BRIDGE, up=True),
        *(set_master(index, _BRIDGE) for index in ends),
        *up,
    ]
