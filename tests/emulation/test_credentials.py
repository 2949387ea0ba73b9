"""Real SVIDs behind the mesh's identity port."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cryptography", reason="the extra `emulation` is not installed")

from x0mesh.emulation.credentials import CredentialSigner, CredentialVerifier, node_id
from x0mesh.identity.authority import Authority
from x0mesh.identity.bundle import TrustBundles
from x0mesh.identity.refusal import Refusal
from x0mesh.identity.revocation import RevocationList
from x0mesh.identity.spiffe_id import SpiffeID, TrustDomain
from x0mesh.mesh import limits
from x0mesh.mesh.codec import decode, encode
from x0mesh.mesh.credential import Signer, Verifier
from x0mesh.mesh.messages import Update

S = 1_000_000_000
EPOCH_NS = 1_700_000_000 * S
AUTHORITY = Authority(TrustDomain("mesh.test"), lambda: EPOCH_NS)


def _signer(node: str = "a") -> CredentialSigner:
    return CredentialSigner(node, AUTHORITY.issue(node_id("mesh.test", node), 60 * S), EPOCH_NS)


@pytest.fixture
def verifier() -> CredentialVerifier:
    return CredentialVerifier("mesh.test", TrustBundles([AUTHORITY.bundle()]), EPOCH_NS)


def test_a_nodes_credential_and_signature_are_believed_after_the_wire(
    verifier: CredentialVerifier,
) -> None:
    signer: Signer = _signer()
    judge: Verifier = verifier
    sent = decode(encode(Update((), (signer.credential(),))))
    assert isinstance(sent, Update)
    (credential,) = sent.credentials
    assert credential.expires_ns == 60 * S
    assert judge.credential_fault(credential, 0) is None
    assert judge.signature_fault(credential, b"lsa", signer.sign(b"lsa")) is None
    assert judge.signature_fault(credential, b"LSA", signer.sign(b"lsa")) == "bad signature"
    assert len(signer.sign(b"lsa")) <= limits.MAX_SIGNATURE_BYTES


def test_a_credential_ends_with_its_certificate(verifier: CredentialVerifier) -> None:
    credential = _signer().credential()
    assert verifier.credential_fault(credential, 60 * S - 1) is None
    assert verifier.credential_fault(credential, 60 * S) == "expired"


def test_a_credential_changed_in_any_field_is_refused(verifier: CredentialVerifier) -> None:
    good = _signer().credential()
    root = AUTHORITY.bundle().to_der()
    longer = _signer().credential().chain + root
    for changes, fault in (
        ({"node": "b"}, Refusal.UNEXPECTED_ID.value),
        ({"node": "x" * 3000}, Refusal.MALFORMED_ID.value),
        ({"fingerprint": "0" * 64}, Refusal.WRONG_FINGERPRINT.value),
        ({"chain": _signer().credential().chain}, Refusal.WRONG_FINGERPRINT.value),
        ({"expires_ns": 61 * S}, "expiry is not its certificate's"),
        ({"expires_ns": 59 * S}, "expiry is not its certificate's"),
        (
            {"chain": longer, "fingerprint": hashlib.sha256(longer).hexdigest()},
            Refusal.MALFORMED.value,
        ),
    ):
        assert verifier.credential_fault(msgspec.structs.replace(good, **changes), 0) == fault


def test_a_revocation_takes_effect_when_the_list_arrives(verifier: CredentialVerifier) -> None:
    svid = AUTHORITY.issue(node_id("mesh.test", "a"))
    credential = CredentialSigner("a", svid, EPOCH_NS).credential()
    assert verifier.credential_fault(credential, 0) is None
    AUTHORITY.revoke(svid.leaf)
    newest = RevocationList.from_der(AUTHORITY.revocation_list(), AUTHORITY.bundle())
    verifier.trust.revocations.add(newest)
    assert verifier.credential_fault(credential, 0) == "revoked"


def test_a_channels_peer_must_be_the_node_at_the_links_other_end(
    verifier: CredentialVerifier,
) -> None:
    chain = _signer("a").credential().chain
    assert verifier.channel_peer("a", chain, 0).spiffe_id == node_id("mesh.test", "a")
    with pytest.raises(ValueError, match="unexpected SPIFFE ID"):
        verifier.channel_peer("b", chain, 0)


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_any_two_node_names_have_different_identities(one: str, two: str) -> None:
    first, second = node_id("mesh.test", one), node_id("mesh.test", two)
    assert SpiffeID.parse(str(first)) == first
    assert (first == second) == (one == two)


@pytest.mark.parametrize(
    ("node", "path"),
    [("a-1", "/node/a-1"), ("..", "/node/_2e_2e"), ("São Paulo", "/node/S_c3_a3o_20Paulo")],
)
def test_node_identities_are_readable(node: str, path: str) -> None:
    assert node_id("mesh.test", node).path == path
