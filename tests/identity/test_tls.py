"""Two ends of a channel: up with the right names, or refused with a reason that both ends learn."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.identity.authority import Authority
from x0mesh.identity.bundle import TrustBundle, TrustBundles
from x0mesh.identity.refusal import Refusal
from x0mesh.identity.spiffe_id import SpiffeID, TrustDomain
from x0mesh.identity.tls import (
    Closed,
    Received,
    Refused,
    TlsPump,
    Up,
    client_context,
    server_context,
)

S = 1_000_000_000
MESH = TrustDomain("mesh.test")
A = SpiffeID(MESH, "/node/a")
B = SpiffeID(MESH, "/node/b")

MakeEnd = Callable[..., Any]
Talk = Callable[[Any, Any], None]


def test_a_good_pair_comes_up_and_each_end_knows_the_other(
    authority: Authority, end: MakeEnd, talk: Talk
) -> None:
    bundle = authority.bundle()
    a = end(authority.issue(A), bundle, expected=B).client()
    b = end(authority.issue(B), bundle, expected=A).server()
    talk(a, b)
    assert [event.peer.spiffe_id for event in a.events] == [B]
    assert [event.peer.spiffe_id for event in b.events] == [A]
    assert a.events[0].peer.fingerprint == b.svid.fingerprint
    assert b.events[0].peer.fingerprint == a.svid.fingerprint
    assert a.events[0].peer.expires_ns == b.svid.expires_ns
    assert a.pump.is_up
    assert b.pump.is_up


def test_data_flows_both_ways_and_a_goodbye_is_heard(
    authority: Authority, end: MakeEnd, talk: Talk
) -> None:
    a, b = _pair(authority, end, talk)
    a.pump.send(b"x" * 100_000)
    b.pump.send(b"hello")
    talk(a, b)
    assert _received(b) == b"x" * 100_000
    assert max(len(e.content) for e in b.events if isinstance(e, Received)) <= 16384
    assert _received(a) == b"hello"
    a.pump.close()
    talk(a, b)
    assert b.events[-1] == Closed(is_clean=True)
    assert b.pump.is_over
    assert not b.pump.receive(b"more")


def test_a_lost_connection_is_no_refusal(authority: Authority, end: MakeEnd, talk: Talk) -> None:
    a, _ = _pair(authority, end, talk)
    assert a.pump.receive_eof() == [Closed(is_clean=False)]
    assert a.pump.receive_eof() == []


def test_an_end_may_leave_at_any_moment(authority: Authority, end: MakeEnd) -> None:
    bundle = authority.bundle()
    for flights in range(4):
        a = end(authority.issue(A), bundle).client()
        b = end(authority.issue(B), bundle).server()
        a.pump.start()
        for source, sink in [(a, b), (b, a), (a, b)][:flights]:
            sink.pump.receive(source.pump.outgoing())
        for leaving in (a, b):
            leaving.pump.close()
            leaving.pump.close()
            assert leaving.pump.is_over
            assert leaving.pump.receive(b"anything") == []


@pytest.mark.parametrize("pieces", [1, 7, 500])
def test_it_does_not_matter_how_the_bytes_are_cut(
    authority: Authority, end: MakeEnd, pieces: int
) -> None:
    bundle = authority.bundle()
    a = end(authority.issue(A), bundle).client()
    b = end(authority.issue(B), bundle).server()
    a.events += a.pump.start()
    while a.pump.outgoing_bytes or b.pump.outgoing_bytes:
        for source, sink in ((a, b), (b, a)):
            content = source.pump.outgoing()
            for start in range(0, len(content), pieces):
                sink.events += sink.pump.receive(content[start : start + pieces])
    assert a.pump.is_up
    assert b.pump.is_up


def test_a_client_is_not_up_before_the_server_has_judged_it(
    authority: Authority, end: MakeEnd
) -> None:
    """Its own handshake is over after the server's first flight; that proves nothing."""
    bundle = authority.bundle()
    a = end(authority.issue(A), bundle).client()
    b = end(authority.issue(B), bundle).server()
    a.pump.start()
    b.pump.receive(a.pump.outgoing())
    assert a.pump.receive(b.pump.outgoing()) == []
    assert a.pump.outgoing_bytes
    assert not a.pump.is_up


