"""The link-state database: the newest advertisement of every origin, with the credential it needs.

A database is an immutable shared base plus this node's differences, so that a thousand simulated
nodes that agree cost no more than one. It holds only what was verified; each change is one
`GraphStore.apply`, so `graph` always matches the advertisements.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from x0mesh.mesh import serial
from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.messages import Credential, Header, Lsa

_NOTHING: Final[Mapping[str, Lsa]] = MappingProxyType({})
_NO_CREDENTIALS: Final[Mapping[str, Credential]] = MappingProxyType({})


def compare(a: Lsa | Header, b: Lsa | Header) -> int:
    """1 if `a` is the newer instance, -1 if older, 0 if the same (RFC 2328 s.13.1).

    Boot epochs compare as integers, sequences within an epoch in serial arithmetic.
    """
    if a.boot_epoch != b.boot_epoch:
        return 1 if a.boot_epoch > b.boot_epoch else -1
    return serial.compare(a.sequence, b.sequence)


class _Base:
    """What many databases share; never changes."""

    __slots__ = ("by_expiry", "credentials", "lsas")

    def __init__(self, lsas: Mapping[str, Lsa], credentials: Mapping[str, Credential]) -> None:
        self.lsas: dict[str, Lsa] = {origin: lsas[origin] for origin in sorted(lsas)}
        self.credentials = {key: credentials[key] for key in sorted(credentials)}
        self.by_expiry = sorted((lsa.expires_ns, origin) for origin, lsa in self.lsas.items())


class Database:
    """Advertisements by origin and credentials by fingerprint.

    `adopt` gives another node the same content without copying the base.
    """

    def __init__(
        self,
        base: Mapping[str, Lsa] = _NOTHING,
        credentials: Mapping[str, Credential] = _NO_CREDENTIALS,
        store: GraphStore | None = None,
    ) -> None:
        self._base = _Base(base, credentials)
        self._store = store if store is not None else GraphStore()
        self._lsas: dict[str, Lsa | None] = {}
        self._credentials: dict[str, Credential | None] = {}
        self._base_expiry_index = 0
        self._expiries: list[tuple[int, str]] = []
        self._graph = self._store.apply_all(
            self._store.empty(),
            ((lsa.origin, lsa.neighbours, lsa.overload) for lsa in self._base.lsas.values()),
        )

    def adopt(self, other: Database) -> None:
        """Take over another database's content, sharing its base; both must share one store."""
        assert other._store is self._store, "databases of different graph stores"
        self._base = other._base
        self._lsas = dict(other._lsas)
        self._credentials = dict(other._credentials)
        self._base_expiry_index = other._base_expiry_index
        self._expiries = list(other._expiries)
        self._graph = other._graph

    @property
    def graph(self) -> Graph:
        """The graph of all advertisements; two-way checked by the graph itself."""
        return self._graph

    @property
    def store(self) -> GraphStore:
        """Where graphs are memoised; shared by simulated nodes."""
        return self._store

    @property
    def difference(self) -> int:
        """How many origins differ from the shared base: what this database costs on its own."""
        return len(self._lsas)

    def newest(self, origin: str) -> Lsa | None:
        """The stored advertisement of `origin`."""
        if origin in self._lsas:
            return self._lsas[origin]
        return self._base.lsas.get(origin)

    def credential(self, fingerprint: str) -> Credential | None:
        """The verified credential with this fingerprint."""
        if fingerprint in self._credentials:
            return self._credentials[fingerprint]
        return self._base.credentials.get(fingerprint)

    def lsas(self) -> Iterator[Lsa]:
        """All advertisements, by origin."""
        base = self._base.lsas
        if not self._lsas:
            yield from base.values()
            return
        added = sorted(origin for origin in self._lsas if origin not in base)
        for origin in heapq.merge(base, added):
            lsa = self.newest(origin)
            if lsa is not None:
                yield lsa

    def headers(self) -> Iterator[Header]:
        """The identity of all advertisements, by origin."""
        for lsa in self.lsas():
            yield Header(lsa.origin, lsa.boot_epoch, lsa.sequence)

    def credentials(self) -> Iterator[Credential]:
        """The credentials that stored advertisements are signed with, by origin."""
        for lsa in self.lsas():
            credential = self.credential(lsa.fingerprint)
            if credential is not None:
                yield credential

    def put(self, lsa: Lsa, credential: Credential) -> None:
        """Store a verified advertisement and its credential in place of the origin's older ones."""
        assert credential.fingerprint == lsa.fingerprint, "wrong credential"
        assert credential.node == lsa.origin, "credential of another node"
        old = self.newest(lsa.origin)
        if old is not None and old.fingerprint != lsa.fingerprint:
            self._forget_credential(old.fingerprint)
        self._lsas[lsa.origin] = lsa
        if self.credential(lsa.fingerprint) != credential:
            self._credentials[lsa.fingerprint] = credential
        heapq.heappush(self._expiries, (lsa.expires_ns, lsa.origin))
        if len(self._expiries) > 64 + 2 * len(self._lsas):
            self._compact_expiries()
        if old is None or old.neighbours != lsa.neighbours or old.overload != lsa.overload:
            self._graph = self._store.apply(self._graph, lsa.origin, lsa.neighbours, lsa.overload)

    def remove(self, origin: str) -> None:
        """Withdraw an origin's advertisement and credential; unknown origins are ignored."""
        old = self.newest(origin)
        if old is None:
            return
        if origin in self._base.lsas:
            self._lsas[origin] = None
        else:
            del self._lsas[origin]
        self._forget_credential(old.fingerprint)
        self._graph = self._store.apply(self._graph, origin, None)

    def next_expiry_ns(self) -> int | None:
        """When the first stored advertisement lapses."""
        self._skip_replaced()
        due: list[int] = []
        if self._base_expiry_index < len(self._base.by_expiry):
            due.append(self._base.by_expiry[self._base_expiry_index][0])
        if self._expiries:
            due.append(self._expiries[0][0])
        return min(due, default=None)

    def expired(self, now: int) -> list[Lsa]:
        """Stored advertisements that have lapsed, by expiry; the caller removes them."""
        found: dict[str, Lsa] = {}
        by_expiry = self._base.by_expiry
        for index in range(self._base_expiry_index, len(by_expiry)):
            expires_ns, origin = by_expiry[index]
            if expires_ns > now:
                break
            if origin not in self._lsas:
                found[origin] = self._base.lsas[origin]
        for expires_ns, origin in sorted(self._expiries):
            lsa = self._lsas.get(origin)
            if expires_ns <= now and lsa is not None and lsa.expires_ns == expires_ns:
                found[origin] = lsa
        return sorted(found.values(), key=lambda lsa: (lsa.expires_ns, lsa.origin))

    def _forget_credential(self, fingerprint: str) -> None:
        if fingerprint in self._base.credentials:
            self._credentials[fingerprint] = None
        else:
            self._credentials.pop(fingerprint, None)

    def _skip_replaced(self) -> None:
        by_expiry = self._base.by_expiry
        while (
            self._base_expiry_index < len(by_expiry)
            and by_expiry[self._base_expiry_index][1] in self._lsas
        ):
            self._base_expiry_index += 1
        while self._expiries:
            expires_ns, origin = self._expiries[0]
            lsa = self._lsas.get(origin)
            if lsa is not None and lsa.expires_ns == expires_ns:
                break
            heapq.heappop(self._expiries)

    def _compact_expiries(self) -> None:
        self._expiries = [
            (lsa.expires_ns, origin) for origin, lsa in self._lsas.items() if lsa is not None
        ]
        heapq.heapify(self._expiries)
