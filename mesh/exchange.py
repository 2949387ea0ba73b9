"""Database exchange over one channel: both ends describe, ask for what they lack, and answer.

Each end sends its whole summary once, in bounded parts. What it stores after that is flooded to
the neighbour as well, so an exchange misses nothing that arrives meanwhile (RFC 2328 s.10.6,
without its master and slave: the stream is reliable and ordered).
"""

from __future__ import annotations

from collections.abc import Iterator

from x0mesh.mesh import limits
from x0mesh.mesh.lsdb import Database, compare
from x0mesh.mesh.messages import Credential, DatabaseDescription, Header, Lsa, Request, Update


class Exchange:
    """Progress of one channel's exchange; a new channel gets a new one."""

    __slots__ = ("_outstanding", "_peer_described", "described")

    def __init__(self) -> None:
        self.described = False
        self._peer_described = False
        self._outstanding = 0

    @property
    def is_complete(self) -> bool:
        """Both summaries are worked off as far as this end can know."""
        return self.described and self._peer_described and self._outstanding == 0

    @property
    def awaits_answer(self) -> bool:
        """A request of ours has not been answered yet."""
        return self._outstanding > 0

    def describe(self, database: Database) -> Iterator[DatabaseDescription]:
        """Our summary, to be sent at once; from now on the neighbour is flooded to."""
        self.described = True
        return describe(database)

    def heard(self, database: Database, part: DatabaseDescription) -> Request | None:
        """Take in a part of the neighbour's summary; what to ask for, if anything."""
        if part.last:
            self._peer_described = True
        request = missing(database, part)
        if request is not None:
            self._outstanding += 1
        return request

    def asked(self) -> None:
        """A request left outside the exchange proper (a credential that was missing)."""
        self._outstanding += 1

    def answered(self) -> bool:
        """An answer arrived; false if there was no request."""
        if self._outstanding == 0:
            return False
        self._outstanding -= 1
        return True

    def resume(self) -> None:
        """Both ends agree already (converged start)."""
        self.described = self._peer_described = True
        self._outstanding = 0


def describe(database: Database) -> Iterator[DatabaseDescription]:
    """A database's summary in parts of at most `limits.MAX_HEADERS` headers."""
    headers: list[Header] = []
    fingerprints: list[str] = []
    for lsa in database.lsas():
        if len(headers) == limits.MAX_HEADERS:
            yield DatabaseDescription(tuple(headers), tuple(fingerprints), last=False)
            headers, fingerprints = [], []
        headers.append(Header(lsa.origin, lsa.boot_epoch, lsa.sequence))
        fingerprints.append(lsa.fingerprint)
    yield DatabaseDescription(tuple(headers), tuple(fingerprints), last=True)


def missing(database: Database, part: DatabaseDescription) -> Request | None:
    """What a neighbour's summary names and our database lacks."""
    origins: list[str] = []
    for header in part.headers:
        stored = database.newest(header.origin)
        if stored is None or compare(header, stored) > 0:
            origins.append(header.origin)
    fingerprints = tuple(f for f in part.fingerprints if database.credential(f) is None)
    if not origins and not fingerprints:
        return None
    return Request(tuple(origins), fingerprints)


def answer(database: Database, request: Request) -> Iterator[Update]:
    """The reply to `request` in bounded parts; what is unknown is left out."""
    origins = dict.fromkeys(request.origins)
    lsas = [lsa for lsa in map(database.newest, origins) if lsa is not None]
    credentials: dict[str, Credential] = {}
    for fingerprint in request.fingerprints:
        credential = database.credential(fingerprint)
        if credential is not None:
            credentials[fingerprint] = credential
    parts = list(pack(lsas, credentials))
    yield from parts[:-1]
    last = parts[-1] if parts else Update(())
    yield Update(last.lsas, last.credentials, answers=True)


def pack(lsas: list[Lsa], credentials: dict[str, Credential]) -> Iterator[Update]:
    """Updates within `limits`, each credential in the part of the advertisement it is for."""
    part: list[Lsa] = []
    chains: list[Credential] = []
    rest = dict(credentials)
    weight = 0
    for lsa in lsas:
        if part and (
            len(part) == limits.MAX_LSAS
            or weight + len(lsa.neighbours) > limits.MAX_UPDATE_NEIGHBOURS
        ):
            yield Update(tuple(part), tuple(chains))
            part, chains, weight = [], [], 0
        part.append(lsa)
        weight += len(lsa.neighbours)
        credential = rest.pop(lsa.fingerprint, None)
        if credential is not None:
            chains.append(credential)
    for credential in rest.values():
        if len(chains) == limits.MAX_CREDENTIALS:
            yield Update(tuple(part), tuple(chains))
            part, chains = [], []
        chains.append(credential)
    if part or chains:
        yield Update(tuple(part), tuple(chains))
