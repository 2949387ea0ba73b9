"""Flooding: newer advertisements are verified, stored and passed on to every other neighbour.

The rules are those of RFC 2328 s.13 over reliable streams, so nothing is acknowledged: newer is
stored and flooded on, older is answered with ours, equal is ignored. An advertisement whose
credential is missing waits, bounded in number and time, while its sender is asked for it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from x0mesh.mesh.config import FloodingConfig
from x0mesh.mesh.credential import Verifier
from x0mesh.mesh.exchange import pack
from x0mesh.mesh.judgement import credential_fault, plain_fault, signature_fault
from x0mesh.mesh.lsdb import Database, compare
from x0mesh.mesh.messages import Credential, Lsa, Message, Request, Update

WAITING_TIMER: Final = ("flooding", "waiting")
NO_ROOM: Final = "too many wait for a credential"
NEVER_CAME: Final = "credential never came"


class FloodingPort(Protocol):
    """What flooding asks of its node."""

    def send(self, link: str, message: Message) -> None: ...

    def set_timer(self, key: Hashable, due_ns: int) -> None: ...

    def flooded_links(self) -> Iterable[str]:
        """Links whose neighbour already has our summary, in a fixed order."""

    def request(self, link: str, request: Request) -> None:
        """Send a request and remember that an answer is due."""

    def rejected(self, now: int, link: str, lsa: Lsa, reason: str) -> None:
        """An advertisement was not believed."""

    def own_returned(self, now: int, lsa: Lsa) -> None:
        """A verified advertisement of our own, newer than what we say now, came back."""


@dataclass(slots=True)
class _Waiting:
    """An advertisement without its credential, and the links it came over."""

    lsa: Lsa
    links: list[str]
    since_ns: int


@dataclass(slots=True)
class _Batch:
    """What one received Update leads to, sent once it is worked through."""

    accepted: list[Lsa] = field(default_factory=list)
    credentials: dict[str, Credential] = field(default_factory=dict)
    returned: list[Lsa] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)


class Flooding:
    """Judges, stores and passes on advertisements for the node `name`."""

    def __init__(
        self,
        name: str,
        config: FloodingConfig,
        database: Database,
        verifier: Verifier,
        port: FloodingPort,
    ) -> None:
        self._name = name
        self._config = config
        self._database = database
        self._verifier = verifier
        self._port = port
        self._waiting: dict[tuple[str, str], _Waiting] = {}

    @property
    def waiting(self) -> int:
        """Advertisements that wait for a credential."""
        return len(self._waiting)

    def receive(self, now: int, link: str, update: Update) -> bool:
        """Work through an Update from `link`: store, pass on, send ours back, ask.

        False if it held nothing new, which is what most updates of a flood are.
        """
        news = [lsa for lsa in update.lsas if not self._is_known(lsa)]
        if not news and not update.credentials:
            return False
        offered = {credential.fingerprint: credential for credential in update.credentials}
        batch = _Batch()
        for lsa in news:
            self._consider(now, link, lsa, offered, batch)
        if self._waiting and offered:
            self._release(now, link, offered, batch)
        if batch.accepted:
            self.flood(batch.accepted, batch.credentials, except_link=link)
        for part in pack(batch.returned, {}):
            self._port.send(link, part)
        if batch.lacking:
            self._port.request(link, Request((), tuple(dict.fromkeys(batch.lacking))))
        return True

    def flood(
        self, lsas: list[Lsa], credentials: Mapping[str, Credential], except_link: str | None
    ) -> None:
        """Send stored advertisements to every neighbour but the one they came from."""
        parts = list(pack(lsas, dict(credentials)))
        for link in self._port.flooded_links():
            if link != except_link:
                for part in parts:
                    self._port.send(link, part)

    def timer(self, now: int) -> None:
        """Give up on advertisements whose credential did not come in time."""
        patience_ns = self._config.waiting_ns
        late = [k for k, w in self._waiting.items() if w.since_ns + patience_ns <= now]
        for key in late:
            waiting = self._waiting.pop(key)
            self._port.rejected(now, waiting.links[0], waiting.lsa, NEVER_CAME)
        self._arm()

    def _is_known(self, lsa: Lsa) -> bool:
        stored = self._database.newest(lsa.origin)
        return stored is lsa or (
            stored is not None
            and stored.sequence == lsa.sequence
            and stored.boot_epoch == lsa.boot_epoch
            and stored.signature == lsa.signature
        )

    def _consider(
        self,
        now: int,
        link: str,
        lsa: Lsa,
        offered: Mapping[str, Credential],
        batch: _Batch,
    ) -> None:
        stored = self._database.newest(lsa.origin)
        if stored is not None:
            newness = compare(lsa, stored)
            if newness < 0:
                batch.returned.append(stored)
                return
            if newness == 0 and lsa.signature <= stored.signature:
                # The same instance; or an origin that signs two contents under one number,
                # where every node must still end with the same one.
                if lsa.signature < stored.signature:
                    batch.returned.append(stored)
                return
        fault = plain_fault(lsa, now, self._config.max_neighbours)
        if fault is not None:
            self._port.rejected(now, link, lsa, fault)
            return
        credential = self._database.credential(lsa.fingerprint)
        if credential is None:
            credential = offered.get(lsa.fingerprint)
            if credential is None:
                self._wait(now, link, lsa, batch)
                return
            fault = credential_fault(self._verifier, credential, now)
        if fault is None:
            fault = signature_fault(self._verifier, lsa, credential)
        if fault is not None:
            self._port.rejected(now, link, lsa, fault)
        elif lsa.origin == self._name:
            self._port.own_returned(now, lsa)
        else:
            if self._database.credential(lsa.fingerprint) is None:
                batch.credentials[lsa.fingerprint] = credential
            self._database.put(lsa, credential)
            batch.accepted.append(lsa)

    def _wait(self, now: int, link: str, lsa: Lsa, batch: _Batch) -> None:
        key = (lsa.fingerprint, lsa.origin)
        earlier = self._waiting.get(key)
        if earlier is None:
            if len(self._waiting) >= self._config.max_waiting:
                self._port.rejected(now, link, lsa, NO_ROOM)
                return
            self._waiting[key] = _Waiting(lsa, [link], now)
            if len(self._waiting) == 1:
                self._arm()
        else:
            if compare(lsa, earlier.lsa) > 0:
                earlier.lsa = lsa
            if link not in earlier.links:
                earlier.links.append(link)
        batch.lacking.append(lsa.fingerprint)

    def _release(
        self, now: int, link: str, offered: Mapping[str, Credential], batch: _Batch
    ) -> None:
        """Try what waits for the credentials that `link` offers."""
        for key in [key for key in self._waiting if key[0] in offered]:
            waiting = self._waiting[key]
            if credential_fault(self._verifier, offered[key[0]], now) is not None:
                # A false credential costs its sender's claim only: a neighbour must not be able
                # to make us drop what another neighbour told us.
                if link not in waiting.links:
                    continue
                waiting.links.remove(link)
                if waiting.links:
                    continue
            del self._waiting[key]
            self._consider(now, link, waiting.lsa, offered, batch)

    def _arm(self) -> None:
        if self._waiting:
            first_ns = min(waiting.since_ns for waiting in self._waiting.values())
            self._port.set_timer(WAITING_TIMER, first_ns + self._config.waiting_ns)
