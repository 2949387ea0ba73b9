"""A node's stable IPv6 address, computed from its identity alone.

Layout of the unique local address (RFC 4193), 128 bits:

    | 8 bits | 40 bits                     | 16 bits | 64 bits                        |
    | fd     | global ID: SHA-256 of the   | area    | interface ID: SHA-256 of the   |
    |        | trust domain, first 40 bits |         | SPIFFE ID, first 64 bits       |

The area is 0 until an area hierarchy exists; it is the subnet ID, so an area is one /64.
Interface IDs reserved by RFC 5453 are hashed again. Among n nodes of one area two addresses
collide with probability about n^2 / 2^65; `collisions` finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from typing import Final

AREA_BITS: Final = 16
_SCHEME: Final = "spiffe://"


class AddressError(ValueError):
    """Not a SPIFFE ID with trust domain and path, or an area out of range."""


def address(spiffe_id: str, area: int = 0) -> IPv6Address:
    """The address of `spiffe://<trust domain>/<path>` in `area`; raises AddressError."""
    return prefix(_trust_domain(spiffe_id), area)[_interface_id(spiffe_id)]


def prefix(trust_domain: str, area: int = 0) -> IPv6Network:
    """The /64 of one area of a trust domain; raises AddressError."""
    if not 0 <= area < 1 << AREA_BITS:
        raise AddressError(f"area {area} is not in 0..{(1 << AREA_BITS) - 1}")
    global_id = int.from_bytes(hashlib.sha256(trust_domain.encode()).digest()[:5], "big")
    return IPv6Network(((0xFD << 120) | (global_id << 80) | (area << 64), 64))


def collisions(spiffe_ids: Iterable[str]) -> dict[IPv6Address, tuple[str, ...]]:
    """Addresses that more than one of the given identities would get, with those identities."""
    owners: dict[IPv6Address, list[str]] = {}
    for spiffe_id in sorted(set(spiffe_ids)):
        owners.setdefault(address(spiffe_id), []).append(spiffe_id)
    return {where: tuple(ids) for where, ids in owners.items() if len(ids) > 1}


def _trust_domain(spiffe_id: str) -> str:
    rest = spiffe_id.removeprefix(_SCHEME)
    trust_domain, _, path = rest.partition("/")
    if rest == spiffe_id or not trust_domain or not path:
        raise AddressError(f"not a SPIFFE ID: {spiffe_id!r}")
    return trust_domain


def _interface_id(spiffe_id: str) -> int:
    digest = hashlib.sha256(spiffe_id.encode()).digest()
    while _is_reserved(interface_id := int.from_bytes(digest[:8], "big")):
        digest = hashlib.sha256(digest).digest()
    return interface_id


def _is_reserved(interface_id: int) -> bool:
    """RFC 5453 s.3: subnet-router anycast, the IANA Ethernet block, subnet anycast."""
    return (
        interface_id == 0
        or 0x0200_5EFF_FE00_0000 <= interface_id <= 0x0200_5EFF_FEFF_FFFF
        or 0xFDFF_FFFF_FFFF_FF80 <= interface_id <= 0xFDFF_FFFF_FFFF_FFFF
    )
