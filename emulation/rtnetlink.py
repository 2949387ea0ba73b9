"""Links, addresses, neighbours, next hops and routes by hand-packed rtnetlink (rtnetlink(7)).

One raw socket per namespace stays open, and many messages go into one send: opening a library's
socket per namespace costs more than building the network. Builders return `Request` values;
`RtNetlink.batch` applies them and checks every acknowledgement.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from x0mesh.emulation.namespaces import NetNamespace

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# linux/netlink.h
_REQUEST, _ACK, _REPLACE, _EXCLUSIVE, _CREATE, _DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x300
_ADD: Final = _REQUEST | _ACK | _CREATE | _EXCLUSIVE
_SET: Final = _REQUEST | _ACK | _CREATE | _REPLACE
_CHANGE: Final = _REQUEST | _ACK
_CAPPED, _ACK_TLVS = 0x100, 0x200
_MSG_ERROR, _MSG_DONE = 2, 3
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_DUMP_INTERRUPTED: Final = 0x10
_NESTED: Final = 0x8000

# linux/rtnetlink.h
_NEW_LINK, _DEL_LINK, _GET_LINK = 16, 17, 18
_NEW_ADDRESS, _DEL_ADDRESS = 20, 21
_NEW_ROUTE, _DEL_ROUTE, _GET_ROUTE = 24, 25, 26
_NEW_NEIGHBOUR = 28
_NEW_NEXTHOP, _DEL_NEXTHOP, _GET_NEXTHOP = 104, 105, 106
_TABLE_MAIN, _TABLE_LOCAL, _PROTO_STATIC = 254, 255, 4
_TYPE_UNICAST, _TYPE_LOCAL, _TYPE_BLACKHOLE = 1, 2, 6
_RTA_DST, _RTA_OIF, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 6, 7, 15
_RTA_ENCAP_TYPE, _RTA_ENCAP, _RTA_NH_ID = 21, 22, 30

# linux/if_link.h, linux/if_addr.h, linux/neighbour.h, linux/nexthop.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_NET_NS_FD, _IFLA_NUM_TX_QUEUES, _IFLA_NUM_RX_QUEUES, _IFLA_CARRIER = 28, 31, 32, 33
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER, _IFLA_BR_MCAST_SNOOPING = 1, 2, 1, 23
_IFLA_OPERSTATE, _OPERATIONAL = 16, b"\6"
_IFF_UP: Final = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_F_NODAD = 1, 2, 0x02
_NUD_PERMANENT, _NDA_DST, _NDA_LLADDR = 0x80, 1, 2
_NHA_ID, _NHA_BLACKHOLE, _NHA_OIF, _NHA_GATEWAY, _NHA_ENCAP_TYPE, _NHA_ENCAP = 1, 4, 5, 6, 7, 8

# linux/lwtunnel.h, linux/seg6_iptunnel.h, linux/seg6_local.h
_ENCAP_SEG6, _ENCAP_SEG6_LOCAL = 5, 7
_SEG6_IPTUNNEL_SRH, _SEG6_MODE_ENCAP, _ROUTING_TYPE_SRH = 1, 1, 4
_LOCAL_ACTION, _LOCAL_TABLE, _LOCAL_NH4, _LOCAL_NH6, _LOCAL_OIF = 1, 3, 4, 5, 7
_END, _END_X, _END_DX4, _END_DT6 = 1, 2, 6, 7

# A full receive buffer would lose acknowledgements; this many fit into the default one.
_MESSAGES_PER_SEND: Final = 64
_RECEIVE_BYTES: Final = 1 << 17
_TIMEOUT_S: Final = 30.0


class NetlinkError(OSError):
    """The kernel refused `what`; `errno` and, where it gave one, its explanation."""

    def __init__(self, number: int, what: str, detail: str = "") -> None:
        reason = os.strerror(number) + (f" ({detail})" if detail else "")
        super().__init__(number, f"{what}: {reason}")
        self.what = what


@dataclass(frozen=True, slots=True)
class Request:
    """One netlink message without its sequence number; `what` names it in errors."""

    kind: int
    flags: int
    body: bytes
    what: str

    def packed(self, sequence: int) -> bytes:
        return (
            struct.pack("=IHHII", 16 + len(self.body), self.kind, self.flags, sequence, 0)
            + self.body
        )


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link as the kernel shows it. `up` is the administrative state.

    Shortly after carrier has come, a link is not `operational` yet and drops what is sent.
    """

    index: int
    name: str
    up: bool
    carrier: bool
    operational: bool
    mtu: int
    lladdr: bytes


