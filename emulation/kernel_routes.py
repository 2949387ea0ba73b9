"""One node's routes in the kernel: what `mesh.routes` describes, by next hop objects and SRv6.

Each destination has a route of metric 10 on its primary's object and one of metric 20 on its
repair's. Local repair deletes the primary's object, with which the kernel drops every route on
it at once; it does the same by itself when a link loses its carrier. A `replace` of an object
after that succeeds and restores nothing, so what is gone is found and made again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Self

from x0mesh.emulation.namespaces import NetNamespace
from x0mesh.emulation.rtnetlink import (
    End,
    EndDT6,
    EndDX4,
    EndX,
    NetlinkError,
    Network,
    Request,
    RtNetlink,
    add_blackhole_route,
    add_local_route,
    add_local_sid,
    add_nexthop,
    create_bridge,
    delete_nexthop,
    delete_route,
    replace_route,
    set_link,
)
from x0mesh.emulation.segments import SegmentPlan
from x0mesh.mesh.routes import Active, Repair, Route, RouteChange

PRIMARY_METRIC: Final = 10
REPAIR_METRIC: Final = 20
_BLACKHOLE_METRIC: Final = 4000
# Lower than the route that an address on loopback brings with it, which End.DT6 would meet first.
_LOCAL_METRIC: Final = 1
_LOOPBACK_INDEX: Final = 1
_SID_LINK: Final = "x0sid"
_SID_LINK_INDEX: Final = 1 << 20
_UNSPECIFIED_4: Final = IPv4Address(0)

_MAX_REMEMBERED: Final = 10_000


class _Kind(IntEnum):
    """What a route leads to: a node's addresses, its SIDs, or the arrival SID on a link."""

    LOCATOR = 0
    ARRIVAL = 1
    IPV4 = 4
    IPV6 = 6


# Node (or link), what of it, metric. Addresses as keys would cost most of an install's time.
_Place = tuple[str, _Kind, int]


@dataclass(frozen=True, slots=True)
class Adjacency:
    """A link of this node: interface index here, the neighbour and its link-local address."""

    link: str
    index: int
    neighbour: str
    gateway: IPv6Address


@dataclass(frozen=True, slots=True, eq=False)
class _Hop:
    """A next hop object's content, one for each (link, segments): compared by identity."""

    link: str
    segments: tuple[IPv6Address, ...] = ()


