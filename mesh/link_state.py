"""A node's share of the mesh's link state: database, flooding, own advertisement, ageing, trust.

Driven by received updates, by news about the node itself and by timers. Routing reads `graph`;
whoever is no longer trusted is reported, so that sessions with it end too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from x0mesh.mesh import events
from x0mesh.mesh.config import NodeConfig
from x0mesh.mesh.credential import Signer, Verifier
from x0mesh.mesh.effects import Effects, ProtocolEvent, TimerKey
from x0mesh.mesh.flooding import WAITING_TIMER, Flooding
from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.judgement import CREDENTIAL, credential_fault, plain_fault, signature_fault
from x0mesh.mesh.lsdb import Database
from x0mesh.mesh.messages import Credential, Lsa, Message, Request, Update
from x0mesh.mesh.origination import Content, Origination

EXPIRY_TIMER: Final = ("expiry",)
NOT_REFRESHED: Final = "not refreshed"


class Snapshot(msgspec.Struct, frozen=True):
    """What survives a warm restart: the database, and with it our own last sequence."""

    lsas: tuple[Lsa, ...]
    credentials: tuple[Credential, ...]


class LinkStatePort(Protocol):
    """What link state asks of its node."""

    def flooded_links(self) -> Iterable[str]:
        """Links whose neighbour already has our summary, in a fixed order."""

    def request(self, link: str, request: Request) -> None:
        """Send a request and remember that an answer is due."""

    def content(self) -> Content:
        """What this node can say about itself now."""

    def distrusted(self, origin: str, link: str | None, reason: str) -> None:
        """The identity of `origin` failed; over `link` if that is where its word came from."""


class LinkState:
    """Everything node `config.name` believes about the mesh, and what it tells the mesh."""

    def __init__(
        self,
        config: NodeConfig,
        effects: Effects,
        draw: Callable[[str], float],
        signer: Signer,
        verifier: Verifier,
        store: GraphStore,
        port: LinkStatePort,
    ) -> None:
        self.database = Database(store=store)
        self._name = config.name
        self._config = config.flooding
        self._effects = effects
        self._signer = signer
        self._verifier = verifier
        self._port = port
        self._flooding = Flooding(config.name, config.flooding, self.database, verifier, self)
        self._origination = Origination(
            config.name, config.boot_epoch, config.flooding, signer, draw, self
        )
        self._distrusted: dict[str, str] = {}
        self._expiry_armed_ns: int | None = None

    @property
    def graph(self) -> Graph:
        """The topology as advertised."""
        return self.database.graph

    @property
    def is_quiet(self) -> bool:
        """Nothing waits for a credential or for the origination gap."""
        return not self._origination.is_pending and self._flooding.waiting == 0

    def start(self, now: int) -> None:
        """Say that we exist, without neighbours yet."""
        self._origination.start(now, "start")
        self._arm_expiry()

    def start_converged(self, now: int, database: Database) -> None:
        """Share `database`, which holds what everyone says, ourselves included."""
        self.database.adopt(database)
        own = self.database.newest(self._name)
        assert own is not None, f"no advertisement of {self._name} in the converged database"
        assert own.neighbours == self.content().neighbours, "own advertisement is not converged"
        self._origination.resume(now, own)
        self._arm_expiry()

    def start_warm(self, now: int, snapshot: Snapshot) -> None:
        """Believe again what still holds of an earlier life, and continue its sequence."""
        credentials = {credential.fingerprint: credential for credential in snapshot.credentials}
        for lsa in snapshot.lsas:
            credential = credentials.get(lsa.fingerprint)
            if (
                credential is not None
                and plain_fault(lsa, now, self._config.max_neighbours) is None
                and credential_fault(self._verifier, credential, now) is None
                and signature_fault(self._verifier, lsa, credential) is None
            ):
                self.database.put(lsa, credential)
        own = self.database.newest(self._name)
        if own is not None:
            self._origination.continue_after(own)
        self._origination.start(now, "warm start")
        self._arm_expiry()

    def snapshot(self) -> Snapshot:
        """What `start_warm` needs."""
        return Snapshot(tuple(self.database.lsas()), tuple(self.database.credentials()))

    def receive(self, now: int, link: str, update: Update) -> bool:
        """An Update from the neighbour behind `link`; false if nothing in it was new."""
        if not self._flooding.receive(now, link, update):
            return False
        self._arm_expiry()
        return True

    def news(self, now: int, bad: bool, reason: str) -> None:
        """What we can say about ourselves has changed."""
        self._origination.news(now, bad, reason)
        self._arm_expiry()

    def withdraw(self, now: int) -> None:
        """Say at once, past every gap, what is true now: that we leave."""
        self._origination.start(now, "withdrawn")
        self._arm_expiry()

    def identity_changed(self, now: int, signer: Signer) -> None:
        """A new SVID: flood it, and sign with it from now on."""
        self._signer = signer
        self._origination.identity_changed(now, signer)
        self._arm_expiry()

    def trust_changed(self, now: int) -> None:
        """Judge again what we believe, and ask again for what we refused to believe."""
        for lsa in list(self.database.lsas()):
            fault = self._credential_fault(now, lsa)
            if fault is not None and lsa.origin != self._name:
                self._withdraw(lsa, fault)
        if self._distrusted:
            refused, self._distrusted = self._distrusted, {}
            request = Request(tuple(refused), tuple(dict.fromkeys(refused.values())))
            for link in list(self._port.flooded_links()):
                self._port.request(link, request)
        self._arm_expiry()

    def timer(self, now: int, key: TimerKey) -> None:
        """`EXPIRY_TIMER`, or one of flooding's or origination's timers, is due."""
        if key == EXPIRY_TIMER:
            self._expiry_armed_ns = None
            for lsa in self.database.expired(now):
                self._withdraw(lsa, self._credential_fault(now, lsa))
        elif key == WAITING_TIMER:
            self._flooding.timer(now)
        else:
            self._origination.timer(now, key)
        self._arm_expiry()

    # Port of flooding and origination

    def send(self, link: str, message: Message) -> None:
        self._effects.send(link, message)

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        self._effects.set_timer(key, due_ns)

    def cancel_timer(self, key: TimerKey) -> None:
        self._effects.cancel_timer(key)

    def flooded_links(self) -> Iterable[str]:
        return self._port.flooded_links()

    def request(self, link: str, request: Request) -> None:
        self._port.request(link, request)

    def rejected(self, now: int, link: str, lsa: Lsa, reason: str) -> None:
        event = ProtocolEvent(events.LSA_REJECTED, link, lsa.origin, reason=reason)
        self._effects.emit(event)
        if reason.startswith(CREDENTIAL):
            self._distrust(lsa)
            self._port.distrusted(lsa.origin, link, reason)

    def own_returned(self, now: int, lsa: Lsa) -> None:
        self._origination.outdo(now, lsa)

    def content(self) -> Content:
        return self._port.content()

    def originated(self, now: int, lsa: Lsa, reason: str) -> None:
        credential = self._signer.credential()
        is_new = self.database.credential(credential.fingerprint) is None
        self.database.put(lsa, credential)
        value = float(lsa.sequence)
        self._effects.emit(ProtocolEvent(events.LSA_ORIGINATED, value=value, reason=reason))
        new_credentials = {credential.fingerprint: credential} if is_new else {}
        self._flooding.flood([lsa], new_credentials, except_link=None)

    def _credential_fault(self, now: int, lsa: Lsa) -> str | None:
        credential = self.database.credential(lsa.fingerprint)
        assert credential is not None, "an advertisement without its credential"
        return credential_fault(self._verifier, credential, now)

    def _withdraw(self, lsa: Lsa, fault: str | None) -> None:
        """Believe `lsa` no longer; a `fault` of its identity also ends our sessions with it."""
        self.database.remove(lsa.origin)
        reason = fault or NOT_REFRESHED
        self._effects.emit(ProtocolEvent(events.LSA_EXPIRED, peer=lsa.origin, reason=reason))
        if fault is not None:
            if lsa.origin != self._name:
                self._distrust(lsa)
            self._port.distrusted(lsa.origin, None, fault)

    def _distrust(self, lsa: Lsa) -> None:
        """Remember whom to ask about when trust changes; bounded."""
        if len(self._distrusted) < self._config.max_waiting:
            self._distrusted[lsa.origin] = lsa.fingerprint

    def _arm_expiry(self) -> None:
        due_ns = self.database.next_expiry_ns()
        if due_ns == self._expiry_armed_ns:
            return
        self._expiry_armed_ns = due_ns
        if due_ns is None:
            self._effects.cancel_timer(EXPIRY_TIMER)
        else:
            self._effects.set_timer(EXPIRY_TIMER, due_ns)