@dataclass(frozen=True, slots=True)
class RouteState:
    """A route of the main table; `nexthop_id` 0: not by a next hop object."""

    prefix: Network
    metric: int
    nexthop_id: int


@dataclass(frozen=True, slots=True)
class End:
    """Local SID: go on with the next segment (RFC 8986 s.4.1)."""


@dataclass(frozen=True, slots=True)
class EndX:
    """Local SID: on to `gateway` over link `index` (RFC 8986 s.4.2).

    Kernels before 6.17 look `gateway` up without the link: give a global address there.
    """

    gateway: IPv6Address
    index: int = 0


@dataclass(frozen=True, slots=True)
class EndDT6:
    """Local SID: unpack and route the inner IPv6 packet (RFC 8986 s.4.6).

    `table` 0 asks all tables in the usual order; the main table alone (254) would not find the
    node's own addresses.
    """

    table: int = 0


@dataclass(frozen=True, slots=True)
class EndDX4:
    """Local SID: unpack and send the inner IPv4 packet to `gateway` (RFC 8986 s.4.5).

    0.0.0.0: by the packet's own destination, which is End.DT4 (s.4.7) in the main table.
    """

    gateway: IPv4Address


LocalAction = End | EndX | EndDT6 | EndDX4


def create_veth(
    name_a: str,
    ns_fd_a: int,
    index_a: int,
    name_b: str,
    ns_fd_b: int,
    index_b: int,
    mtu: int = 2000,
    lladdr_a: bytes | None = None,
    lladdr_b: bytes | None = None,
) -> Request:
    """A veth pair, each end made straight in its namespace, both down.

    The indexes must differ: with equal ones the kernel reports carrier loss up to 1 s late.
    """
    assert index_a != index_b, f"both ends of {name_a}/{name_b} have index {index_a}"
    peer = _interface(index_b) + _end(name_b, ns_fd_b, mtu, lladdr_b)
    return Request(
        _NEW_LINK,
        _ADD,
        _interface(index_a)
        + _end(name_a, ns_fd_a, mtu, lladdr_a)
        + _link_kind("veth", _attribute(_VETH_INFO_PEER, peer)),
        f"create veth {name_a}/{name_b}",
    )


def create_bridge(name: str, index: int, mtu: int = 2000) -> Request:
    """A learning bridge without multicast snooping or spanning tree, down."""
    return Request(
        _NEW_LINK,
        _ADD,
        _interface(index)
        + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        + _attribute(_IFLA_MTU, struct.pack("=I", mtu))
        + _link_kind("bridge", _attribute(_IFLA_BR_MCAST_SNOOPING, b"\0")),
        f"create bridge {name}",
    )


def set_link(index: int, up: bool) -> Request:
    """Administrative state of a link."""
    return Request(
        _NEW_LINK,
        _CHANGE,
        _interface(index, _IFF_UP if up else 0, _IFF_UP),
        f"set link {index} {'up' if up else 'down'}",
    )


def set_master(index: int, bridge_index: int) -> Request:
    """Make a link a port of a bridge (0: of none)."""
    return Request(
        _NEW_LINK,
        _CHANGE,
        _interface(index) + _attribute(_IFLA_MASTER, struct.pack("=I", bridge_index)),
        f"put link {index} on bridge {bridge_index}",
    )


def set_lladdr(index: int, lladdr: bytes) -> Request:
    """Link-layer address of a link, six bytes."""
    return Request(
        _NEW_LINK,
        _CHANGE,
        _interface(index) + _attribute(_IFLA_ADDRESS, lladdr),
        f"set link {index} address {lladdr.hex(':')}",
    )