# One row per reason: what the bad end presents, the reason at the refusing end, and what the
# bad end gets to hear.
REFUSED = {
    "expired": ({"starts_s": -3600}, Refusal.EXPIRED, Refusal.EXPIRED),
    "not yet valid": ({"starts_s": 60}, Refusal.NOT_YET_VALID, Refusal.BAD_CERTIFICATE),
    "no URI": ({"uris": []}, Refusal.NO_URI, Refusal.BAD_CERTIFICATE),
    "two URIs": ({"uris": [str(A), str(B)]}, Refusal.SEVERAL_URIS, Refusal.BAD_CERTIFICATE),
    "CA": ({"is_authority": True}, Refusal.AUTHORITY_AS_LEAF, Refusal.BAD_CERTIFICATE),
    "key usage": ({"digital_signature": False}, Refusal.KEY_USAGE, Refusal.BAD_CERTIFICATE),
    "domain": (
        {"uris": ["spiffe://other.test/node/a"]},
        Refusal.FOREIGN_TRUST_DOMAIN,
        Refusal.UNKNOWN_AUTHORITY,
    ),
    "another node": (
        {"uris": ["spiffe://mesh.test/node/c"]},
        Refusal.UNEXPECTED_ID,
        Refusal.UNEXPECTED_ID,
    ),
}


