"""SRv6 SIDs of a mesh and the segment list of a repair (RFC 8402, 8986).

A SID is worked out from its node's address and the links' places in the plan, so every node
knows everybody's without being told:

    | 48 bits: the mesh's prefix | 16 bits: ffff | 40 bits: node | 24 bits: function |

Area ffff is therefore nobody's. The 40 bits are the first of the node's interface ID.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from x0mesh.mesh.routes import AdjacencySegment, NodeSegment, Repair

LOCATOR_LENGTH: Final = 104
MAX_LINKS: Final = 1 << 22
_FUNCTION_BITS: Final = 24
_SID_AREA: Final = 0xFFFF << 64
_END, _DECAPSULATE_6, _DECAPSULATE_4 = 1, 2, 3
_ADJACENCY, _ARRIVAL = 1 << 22, 2 << 22


class SegmentPlan:
    """SIDs of `nodes` (name to address) and `links` (names in the plan's order).

    Raises ValueError when two nodes share a locator or there are more than 2^22 links.
    """

    def __init__(self, nodes: Mapping[str, IPv6Address], links: Sequence[str]) -> None:
        if len(links) > MAX_LINKS:
            raise ValueError(f"{len(links)} links, at most {MAX_LINKS} have SIDs")
        self._places = {link: place for place, link in enumerate(links)}
        self._locators: dict[str, int] = {}
        owners: dict[int, str] = {}
        for name, address in nodes.items():
            number = int(address)
            interface_id = number & ((1 << 64) - 1)
            node = interface_id >> _FUNCTION_BITS << _FUNCTION_BITS
            locator = (number >> 80 << 80) | _SID_AREA | node
            other = owners.setdefault(locator, name)
            if other != name:
                raise ValueError(f"nodes {other} and {name} have the same SRv6 locator")
            self._locators[name] = locator

    def locator(self, node: str) -> IPv6Network:
        """The prefix of all of a node's SIDs."""
        return IPv6Network((self._locators[node], LOCATOR_LENGTH))

    def blocks(self) -> tuple[IPv6Network, ...]:
        """The /64s that hold all locators."""
        return tuple(
            IPv6Network((block << 64, 64))
            for block in sorted({locator >> 64 for locator in self._locators.values()})
        )

    def end(self, node: str) -> IPv6Address:
        """End: go on with the next segment."""
        return self._sid(node, _END)

    def decapsulate(self, node: str, version: int) -> IPv6Address:
        """Unpack the inner packet of this IP version and route it by its own destination."""
        return self._sid(node, _DECAPSULATE_6 if version == 6 else _DECAPSULATE_4)

    def adjacency(self, node: str, link: str) -> IPv6Address:
        """End.X: leave `node` over exactly this link."""
        return self._sid(node, _ADJACENCY | self._places[link])

    def arrival(self, node: str, link: str) -> IPv6Address:
        """End at `node`, to which its neighbour on `link` has a route over that link only.

        Linux looks the first segment up again after encapsulation, whatever the next hop's
        gateway says; this SID is what makes the packet leave over the repair's own link.
        """
        return self._sid(node, _ARRIVAL | self._places[link])

    def segment_list(self, repair: Repair, version: int) -> tuple[IPv6Address, ...]:
        """SIDs of a repair in the order they are visited; empty: the next hop is all it takes."""
        at = repair.hop.neighbour
        sids: list[IPv6Address] = []
        for place, segment in enumerate(repair.segments):
            match segment:
                case NodeSegment(node):
                    following = repair.segments[place + 1 : place + 2]
                    reached = any(
                        isinstance(after, AdjacencySegment) and after.node == node
                        for after in following
                    )
                    if node != at and not reached:
                        sids.append(self.end(node))
                        at = node
                case AdjacencySegment(node, hop):
                    sids.append(self.adjacency(node, hop.link))
                    at = hop.neighbour
        if not sids:
            return ()
        if sids[-1] == self.end(at):
            sids.pop()
        return (
            self.arrival(repair.hop.neighbour, repair.hop.link),
            *sids,
            self.decapsulate(at, version),
        )

    def _sid(self, node: str, function: int) -> IPv6Address:
        return IPv6Address(self._locators[node] | function)