def delete_link(index: int) -> Request:
    """Delete a link, with its other end if it is a veth."""
    return Request(_DEL_LINK, _CHANGE, _interface(index), f"delete link {index}")


def add_address(index: int, address: Address, prefix_length: int, nodad: bool = True) -> Request:
    """An address on a link, usable at once; `nodad` False lets IPv6 look for duplicates."""
    local = address.packed
    flags = _IFA_F_NODAD if nodad and address.version == 6 else 0
    return Request(
        _NEW_ADDRESS,
        _ADD,
        struct.pack("=BBBBI", _family(address), prefix_length, flags, 0, index)
        + _attribute(_IFA_LOCAL, local)
        + _attribute(_IFA_ADDRESS, local),
        f"add {address}/{prefix_length} to link {index}",
    )


def delete_address(index: int, address: Address, prefix_length: int) -> Request:
    """Take an address from a link."""
    return Request(
        _DEL_ADDRESS,
        _CHANGE,
        struct.pack("=BBBBI", _family(address), prefix_length, 0, 0, index)
        + _attribute(_IFA_LOCAL, address.packed),
        f"delete {address}/{prefix_length} from link {index}",
    )


def add_neighbour(index: int, address: Address, lladdr: bytes) -> Request:
    """A permanent neighbour entry: nothing is ever resolved."""
    return Request(
        _NEW_NEIGHBOUR,
        _SET,
        struct.pack("=BxxxIHBB", _family(address), index, _NUD_PERMANENT, 0, 0)
        + _attribute(_NDA_DST, address.packed)
        + _attribute(_NDA_LLADDR, lladdr),
        f"add neighbour {address} on link {index}",
    )


def add_nexthop(
    number: int,
    index: int,
    gateway: Address | None = None,
    encap: Sequence[IPv6Address] | None = None,
) -> Request:
    """A next hop object; `encap`: the SRv6 segments in the order they are visited.

    IPv4 routes may use an object whose gateway is an IPv6 address.
    """
    family = socket.AF_INET6 if gateway is None else _family(gateway)
    body = (
        struct.pack("=BBBBI", family, 0, _PROTO_STATIC, 0, 0)
        + _attribute(_NHA_ID, struct.pack("=I", number))
        + _attribute(_NHA_OIF, struct.pack("=I", index))
    )
    if gateway is not None:
        body += _attribute(_NHA_GATEWAY, gateway.packed)
    if encap:
        body += _attribute(_NHA_ENCAP_TYPE, struct.pack("=H", _ENCAP_SEG6)) + _attribute(
            _NHA_ENCAP | _NESTED, _attribute(_SEG6_IPTUNNEL_SRH, _segment_list(encap))
        )
    via = "" if gateway is None else f" via {gateway}"
    return Request(_NEW_NEXTHOP, _ADD, body, f"add nexthop {number}{via} on link {index}")


def add_blackhole_nexthop(number: int, family: int = socket.AF_INET6) -> Request:
    """A next hop object that drops silently."""
    return Request(
        _NEW_NEXTHOP,
        _ADD,
        struct.pack("=BBBBI", family, 0, _PROTO_STATIC, 0, 0)
        + _attribute(_NHA_ID, struct.pack("=I", number))
        + _attribute(_NHA_BLACKHOLE, b""),
        f"add blackhole nexthop {number}",
    )


def delete_nexthop(number: int) -> Request:
    """Delete a next hop object and, by the kernel's own rule, every route that uses it."""
    return Request(
        _DEL_NEXTHOP,
        _CHANGE,
        struct.pack("=BBBBI", 0, 0, 0, 0, 0) + _attribute(_NHA_ID, struct.pack("=I", number)),
        f"delete nexthop {number}",
    )


def add_route(
    prefix: Network, metric: int, nexthop_id: int, source: Address | None = None
) -> Request:
    """A route by a next hop object; `source` is the address that local packets get."""
    return Request(
        _NEW_ROUTE,
        _ADD,
        _route(prefix, metric, nexthop_id, source),
        f"add route {prefix} metric {metric} nexthop {nexthop_id}",
    )


