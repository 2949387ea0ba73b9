"""Who has which address: everything follows from a link's or a node's place in the plan.

IPv6 link-locals and link-layer addresses are fixed, so nothing is resolved or looked for.
IPv4 links are /31s (RFC 3021) out of 10.0.0.0/8, IPv4 nodes /32s out of 172.16.0.0/12.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

End = Literal[0, 1]
"""Of a link's plan entry: 0 is `a`, 1 is `b`."""

MAX_LINKS: Final = 1 << 18
MAX_NODES: Final = (1 << 20) - 2
LINK_PREFIX_LENGTH_4: Final = 31
_LINKS_4: Final = IPv4Address("10.0.0.0")
_NODES_4: Final = IPv4Address("172.16.0.0")
_LINK_LOCAL: Final = int(IPv6Address("fe80::"))
_FIRST_INDEX: Final = 16


def link_local(link: int, end: End) -> IPv6Address:
    """fe80::<link, from 1>:<end, from 1>, unique in the whole network."""
    return IPv6Address(_LINK_LOCAL | (link + 1) << 16 | (end + 1))


def lladdr(link: int, end: End) -> bytes:
    """A locally administered unicast address (IEEE 802c), unique in the whole network."""
    return bytes((0x02,)) + link.to_bytes(4, "big") + bytes((end + 1,))


def link_address_4(link: int, end: End) -> IPv4Address:
    """One end of the link's /31."""
    return _LINKS_4 + 2 * link + end


def node_address_4(node: int) -> IPv4Address:
    """The node's own address."""
    return _NODES_4 + node + 1


def interface_index(link: int, end: End, in_middle: bool) -> int:
    """Never the same at two ends of a veth: carrier loss would be reported up to 1 s late."""
    return _FIRST_INDEX + 4 * link + 2 * end + in_middle