@pytest.mark.parametrize("bad_end", ["client", "server"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_certificate_is_refused_and_both_ends_learn_why(
    forger: Any, end: MakeEnd, talk: Talk, case: str, bad_end: str
) -> None:
    changes, refusal, heard = REFUSED[case]
    bad = end(forger.svid(**changes), forger.bundle())
    good = end(forger.svid(uris=[str(B)]), forger.bundle(), expected=A)
    _connect(bad, good, talk, bad_end)
    assert (good.refused.refusal, good.refused.by_peer) == (refusal, False)
    assert (bad.refused.refusal, bad.refused.by_peer) == (heard, True)
    assert not any(isinstance(event, Up) for event in good.events + bad.events)


@pytest.mark.parametrize("bad_end", ["client", "server"])
def test_a_foreign_authority_is_refused(
    authority: Authority, forger: Any, end: MakeEnd, talk: Talk, bad_end: str
) -> None:
    bad = end(forger.svid(), authority.bundle())
    good = end(authority.issue(B), authority.bundle())
    _connect(bad, good, talk, bad_end)
    assert (good.refused.refusal, good.refused.by_peer) == (Refusal.UNKNOWN_AUTHORITY, False)
    assert (bad.refused.refusal, bad.refused.by_peer) == (Refusal.UNKNOWN_AUTHORITY, True)


@pytest.mark.parametrize("bad_end", ["client", "server"])
def test_a_trusted_authority_of_another_domain_is_refused(
    authority: Authority, forger: Any, end: MakeEnd, talk: Talk, bad_end: str
) -> None:
    """OpenSSL is content with this one: the chain ends at a root that is trusted."""
    both = (authority.bundle(), TrustBundle(TrustDomain("other.test"), (forger.root,)))
    bad = end(forger.svid(uris=[str(A)]), *both)
    good = end(authority.issue(B), *both)
    _connect(bad, good, talk, bad_end)
    assert (good.refused.refusal, good.refused.by_peer) == (Refusal.UNKNOWN_AUTHORITY, False)
    assert bad.refused.by_peer


@pytest.mark.parametrize("bad_end", ["client", "server"])
def test_a_revoked_svid_is_refused(
    authority: Authority, end: MakeEnd, talk: Talk, revocations_of: Any, bad_end: str
) -> None:
    svid = authority.issue(A)
    authority.revoke(svid.leaf)
    bad = end(svid, authority.bundle())
    good = end(authority.issue(B), authority.bundle(), revocations=revocations_of(authority))
    _connect(bad, good, talk, bad_end)
    assert (good.refused.refusal, good.refused.by_peer) == (Refusal.REVOKED, False)
    assert (bad.refused.refusal, bad.refused.by_peer) == (Refusal.REVOKED, True)


def test_a_client_without_a_certificate_is_refused(
    authority: Authority, end: MakeEnd, talk: Talk
) -> None:
    bad = end(None, authority.bundle()).client()
    good = end(authority.issue(B), authority.bundle()).server()
    talk(bad, good)
    assert (good.refused.refusal, good.refused.by_peer) == (Refusal.NO_CERTIFICATE, False)
    assert (bad.refused.refusal, bad.refused.by_peer) == (Refusal.NO_CERTIFICATE, True)


def test_a_server_without_a_certificate_serves_nobody(
    authority: Authority, end: MakeEnd, talk: Talk
) -> None:
    good = end(authority.issue(A), authority.bundle()).client()
    bad = end(None, authority.bundle()).server()
    talk(good, bad)
    assert good.refused.by_peer
    assert not bad.refused.by_peer


@pytest.mark.parametrize("old_end", ["client", "server"])
def test_tls_1_2_is_refused(
    authority: Authority, end: MakeEnd, talk: Talk, clock: Any, old_end: str
) -> None:
    old = end(authority.issue(A), authority.bundle())
    make = client_context if old_end == "client" else server_context
    context = make(old.svid, old.bundles)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    old.pump = TlsPump(context, is_server=old_end == "server", judge=_never)
    good = end(authority.issue(B), authority.bundle())
    if old_end == "client":
        talk(old, good.server())
        assert (good.refused.refusal, good.refused.by_peer) == (Refusal.TLS_VERSION, False)
        assert (old.refused.refusal, old.refused.by_peer) == (Refusal.TLS_VERSION, True)
    else:
        talk(good.client(), old)
        assert (good.refused.refusal, good.refused.by_peer) == (Refusal.TLS_VERSION, True)
        assert (old.refused.refusal, old.refused.by_peer) == (Refusal.TLS_VERSION, False)


def test_validity_is_judged_by_the_callers_clock_and_no_other(
    end: MakeEnd, talk: Talk, clock: Any
) -> None:
    """Fifty years ahead OpenSSL, by the host's clock, would find everything not yet valid."""
    clock.now_ns += 50 * 365 * 86_400 * S
    a, _ = _pair(Authority(MESH, clock), end, talk)
    assert a.pump.is_up


def test_no_session_can_be_resumed(authority: Authority, end: MakeEnd, talk: Talk) -> None:
    """A resumed session is judged neither for revocation nor for expiry."""
    a, _ = _pair(authority, end, talk)
    session = a.pump._tls.session
    assert session is None or not session.has_ticket


def test_a_peer_that_goes_on_after_its_refusal_is_not_heard(
    authority: Authority, end: MakeEnd, talk: Talk, revocations_of: Any
) -> None:
    svid = authority.issue(A)
    authority.revoke(svid.leaf)
    bad = end(svid, authority.bundle()).client()
    good = end(
        authority.issue(B), authority.bundle(), revocations=revocations_of(authority)
    ).server()
    bad.events += bad.pump.start()
    good.events += good.pump.receive(bad.pump.outgoing())
    bad.pump.receive(good.pump.outgoing())
    good.events += good.pump.receive(bad.pump.outgoing())
    assert good.refused.refusal is Refusal.REVOKED
    assert good.pump.receive(b"\x17\x03\x03\x00\x10" + bytes(16)) == []


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=400), max_size=4))
def test_any_bytes_from_a_stranger_end_in_one_refusal_or_in_waiting(chunks: list[bytes]) -> None:
    pump = TlsPump(_STRANGE, is_server=True, judge=_never)
    events = pump.start()
    for chunk in chunks:
        events += pump.receive(chunk)
    assert len(events) <= 1
    for event in events:
        assert isinstance(event, Refused | Closed)
        assert pump.is_over