def replace_route(
    prefix: Network, metric: int, nexthop_id: int, source: Address | None = None
) -> Request:
    """Like `add_route`, in the place of a route with this prefix and metric if there is one."""
    return Request(
        _NEW_ROUTE,
        _SET,
        _route(prefix, metric, nexthop_id, source),
        f"replace route {prefix} metric {metric} nexthop {nexthop_id}",
    )


def add_blackhole_route(prefix: Network, metric: int) -> Request:
    """Packets for `prefix` vanish without an ICMP answer."""
    return Request(
        _NEW_ROUTE,
        _ADD,
        _route_header(prefix, metric, _TYPE_BLACKHOLE),
        f"add blackhole route {prefix} metric {metric}",
    )


def add_local_route(address: Address, index: int, metric: int) -> Request:
    """Deliver `address` here by the main table as well, where an End.DT6 may look."""
    prefix = ip_network(address)
    return Request(
        _NEW_ROUTE,
        _ADD,
        _route_header(prefix, metric, _TYPE_LOCAL) + _attribute(_RTA_OIF, struct.pack("=I", index)),
        f"add local route {address}",
    )


def delete_route(prefix: Network, metric: int) -> Request:
    """Delete the route with this prefix and metric."""
    return Request(
        _DEL_ROUTE,
        _CHANGE,
        _route_header(prefix, metric, 0),
        f"delete route {prefix} metric {metric}",
    )


def add_local_sid(sid: IPv6Address, index: int, action: LocalAction) -> Request:
    """A local SID (RFC 8986); the kernel wants a link with it, `index`, which may not be lo."""
    match action:
        case End():
            encap = _attribute(_LOCAL_ACTION, struct.pack("=I", _END))
        case EndX(gateway, out):
            encap = _attribute(_LOCAL_ACTION, struct.pack("=I", _END_X))
            encap += _attribute(_LOCAL_NH6, gateway.packed)
            if out:
                encap += _attribute(_LOCAL_OIF, struct.pack("=I", out))
        case EndDT6(table):
            encap = _attribute(_LOCAL_ACTION, struct.pack("=I", _END_DT6))
            encap += _attribute(_LOCAL_TABLE, struct.pack("=I", table))
        case EndDX4(gateway4):
            encap = _attribute(_LOCAL_ACTION, struct.pack("=I", _END_DX4))
            encap += _attribute(_LOCAL_NH4, gateway4.packed)
    return Request(
        _NEW_ROUTE,
        _ADD,
        _route_header(IPv6Network(sid), 0, _TYPE_UNICAST)
        + _attribute(_RTA_OIF, struct.pack("=I", index))
        + _attribute(_RTA_ENCAP_TYPE, struct.pack("=H", _ENCAP_SEG6_LOCAL))
        + _attribute(_RTA_ENCAP | _NESTED, encap),
        f"add local SID {sid} {type(action).__name__}",
    )


