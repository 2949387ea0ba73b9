"""The link-state database: newest wins, a shared base, ageing, and the graph beside it."""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from x0mesh.mesh.graph import GraphStore
from x0mesh.mesh.lsdb import Database, compare
from x0mesh.mesh.messages import Credential, Header, Lsa, Neighbour

LAST = 2**64 - 1


def an_lsa(
    origin: str,
    sequence: int = 1,
    *peers: str,
    epoch: int = 1,
    expires_ns: int = 100,
    svid: int = 1,
) -> Lsa:
    listed = tuple(Neighbour(peer, "".join(sorted((origin, peer))), 1) for peer in sorted(peers))
    return Lsa(origin, epoch, sequence, listed, f"{origin}{svid}", expires_ns)


def credential_for(lsa: Lsa) -> Credential:
    return Credential(lsa.origin, lsa.fingerprint, b"chain", 10**9)


def store(database: Database, lsa: Lsa) -> None:
    database.put(lsa, credential_for(lsa))


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (Header("a", 1, 2), Header("a", 1, 1)),
        (Header("a", 2, 1), Header("a", 1, 99)),
        (Header("a", 1, 0), Header("a", 1, LAST)),
        (Header("a", 1, 3), Header("a", 1, LAST - 3)),
        (Header("a", 2, LAST), Header("a", 1, 0)),
    ],
)
def test_newness_is_boot_epoch_then_serial_sequence(newer, older):
    assert compare(newer, older) == 1
    assert compare(older, newer) == -1
    assert compare(newer, newer) == 0


def test_a_database_over_a_base_shows_base_and_differences_in_order():
    base = {name: an_lsa(name) for name in "dbca"}
    database = Database(base, {lsa.fingerprint: credential_for(lsa) for lsa in base.values()})
    store(database, an_lsa("bb"))
    store(database, an_lsa("c", 2))
    database.remove("d")
    assert [(lsa.origin, lsa.sequence) for lsa in database.lsas()] == [
        ("a", 1), ("b", 1), ("bb", 1), ("c", 2)
    ]  # fmt: skip
    assert [header.origin for header in database.headers()] == ["a", "b", "bb", "c"]
    assert database.newest("d") is None
    assert database.credential("d1") is None
    assert database.credential("a1") is not None


def test_nodes_share_a_base_and_own_only_their_differences():
    many = {f"n{i}": an_lsa(f"n{i}") for i in range(300)}
    shared = Database(many, {lsa.fingerprint: credential_for(lsa) for lsa in many.values()})
    first, second = Database(store=shared.store), Database(store=shared.store)
    first.adopt(shared)
    second.adopt(shared)
    store(first, an_lsa("n7", 2))
    assert first.newest("n7").sequence == 2
    assert second.newest("n7").sequence == 1
    assert (first.difference, second.difference) == (1, 0)
    owned = sum(sys.getsizeof(part) for part in (first._lsas, first._credentials, first._expiries))
    assert owned < 1000


def test_a_database_of_another_graph_store_is_no_base():
    with pytest.raises(AssertionError):
        Database().adopt(Database())


def test_a_new_svid_replaces_the_old_credential():
    database = Database()
    store(database, an_lsa("a", 1, svid=1))
    store(database, an_lsa("a", 2, svid=2))
    assert database.credential("a1") is None
    assert database.credential("a2") is not None


def test_a_credential_must_belong_to_the_origin():
    lsa = an_lsa("a")
    with pytest.raises(AssertionError):
        Database().put(lsa, Credential("b", lsa.fingerprint, b"chain", 1))


def test_the_graph_follows_and_needs_both_ends():
    database = Database()
    store(database, an_lsa("a", 1, "b"))
    assert database.graph.edges("a") == ()
    store(database, an_lsa("b", 1, "a"))
    assert [edge.neighbour for edge in database.graph.edges("a")] == ["b"]
    store(database, an_lsa("b", 2))
    assert database.graph.edges("a") == ()
    database.remove("a")
    assert "a" not in database.graph


def test_a_refresh_leaves_the_graph_as_it_is():
    database = Database()
    store(database, an_lsa("a", 1, "b"))
    before = database.graph
    store(database, an_lsa("a", 2, "b", expires_ns=200))
    assert database.graph is before


class Ageing(RuleBasedStateMachine):
    """Against a plain dictionary: what is stored, what has expired, what expires next."""

    def __init__(self) -> None:
        super().__init__()
        base = {name: an_lsa(name, expires_ns=10 + 7 * i) for i, name in enumerate("abcd")}
        credentials = {lsa.fingerprint: credential_for(lsa) for lsa in base.values()}
        self.database = Database(base, credentials)
        self.model = dict(base)
        self.now = 0
        self.sequence = 1

    @rule(origin=st.sampled_from("abcdef"), life=st.integers(1, 50))
    def put(self, origin: str, life: int) -> None:
        self.sequence += 1
        lsa = an_lsa(origin, self.sequence, expires_ns=self.now + life)
        store(self.database, lsa)
        self.model[origin] = lsa

    @rule(origin=st.sampled_from("abcdef"))
    def remove(self, origin: str) -> None:
        self.database.remove(origin)
        self.model.pop(origin, None)

    @rule(step=st.integers(1, 30))
    def age(self, step: int) -> None:
        self.now += step
        lapsed = self.database.expired(self.now)
        assert {lsa.origin for lsa in lapsed} == {
            name for name, lsa in self.model.items() if lsa.expires_ns <= self.now
        }
        for lsa in lapsed:
            self.database.remove(lsa.origin)
            del self.model[lsa.origin]

    @invariant()
    def agrees(self) -> None:
        assert {lsa.origin: lsa for lsa in self.database.lsas()} == self.model
        due_ns = min((lsa.expires_ns for lsa in self.model.values()), default=None)
        assert self.database.next_expiry_ns() == due_ns
        assert self.database.graph.nodes == tuple(sorted(self.model))
        known = {lsa.fingerprint for lsa in self.model.values()}
        assert {c.fingerprint for c in self.database.credentials()} == known
        assert len(self.database._expiries) <= 64 + 2 * len(self.database._lsas)


TestAgeing = Ageing.TestCase
TestAgeing.settings = settings(derandomize=True, max_examples=40, stateful_step_count=30)


def test_graph_is_the_same_however_it_came_about():
    graphs = GraphStore()
    base = {name: an_lsa(name, 1, *set("abc") - {name}) for name in "abc"}
    credentials = {lsa.fingerprint: credential_for(lsa) for lsa in base.values()}
    at_once, one_by_one = Database(base, credentials, graphs), Database(store=graphs)
    for name in "cab":
        store(one_by_one, base[name])
    assert at_once.graph == one_by_one.graph