class KernelRoutes:
    """Interprets route changes for `node`; every next hop object of its namespace is ours.

    `addresses` and `addresses_4` (which may be empty) are those of all nodes of the mesh, `links`
    its link names in the plan's order. Without SRv6 in the kernel `segment_routing` is False and
    repairs that need segments count in `repairs_left_out`. Raises NetlinkError when the kernel
    refuses anything except for lack of carrier.
    """

    def __init__(
        self,
        node: str,
        addresses: Mapping[str, IPv6Address],
        links: Sequence[str],
        adjacencies: Iterable[Adjacency],
        namespace: NetNamespace | None = None,
        addresses_4: Mapping[str, IPv4Address] | None = None,
    ) -> None:
        self._node = node
        self._addresses = addresses
        self._addresses_4 = addresses_4 or {}
        self._adjacencies = {adjacency.link: adjacency for adjacency in adjacencies}
        self._plan = SegmentPlan(addresses, links)
        self._networks = self._all_networks()
        self._plain = {link: _Hop(link) for link in self._adjacencies}
        self._shared: dict[tuple[str, tuple[IPv6Address, ...]], _Hop] = {}
        self._repairs: dict[tuple[Repair, int], _Hop] = {}
        self._wanted: dict[str, Route] = {}
        self._places: dict[_Place, _Hop] = {}
        self._installed: dict[_Place, _Hop] = {}
        self._users: dict[_Hop, set[_Place]] = {}
        self._numbers: dict[_Hop, int] = {}
        self._alive: set[_Hop] = set()
        self._primaries: dict[str, set[str]] = {link: set() for link in self._adjacencies}
        self._dirty: dict[_Place, None] = {}
        self._next_number = 1
        self.repairs_left_out = 0
        self._netlink = RtNetlink(namespace)
        try:
            clear(self._netlink)
            self.segment_routing = self._set_up()
        except BaseException:
            self._netlink.close()
            raise
        self._want_arrivals()
        self.restore()

    def install(self, changes: Sequence[RouteChange]) -> None:
        """Apply the changes; failed primaries' objects go first, in one message each."""
        self._local_repair(changes)
        for change in changes:
            self._want(change.destination, change.route)
        self.restore()

    def restore(self) -> None:
        """Make again whatever the kernel has dropped by itself and can carry again.

        Part of every `install`; to be called as well when a link's carrier returns. What lacks
        carrier now is left out until then.
        """
        self._forget_dropped()
        self._make_hops()
        self._make_routes()
        self._drop_unused_hops()

    def flush(self) -> None:
        """Forget all destinations: the node forwards nothing until the next `install`."""
        clear(self._netlink)
        for users in self._primaries.values():
            users.clear()
        for record in (self._wanted, self._places, self._installed, self._users, self._numbers):
            record.clear()
        self._alive.clear()
        self._dirty.clear()
        self._want_arrivals()

    @property
    def missing(self) -> int:
        """Routes wanted and not in the kernel, as far as known: their links lack carrier."""
        return len(self._dirty)

    def close(self) -> None:
        """Let go of the socket; the routes stay."""
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_up(self) -> bool:
        """Blackholes over all of the mesh, local SIDs; whether the kernel has SRv6."""
        covers: set[Network] = {
            IPv6Network((a, 64), strict=False) for a in self._addresses.values()
        }
        covers.update(self._plan.blocks())
        if self._addresses_4:
            covers.add(_smallest_cover(self._addresses_4.values()))
        own = self._addresses[self._node]
        requests = [
            add_blackhole_route(cover, _BLACKHOLE_METRIC)
            for cover in sorted(covers, key=lambda n: (n.version, int(n.network_address)))
        ]
        requests += [
            create_bridge(_SID_LINK, _SID_LINK_INDEX),
            set_link(_SID_LINK_INDEX, up=True),
            add_local_route(own, _LOOPBACK_INDEX, _LOCAL_METRIC),
        ]
        self._netlink.batch(requests, ignore={errno.EEXIST})
        results = self._netlink.batch(self._local_sids(), ignore={errno.EEXIST, errno.EOPNOTSUPP})
        return errno.EOPNOTSUPP not in results

    def _local_sids(self) -> list[Request]:
        plan, node, index = self._plan, self._node, _SID_LINK_INDEX
        sids = [
            add_local_sid(plan.end(node), index, End()),
            add_local_sid(plan.decapsulate(node, 6), index, EndDT6()),
            # Without a gateway Linux routes by the inner destination (an End.DT4 without VRF).
            add_local_sid(plan.decapsulate(node, 4), index, EndDX4(_UNSPECIFIED_4)),
        ]
        for adjacency in self._adjacencies.values():
            onward = plan.arrival(adjacency.neighbour, adjacency.link)
            sids += [
                add_local_sid(plan.arrival(node, adjacency.link), index, End()),
                add_local_sid(plan.adjacency(node, adjacency.link), index, EndX(onward)),
            ]
        return sids

    def _all_networks(self) -> dict[tuple[str, _Kind], Network]:
        networks: dict[tuple[str, _Kind], Network] = {}
        for name, address in self._addresses.items():
            networks[name, _Kind.IPV6] = IPv6Network(address)
            networks[name, _Kind.LOCATOR] = self._plan.locator(name)
        for name, address_4 in self._addresses_4.items():
            networks[name, _Kind.IPV4] = IPv4Network(address_4)
        for adjacency in self._adjacencies.values():
            arrival = self._plan.arrival(adjacency.neighbour, adjacency.link)
            networks[adjacency.link, _Kind.ARRIVAL] = IPv6Network(arrival)
        return networks

    def _want_arrivals(self) -> None:
        for adjacency in self._adjacencies.values():
            link = adjacency.link
            self._put((link, _Kind.ARRIVAL, PRIMARY_METRIC), self._plain[link])

    def _local_repair(self, changes: Sequence[RouteChange]) -> None:
        """Delete the objects of primaries that have failed and that nothing is to keep using."""
        leaving: dict[str, set[str]] = {}
        failed: dict[str, None] = {}
        for change in changes:
            known, route = self._wanted.get(change.destination), change.route
            if known is None or known.active is not Active.PRIMARY:
                continue
            link = known.primary.link
            repaired = route is not None and route.active is Active.REPAIR
            if repaired or route is None or route.primary.link != link:
                leaving.setdefault(link, set()).add(change.destination)
            if route is not None and repaired and route.primary.link == link:
                failed[link] = None
        gone = [
            self._plain[link]
            for link in failed
            if self._primaries[link] <= leaving[link] and self._plain[link] in self._alive
        ]
        if gone:
            # Carrier loss may have been quicker.
            self._netlink.batch(
                [delete_nexthop(self._numbers[hop]) for hop in gone], ignore={errno.ENOENT}
            )
            for hop in gone:
                self._forget(hop)

    def _want(self, destination: str, route: Route | None) -> None:
        known = self._wanted.pop(destination, None)
        if known is not None and known.active is Active.PRIMARY:
            self._primaries[known.primary.link].discard(destination)
        primary = repair_6 = repair_4 = None
        if route is not None:
            self._wanted[destination] = route
            if route.active is Active.PRIMARY:
                primary = self._plain[route.primary.link]
                self._primaries[route.primary.link].add(destination)
            repair_6, repair_4 = self._repair(route, 6), self._repair(route, 4)
        self._put((destination, _Kind.IPV6, PRIMARY_METRIC), primary)
        self._put((destination, _Kind.IPV6, REPAIR_METRIC), repair_6)
        # Only repaired packets travel by SIDs, and those are never repaired again.
        self._put((destination, _Kind.LOCATOR, PRIMARY_METRIC), primary)
        if destination in self._addresses_4:
            self._put((destination, _Kind.IPV4, PRIMARY_METRIC), primary)
            self._put((destination, _Kind.IPV4, REPAIR_METRIC), repair_4)

    def _repair(self, route: Route, version: int) -> _Hop | None:
        repair = route.repair
        if repair is None:
            return None
        known = self._repairs.get((repair, version))
        if known is not None:
            return known
        segments = self._plan.segment_list(repair, version)
        if segments and not self.segment_routing:
            self.repairs_left_out += version == 6
            return None
        link = repair.hop.link
        hop = self._plain[link]
        if segments:
            hop = self._shared.setdefault((link, segments), _Hop(link, segments))
        if len(self._repairs) >= _MAX_REMEMBERED:
            self._repairs.clear()
        self._repairs[repair, version] = hop
        return hop

    def _put(self, place: _Place, hop: _Hop | None) -> None:
        if hop is None:
            self._places.pop(place, None)
        else:
            self._places[place] = hop
        if self._installed.get(place) != hop:
            self._dirty[place] = None
        else:
            self._dirty.pop(place, None)

    def _forget(self, hop: _Hop) -> None:
        """The kernel has dropped an object and with it the routes that used it."""
        self._alive.discard(hop)
        self._numbers.pop(hop, None)
        for place in self._users.pop(hop, ()):
            self._installed.pop(place, None)
            if place in self._places:
                self._dirty[place] = None
            else:
                self._dirty.pop(place, None)

    def _forget_dropped(self) -> None:
        present = set(self._netlink.nexthop_ids())
        for hop in [hop for hop in self._alive if self._numbers[hop] not in present]:
            self._forget(hop)

    def _make_hops(self) -> None:
        needed: dict[_Hop, None] = {}
        for place in self._dirty:
            hop = self._places.get(place)
            if hop is not None and hop not in self._alive:
                needed[hop] = None
        requests = []
        for hop in needed:
            adjacency = self._adjacencies[hop.link]
            # A fresh number each time: an object that has gone is never mistaken for a new one.
            self._numbers[hop] = self._next_number
            self._next_number += 1
            requests.append(
                add_nexthop(
                    self._numbers[hop], adjacency.index, adjacency.gateway, hop.segments or None
                )
            )
        results = self._netlink.batch(requests, ignore={errno.ENETDOWN})
        for hop, refused in zip(needed, results, strict=True):
            if refused:
                del self._numbers[hop]
            else:
                self._alive.add(hop)

    def _make_routes(self) -> None:
        """All additions and replacements before any deletion."""
        makes: list[tuple[_Place, _Hop]] = []
        for place in self._dirty:
            hop = self._places.get(place)
            if hop is not None and hop in self._alive:
                makes.append((place, hop))
        requests = [
            replace_route(
                self._networks[name, kind], metric, self._numbers[hop], self._source(kind)
            )
            for (name, kind, metric), hop in makes
        ]
        # The object may have lost its carrier since it was made.
        results = self._netlink.batch(requests, ignore={errno.EINVAL, errno.ENOENT})
        refused: list[tuple[_Hop, NetlinkError]] = []
        for (place, hop), request, number in zip(makes, requests, results, strict=True):
            if number:
                refused.append((hop, NetlinkError(number, request.what)))
            else:
                self._settle(place, hop)
        if refused:
            self._forget_dropped()
        for hop, error in refused:
            if hop in self._alive:
                raise error
        self._drop_routes()

    def _drop_routes(self) -> None:
        """Delete what is in the kernel and not wanted, or wanted and without a next hop."""
        drops = [place for place in self._dirty if place in self._installed]
        # A route whose object went by itself is gone already.
        self._netlink.batch(
            [delete_route(self._networks[name, kind], metric) for name, kind, metric in drops],
            ignore={errno.ESRCH, errno.ENOENT},
        )
        for place in drops:
            self._settle(place, None)
        for place in [place for place in self._dirty if place not in self._places]:
            del self._dirty[place]

    def _settle(self, place: _Place, hop: _Hop | None) -> None:
        """The kernel now has this at `place`."""
        before = self._installed.pop(place, None)
        if before is not None:
            self._users[before].discard(place)
        if hop is not None:
            self._installed[place] = hop
            self._users.setdefault(hop, set()).add(place)
        if self._places.get(place) == hop:
            self._dirty.pop(place, None)

    def _drop_unused_hops(self) -> None:
        unused = [hop for hop in self._alive if hop.segments and not self._users.get(hop)]
        self._netlink.batch(
            [delete_nexthop(self._numbers[hop]) for hop in unused], ignore={errno.ENOENT}
        )
        for hop in unused:
            self._forget(hop)
            self._shared.pop((hop.link, hop.segments), None)
        if unused:
            self._repairs.clear()

    def _source(self, kind: _Kind) -> IPv4Address | IPv6Address | None:
        if kind is _Kind.IPV4:
            return self._addresses_4.get(self._node)
        return self._addresses[self._node]


def clear(netlink: RtNetlink) -> None:
    """Delete every next hop object of the namespace and so all routes of a node's mesh."""
    netlink.batch(
        [delete_nexthop(number) for number in netlink.nexthop_ids()], ignore={errno.ENOENT}
    )


def _smallest_cover(addresses: Iterable[IPv4Address]) -> IPv4Network:
    numbers = [int(address) for address in addresses]
    length = 32 - (min(numbers) ^ max(numbers)).bit_length()
    return IPv4Network((min(numbers), length), strict=False)