class RtNetlink:
    """A raw NETLINK_ROUTE socket of one namespace (None: the calling thread's), kept open."""

    def __init__(self, namespace: NetNamespace | None = None) -> None:
        self._socket = _open(namespace)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._sequence = 0

    def batch(self, requests: Sequence[Request], ignore: Collection[int] = ()) -> tuple[int, ...]:
        """Apply all requests in order; returns each one's errno (0: done).

        All are sent, also after a refusal; then the first refusal whose errno is not in
        `ignore` is raised as NetlinkError. When it returns, the kernel has done them.
        """
        results: list[int] = []
        refusal: NetlinkError | None = None
        for start in range(0, len(requests), _MESSAGES_PER_SEND):
            chunk = requests[start : start + _MESSAGES_PER_SEND]
            for request, (number, detail) in zip(chunk, self._exchange(chunk), strict=True):
                results.append(number)
                if number and number not in ignore and refusal is None:
                    refusal = NetlinkError(number, request.what, detail)
        if refusal is not None:
            raise refusal
        return tuple(results)

    def links(self) -> tuple[LinkState, ...]:
        """All links of the namespace, by index."""
        body = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
        found = [_link_state(message) for _, message in self._dump(_GET_LINK, body, "list links")]
        return tuple(sorted(found, key=lambda link: link.index))

    def routes(self, family: int = socket.AF_INET6) -> tuple[RouteState, ...]:
        """Unicast routes of the main table, by prefix and metric."""
        found = [
            RouteState(
                prefix,
                _u32(attributes.get(_RTA_PRIORITY)),
                _u32(attributes.get(_RTA_NH_ID)),
            )
            for table, kind, prefix, attributes in self._routes(family)
            if table == _TABLE_MAIN and kind == _TYPE_UNICAST
        ]
        return tuple(
            sorted(
                found,
                key=lambda route: (
                    route.prefix.network_address.packed,
                    route.prefix.prefixlen,
                    route.metric,
                ),
            )
        )

    def delivered_here(self, family: int = socket.AF_INET6) -> frozenset[Address]:
        """Addresses whose packets are delivered in this namespace.

        The kernel adds an IPv6 address to these some time after the request for it, also
        without duplicate detection; until then it forwards packets for it.
        """
        return frozenset(
            prefix.network_address
            for table, kind, prefix, _ in self._routes(family)
            if table == _TABLE_LOCAL and kind == _TYPE_LOCAL
        )

    def nexthop_ids(self) -> tuple[int, ...]:
        """Identifiers of all next hop objects, ascending."""
        body = struct.pack("=BBBBI", 0, 0, 0, 0, 0)
        return tuple(
            sorted(
                _u32(dict(_attributes(message[8:]))[_NHA_ID])
                for _, message in self._dump(_GET_NEXTHOP, body, "list nexthops")
            )
        )

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _routes(self, family: int) -> Iterator[tuple[int, int, Network, dict[int, bytes]]]:
        """Table, type, prefix and attributes of all routes of an address family."""
        body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
        width = 16 if family == socket.AF_INET6 else 4
        for _, message in self._dump(_GET_ROUTE, body, "list routes"):
            attributes = dict(_attributes(message[12:]))
            packed = attributes.get(_RTA_DST, bytes(width))
            yield message[4], message[7], ip_network((packed, message[1])), attributes

    def _exchange(self, requests: Sequence[Request]) -> list[tuple[int, str]]:
        first = self._sequence + 1
        self._sequence += len(requests)
        self._socket.send(
            b"".join(request.packed(first + place) for place, request in enumerate(requests))
        )
        answers: dict[int, tuple[int, str]] = {}
        while len(answers) < len(requests):
            for kind, flags, sequence, body in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if kind == _MSG_ERROR and first <= sequence:
                    answers[sequence - first] = _acknowledgement(flags, body)
        return [answers[place] for place in range(len(requests))]

    def _dump(self, kind: int, body: bytes, what: str) -> Iterator[tuple[int, bytes]]:
        """All messages of one dump, taken again from the start when it was interrupted."""
        while True:
            self._sequence += 1
            request = Request(kind, _REQUEST | _DUMP, body, what)
            self._socket.send(request.packed(self._sequence))
            found, complete = self._read_dump(what)
            if complete:
                return iter(found)

    def _read_dump(self, what: str) -> tuple[list[tuple[int, bytes]], bool]:
        found: list[tuple[int, bytes]] = []
        complete = True
        while True:
            for kind, flags, sequence, body in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue
                if flags & _DUMP_INTERRUPTED:
                    complete = False
                if kind == _MSG_DONE:
                    return found, complete
                if kind == _MSG_ERROR:
                    number, detail = _acknowledgement(flags, body)
                    raise NetlinkError(number, what, detail)
                found.append((kind, body))


