"""Flooding alone: who is believed, what is passed on, what waits and for how long."""

from __future__ import annotations

from collections.abc import Hashable

import msgspec
import pytest

from x0mesh.mesh.codec import signed_content
from x0mesh.mesh.config import FloodingConfig
from x0mesh.mesh.credential import FakeSigner, FakeVerifier
from x0mesh.mesh.flooding import NEVER_CAME, NO_ROOM, Flooding
from x0mesh.mesh.lsdb import Database
from x0mesh.mesh.messages import Lsa, Message, Neighbour, Request, Update

CONFIG = FloodingConfig(max_waiting=4, waiting_ns=100, max_neighbours=3)
EXPIRES_NS = 10_000
LINKS = ("east", "north", "west")


class Port:
    """Records what flooding asks for."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.requests: list[tuple[str, Request]] = []
        self.rejections: list[tuple[str, str, str]] = []
        self.returned: list[Lsa] = []
        self.due_ns: int | None = None

    def send(self, link: str, message: Message) -> None:
        self.sent.append((link, message))

    def set_timer(self, key: Hashable, due_ns: int) -> None:
        self.due_ns = due_ns

    def flooded_links(self) -> tuple[str, ...]:
        return LINKS

    def request(self, link: str, request: Request) -> None:
        self.requests.append((link, request))

    def rejected(self, now: int, link: str, lsa: Lsa, reason: str) -> None:
        self.rejections.append((link, lsa.origin, reason))

    def own_returned(self, now: int, lsa: Lsa) -> None:
        self.returned.append(lsa)


class Bench:
    """Flooding of node `me` with everything around it in reach."""

    def __init__(self) -> None:
        self.port = Port()
        self.database = Database()
        self.verifier = FakeVerifier()
        self.flooding = Flooding("me", CONFIG, self.database, self.verifier, self.port)

    def receive(self, *lsas: Lsa, link: str = "east", signers: tuple[FakeSigner, ...] = ()) -> None:
        credentials = tuple(signer.credential() for signer in signers)
        self.flooding.receive(1, link, Update(lsas, credentials))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, _, reason in self.port.rejections]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def signed(signer: FakeSigner, sequence: int = 1, **changes: object) -> Lsa:
    credential = signer.credential()
    lsa = Lsa(
        credential.node, 1, sequence, (Neighbour("x", "l", 1),), credential.fingerprint, EXPIRES_NS
    )
    lsa = msgspec.structs.replace(lsa, **changes)
    return msgspec.structs.replace(lsa, signature=signer.sign(signed_content(lsa)))


A = FakeSigner("a", EXPIRES_NS)
B = FakeSigner("b", EXPIRES_NS)


def test_news_is_stored_and_passed_on_with_its_credential_but_not_back(bench):
    bench.receive(signed(A), signers=(A,))
    assert bench.database.newest("a") == signed(A)
    assert [link for link, _ in bench.port.sent] == ["north", "west"]
    assert all(m == Update((signed(A),), (A.credential(),)) for _, m in bench.port.sent)


def test_a_credential_is_flooded_once(bench):
    bench.receive(signed(A), signers=(A,))
    bench.port.sent.clear()
    bench.receive(signed(A, 2), signers=(A,))
    assert [m for _, m in bench.port.sent] == [Update((signed(A, 2),))] * 2


def test_several_news_travel_in_one_update(bench):
    bench.receive(signed(A), signed(B), signers=(A, B))
    assert len(bench.port.sent) == 2
    assert all(len(m.lsas) == 2 for _, m in bench.port.sent)


def test_what_is_known_is_ignored(bench):
    bench.receive(signed(A), signers=(A,))
    bench.port.sent.clear()
    bench.receive(signed(A), link="west")
    assert bench.port.sent == []


def test_a_replayed_old_advertisement_is_answered_with_ours(bench):
    bench.receive(signed(A, 5), signers=(A,))
    bench.port.sent.clear()
    bench.receive(signed(A, 4), link="west")
    assert bench.database.newest("a").sequence == 5
    assert bench.port.sent == [("west", Update((signed(A, 5),)))]


def test_an_older_life_does_not_win_with_a_higher_sequence(bench):
    bench.receive(signed(A, 1, boot_epoch=2), signers=(A,))
    bench.receive(signed(A, 99, boot_epoch=1))
    assert bench.database.newest("a").boot_epoch == 2


def test_a_sequence_wraps(bench):
    bench.receive(signed(A, 2**64 - 1), signers=(A,))
    bench.receive(signed(A, 0))
    assert bench.database.newest("a").sequence == 0
    bench.receive(signed(A, 2**64 - 1))
    assert bench.database.newest("a").sequence == 0


@pytest.mark.parametrize(
    "change",
    [
        {"neighbours": ()},
        {"sequence": 7},
        {"expires_ns": EXPIRES_NS - 1},
        {"overload": True},
        {"signature": b""},
    ],
)
def test_a_forged_advertisement_is_rejected(bench, change):
    bench.receive(msgspec.structs.replace(signed(A), **change), signers=(A,))
    assert bench.reasons == ["bad signature"]
    assert bench.database.newest("a") is None
    assert bench.port.sent == []


def test_nobody_speaks_for_another_node(bench):
    lie = signed(B, origin="a")
    bench.receive(lie, signers=(B,))
    assert bench.reasons == ["credential of another node"]
    assert bench.database.newest("a") is None


def test_an_advertisement_may_not_outlive_its_credential(bench):
    bench.receive(signed(A, expires_ns=EXPIRES_NS + 1), signers=(A,))
    assert bench.reasons == ["advertisement outlives its credential"]


def test_an_expired_advertisement_is_rejected(bench):
    bench.receive(signed(A, expires_ns=1), signers=(A,))
    assert bench.reasons == ["advertisement expired"]


def test_too_many_neighbours_are_rejected(bench):
    crowd = tuple(Neighbour(f"n{i}", "l", 1) for i in range(4))
    bench.receive(signed(A, neighbours=crowd), signers=(A,))
    assert bench.reasons == ["too many neighbours"]


def test_a_revoked_identity_is_rejected(bench):
    bench.verifier.revoked = frozenset({A.credential().fingerprint})
    bench.receive(signed(A), signers=(A,))
    assert bench.reasons == ["credential: revoked"]


def test_two_contents_under_one_number_end_the_same_everywhere(bench):
    other = Bench()
    one, two = signed(A), signed(A, neighbours=())
    for at, first, second in ((bench, one, two), (other, two, one)):
        at.receive(first, signers=(A,))
        at.receive(second)
    assert bench.database.newest("a") == other.database.newest("a")


def test_what_lacks_its_credential_waits_and_its_sender_is_asked(bench):
    bench.receive(signed(A), link="west")
    assert bench.database.newest("a") is None
    assert bench.port.sent == []
    assert bench.port.requests == [("west", Request((), (A.credential().fingerprint,)))]
    bench.receive(link="west", signers=(A,))
    assert bench.database.newest("a") == signed(A)
    assert [link for link, _ in bench.port.sent] == ["east", "north"]
    assert bench.flooding.waiting == 0


def test_what_waits_is_bounded_in_number(bench):
    signers = [FakeSigner(f"n{i}", EXPIRES_NS) for i in range(6)]
    bench.receive(*(signed(signer) for signer in signers))
    assert bench.flooding.waiting == CONFIG.max_waiting
    assert bench.reasons == [NO_ROOM, NO_ROOM]


def test_what_waits_is_bounded_in_time(bench):
    bench.receive(signed(A))
    assert bench.port.due_ns == 1 + CONFIG.waiting_ns
    bench.flooding.timer(bench.port.due_ns)
    assert bench.flooding.waiting == 0
    assert bench.reasons == [NEVER_CAME]
    bench.receive(signers=(A,))
    assert bench.database.newest("a") is None


def test_waiting_keeps_the_newest(bench):
    bench.receive(signed(A, 1))
    bench.receive(signed(A, 3), link="west")
    bench.receive(signed(A, 2), link="north")
    assert bench.flooding.waiting == 1
    bench.receive(signers=(A,))
    assert bench.database.newest("a").sequence == 3


def test_a_false_credential_cannot_evict_what_another_neighbour_said(bench):
    bench.receive(signed(A), link="east")
    false = msgspec.structs.replace(A.credential(), chain=b"garbage")
    bench.flooding.receive(1, "west", Update((), (false,)))
    assert bench.flooding.waiting == 1
    bench.receive(link="east", signers=(A,))
    assert bench.database.newest("a") == signed(A)


def test_a_false_credential_costs_its_sender_its_claim(bench):
    bench.receive(signed(A), link="west")
    false = msgspec.structs.replace(A.credential(), chain=b"garbage")
    bench.flooding.receive(1, "west", Update((), (false,)))
    assert bench.flooding.waiting == 0
    assert bench.reasons == ["credential: fingerprint mismatch"]


def test_credentials_nobody_needs_are_not_kept(bench):
    bench.receive(signers=(A, B))
    assert bench.database.credential(A.credential().fingerprint) is None


def test_our_own_newer_advertisement_is_reported_and_not_stored(bench):
    me = FakeSigner("me", EXPIRES_NS)
    bench.receive(signed(me, 9), signers=(me,))
    assert [lsa.sequence for lsa in bench.port.returned] == [9]
    assert bench.database.newest("me") is None
    assert bench.port.sent == []


def test_a_forged_advertisement_of_ours_is_not_outdone(bench):
    me = FakeSigner("me", EXPIRES_NS)
    bench.receive(msgspec.structs.replace(signed(me), sequence=2**63), signers=(me,))
    assert bench.port.returned == []
    assert bench.reasons == ["bad signature"]