@settings(max_examples=60)
@given(st.integers(0, 9999), st.integers(1, 255))
def test_a_damaged_handshake_never_comes_up(where: int, bits: int) -> None:
    """One byte of the server's flight is changed: the client refuses, or waits for more."""
    a = TlsPump(_STRANGE_CLIENT, is_server=False, judge=_never)
    b = TlsPump(_STRANGE, is_server=True, judge=_never)
    a.start()
    b.receive(a.outgoing())
    flight = bytearray(b.outgoing())
    flight[where % len(flight)] ^= bits
    with contextlib.suppress(_JudgedError):
        assert not any(isinstance(event, Up | Received) for event in a.receive(bytes(flight)))


@pytest.mark.parametrize("is_revoked", [False, True])
def test_the_same_over_a_real_socket(
    authority: Authority, end: MakeEnd, revocations_of: Any, is_revoked: bool
) -> None:
    svid = authority.issue(A)
    if is_revoked:
        authority.revoke(svid.leaf)
    a = end(svid, authority.bundle(), expected=B).client()
    b = end(
        authority.issue(B),
        authority.bundle(),
        expected=A,
        revocations=revocations_of(authority),
    ).server()
    one, two = socket.socketpair()
    serving = threading.Thread(target=_drive, args=(b, two))
    serving.start()
    _drive(a, one)
    serving.join(30)
    assert not serving.is_alive()
    if is_revoked:
        assert (b.refused.refusal, b.refused.by_peer) == (Refusal.REVOKED, False)
        assert (a.refused.refusal, a.refused.by_peer) == (Refusal.REVOKED, True)
    else:
        assert _received(a) == b"for spiffe://mesh.test/node/a"
        assert _received(b) == b"for spiffe://mesh.test/node/b"


def _drive(this: Any, connection: socket.socket) -> None:
    """Until refused, or until one message came and went; then end as the pump's user must."""
    with connection:
        connection.settimeout(30)
        this.events += this.pump.start()
        connection.sendall(this.pump.outgoing())
        while not this.pump.is_over and not _received(this):
            new = this.pump.receive(connection.recv(65536))
            this.events += new
            for event in new:
                if isinstance(event, Up):
                    this.pump.send(f"for {event.peer.spiffe_id}".encode())
            connection.sendall(this.pump.outgoing())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def _pair(authority: Authority, end: MakeEnd, talk: Talk) -> tuple[Any, Any]:
    bundle = authority.bundle()
    a = end(authority.issue(A), bundle, expected=B).client()
    b = end(authority.issue(B), bundle, expected=A).server()
    talk(a, b)
    assert a.pump.is_up
    assert b.pump.is_up
    return a, b


def _connect(bad: Any, good: Any, talk: Talk, bad_end: str) -> None:
    if bad_end == "client":
        talk(bad.client(), good.server())
    else:
        talk(good.client(), bad.server())


def _received(this: Any) -> bytes:
    return b"".join(event.content for event in this.events if isinstance(event, Received))


class _JudgedError(Exception):
    """The handshake was accepted as far as TLS goes."""


def _never(chain: bytes) -> Any:
    raise _JudgedError


_AUTHORITY = Authority(MESH, lambda: 1_600_000_000 * S)
_BUNDLES = TrustBundles([_AUTHORITY.bundle()])
_STRANGE = server_context(_AUTHORITY.issue(B), _BUNDLES)
_STRANGE_CLIENT = client_context(_AUTHORITY.issue(A), _BUNDLES)