def _open(namespace: NetNamespace | None) -> socket.socket:
    where = (socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    opened = socket.socket(*where) if namespace is None else namespace.open_socket(*where)
    opened.bind((0, 0))
    return opened


def _messages(received: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(received):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", received, offset)
        yield kind, flags, sequence, received[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _attributes(packed: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(packed):
        length, kind = struct.unpack_from("=HH", packed, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, packed[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _acknowledgement(flags: int, body: bytes) -> tuple[int, str]:
    number = -struct.unpack_from("=i", body)[0]
    if not flags & _ACK_TLVS:
        return number, ""
    echoed = 16 if flags & _CAPPED else struct.unpack_from("=I", body, 4)[0]
    explained = dict(_attributes(body[4 + ((echoed + 3) & ~3) :])).get(1, b"")
    return number, explained.rstrip(b"\0").decode(errors="replace")


def _link_state(body: bytes) -> LinkState:
    index, flags = struct.unpack_from("=iI", body, 4)
    attributes = dict(_attributes(body[16:]))
    return LinkState(
        index=index,
        name=attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(),
        up=bool(flags & _IFF_UP),
        carrier=attributes.get(_IFLA_CARRIER, b"\0") != b"\0",
        operational=attributes.get(_IFLA_OPERSTATE) == _OPERATIONAL,
        mtu=_u32(attributes.get(_IFLA_MTU)),
        lladdr=attributes.get(_IFLA_ADDRESS, b""),
    )


def _u32(packed: bytes | None) -> int:
    return int.from_bytes(packed or b"", "little" if _LITTLE else "big")


_LITTLE: Final = struct.pack("=H", 1) == b"\1\0"


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _interface(index: int, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def _end(name: str, ns_fd: int, mtu: int, lladdr: bytes | None) -> bytes:
    assert 0 < len(name.encode()) < 16, f"not an interface name: {name!r}"
    packed = (
        _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        + _attribute(_IFLA_NET_NS_FD, struct.pack("=I", ns_fd))
        + _attribute(_IFLA_MTU, struct.pack("=I", mtu))
        # One queue a processor is the default, and memory that no link here needs.
        + _attribute(_IFLA_NUM_TX_QUEUES, struct.pack("=I", 1))
        + _attribute(_IFLA_NUM_RX_QUEUES, struct.pack("=I", 1))
    )
    return packed if lladdr is None else packed + _attribute(_IFLA_ADDRESS, lladdr)


def _link_kind(kind: str, details: bytes) -> bytes:
    return _attribute(
        _IFLA_LINKINFO,
        _attribute(_IFLA_INFO_KIND, kind.encode() + b"\0") + _attribute(_IFLA_INFO_DATA, details),
    )


def _family(address: Address | Network) -> int:
    return socket.AF_INET6 if address.version == 6 else socket.AF_INET


def _route_header(prefix: Network, metric: int, kind: int) -> bytes:
    header = struct.pack(
        "=BBBBBBBBI",
        _family(prefix),
        prefix.prefixlen,
        0,
        0,
        _TABLE_MAIN,
        _PROTO_STATIC if kind else 0,
        0 if kind or prefix.version == 6 else 255,
        kind,
        0,
    )
    body = header + _attribute(_RTA_DST, prefix.network_address.packed)
    body += _attribute(_RTA_TABLE, struct.pack("=I", _TABLE_MAIN))
    return body + _attribute(_RTA_PRIORITY, struct.pack("=I", metric)) if metric else body


def _route(prefix: Network, metric: int, nexthop_id: int, source: Address | None) -> bytes:
    body = _route_header(prefix, metric, _TYPE_UNICAST)
    body += _attribute(_RTA_NH_ID, struct.pack("=I", nexthop_id))
    return body if source is None else body + _attribute(_RTA_PREFSRC, source.packed)


def _segment_list(segments: Sequence[IPv6Address]) -> bytes:
    """Tunnel mode and segment routing header (RFC 8754 s.2), last segment first."""
    last = len(segments) - 1
    header = struct.pack(
        "=iBBBBBBH", _SEG6_MODE_ENCAP, 0, 2 * len(segments), _ROUTING_TYPE_SRH, last, last, 0, 0
    )
    return header + b"".join(segment.packed for segment in reversed(segments))
