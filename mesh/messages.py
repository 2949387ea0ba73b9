"""Messages on the authenticated stream between two adjacent nodes, and their identities.

Structs only: `x0mesh.mesh.codec` turns them into bytes and back. Node names are SVID path
segments; times are nanoseconds on the mesh's clock; costs are positive integers.
"""

from __future__ import annotations

import msgspec


class Neighbour(msgspec.Struct, frozen=True, array_like=True):
    """One advertised adjacency: who, over which link, at what cost in this direction.

    `reverse_metric` is added to the neighbour's cost towards the origin (RFC 8500): loss is
    measured by who receives, and it is the sender's direction that has it.
    """

    node: str
    link: str
    cost: int
    reverse_metric: int = 0


class Lsa(msgspec.Struct, frozen=True, array_like=True, tag="lsa"):
    """Link-state advertisement of one origin, signed with its SVID key (compare RFC 2154).

    Newness is (boot_epoch, sequence), sequence in 64-bit serial arithmetic (RFC 1982).
    `overload` asks others not to transit (RFC 6987). It lapses at `expires_ns`.
    """

    origin: str
    boot_epoch: int
    sequence: int
    neighbours: tuple[Neighbour, ...]
    fingerprint: str
    expires_ns: int
    overload: bool = False
    signature: bytes = b""


class Credential(msgspec.Struct, frozen=True, array_like=True, tag="cred"):
    """An SVID chain, flooded once per SVID so that far nodes can verify its advertisements."""

    node: str
    fingerprint: str
    chain: bytes
    expires_ns: int


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Identity of one LSA instance, as listed in a database description."""

    origin: str
    boot_epoch: int
    sequence: int


class DatabaseDescription(msgspec.Struct, frozen=True, array_like=True, tag="dbd"):
    """Part of the sender's database summary; `last` ends it (compare RFC 2328 s.10.8)."""

    headers: tuple[Header, ...]
    fingerprints: tuple[str, ...]
    last: bool


class Request(msgspec.Struct, frozen=True, array_like=True, tag="req"):
    """Ask for advertisements by origin and credentials by fingerprint (RFC 2328 s.10.9)."""

    origins: tuple[str, ...]
    fingerprints: tuple[str, ...]


class Update(msgspec.Struct, frozen=True, array_like=True, tag="upd"):
    """Flooded or requested advertisements with the credentials they may need.

    `answers` is true in the reply that completes a request.
    """

    lsas: tuple[Lsa, ...]
    credentials: tuple[Credential, ...] = ()
    answers: bool = False


Message = DatabaseDescription | Request | Update
