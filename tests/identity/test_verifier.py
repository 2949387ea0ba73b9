"""Each reason to refuse a chain, and bytes from strangers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from x0mesh.identity.authority import Authority
from x0mesh.identity.bundle import TrustBundle, TrustBundles
from x0mesh.identity.certificate import join_chain, parse_chain
from x0mesh.identity.refusal import Refusal, RefusedError
from x0mesh.identity.revocation import RevocationList, Revocations
from x0mesh.identity.signer import SvidSigner, SvidVerifier
from x0mesh.identity.spiffe_id import SpiffeID, TrustDomain
from x0mesh.identity.svid import X509Svid
from x0mesh.identity.verifier import verify

S = 1_000_000_000
NOW_NS = 1_600_000_000 * S
MESH = TrustDomain("mesh.test")
OTHER = TrustDomain("other.test")
A = SpiffeID(MESH, "/node/a")
SIGNED = Authority(MESH, lambda: NOW_NS)
SVID = SIGNED.issue(A)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"uris": []}, Refusal.NO_URI),
        ({"uris": [str(A), "spiffe://mesh.test/node/b"]}, Refusal.SEVERAL_URIS),
        ({"uris": ["https://mesh.test/node/a"]}, Refusal.MALFORMED_ID),
        ({"uris": ["spiffe://mesh.test"]}, Refusal.MALFORMED_ID),
        ({"uris": ["spiffe://MESH.test/node/a"]}, Refusal.MALFORMED_ID),
        ({"is_authority": True}, Refusal.AUTHORITY_AS_LEAF),
        ({"digital_signature": False}, Refusal.KEY_USAGE),
        ({"usage_critical": False}, Refusal.KEY_USAGE),
        ({"extended": [ExtendedKeyUsageOID.SERVER_AUTH]}, Refusal.KEY_USAGE),
        ({"extended": [ExtendedKeyUsageOID.CLIENT_AUTH]}, Refusal.KEY_USAGE),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, Refusal.KEY_TYPE),
        ({"key": ed25519.Ed25519PrivateKey.generate()}, Refusal.KEY_TYPE),
        ({"uris": ["spiffe://other.test/node/a"]}, Refusal.FOREIGN_TRUST_DOMAIN),
        ({"starts_s": 1}, Refusal.NOT_YET_VALID),
        ({"starts_s": -3600}, Refusal.EXPIRED),
        ({"life_s": 2 * 3600}, Refusal.LIVES_TOO_LONG),
        ({"uris": ["spiffe://mesh.test/node/b"]}, Refusal.UNEXPECTED_ID),
    ],
    ids=lambda value: value.name if isinstance(value, Refusal) else "",
)
def test_a_leaf_with_one_fault_is_refused_for_it(
    forger: Any, refusal_of: Callable[..., Any], changes: dict[str, Any], refusal: Refusal
) -> None:
    bundles = TrustBundles([forger.bundle()])

    def judge(svid: X509Svid) -> object:
        return verify(svid.chain_der, bundles, Revocations(), NOW_NS, A)

    assert refusal_of(lambda: judge(forger.svid(**changes))) is refusal
    judge(forger.svid())


def test_validity_ends_at_not_after_and_begins_at_not_before(refusal_of: Any) -> None:
    bundles = TrustBundles([SIGNED.bundle()])

    def at(now_ns: int) -> object:
        return verify(SVID.chain_der, bundles, Revocations(), now_ns)

    at(NOW_NS - 10 * S)
    at(SVID.expires_ns - 1)
    assert refusal_of(lambda: at(NOW_NS - 10 * S - 1)) is Refusal.NOT_YET_VALID
    assert refusal_of(lambda: at(SVID.expires_ns)) is Refusal.EXPIRED


def test_another_domains_authority_cannot_speak_for_this_one(
    authority: Authority, forger: Any, clock: Any, refusal_of: Any
) -> None:
    """The chain leads to a root that is trusted, but for another trust domain."""
    theirs = TrustBundle(OTHER, (forger.root,))
    bundles = TrustBundles([authority.bundle(), theirs])
    forged = forger.svid(uris=[str(A)])
    honest = forger.svid(uris=["spiffe://other.test/node/a"])
    assert (
        refusal_of(lambda: verify(forged.chain_der, bundles, Revocations(), clock.now_ns))
        is Refusal.UNKNOWN_AUTHORITY
    )
    verify(honest.chain_der, bundles, Revocations(), clock.now_ns)


def test_an_empty_bundle_trusts_nobody(refusal_of: Any) -> None:
    bundles = TrustBundles([TrustBundle(MESH)])
    refusal = refusal_of(lambda: verify(SVID.chain_der, bundles, Revocations(), NOW_NS))
    assert refusal is Refusal.UNKNOWN_AUTHORITY


def test_what_was_sent_beside_the_path_is_not_part_of_the_identity() -> None:
    bundles = TrustBundles([SIGNED.bundle()])
    with_root = SVID.chain_der + SIGNED.bundle().to_der()
    verified = verify(with_root, bundles, Revocations(), NOW_NS)
    assert verified.chain == SVID.chain_der
    assert verified.fingerprint == SVID.fingerprint


def test_a_signature_binds_key_and_content(refusal_of: Any) -> None:
    verifier = SvidVerifier(TrustBundles([SIGNED.bundle()]))
    signature = SvidSigner(SVID).sign(b"content")
    verifier.check_signature(SVID.chain_der, b"content", signature)
    for chain, content, what in (
        (SVID.chain_der, b"Content", signature),
        (SVID.chain_der, b"content", b""),
        (SVID.chain_der, b"content", signature[:-1]),
        (SIGNED.issue(A).chain_der, b"content", signature),
    ):
        refusal = refusal_of(lambda c=chain, t=content, s=what: verifier.check_signature(c, t, s))
        assert refusal is Refusal.BAD_SIGNATURE


def test_a_signature_made_without_our_context_is_not_accepted(refusal_of: Any) -> None:
    from cryptography.hazmat.primitives import hashes

    signature = SVID.key.sign(b"content", ec.ECDSA(hashes.SHA256()))
    verifier = SvidVerifier(TrustBundles([SIGNED.bundle()]))
    refusal = refusal_of(lambda: verifier.check_signature(SVID.chain_der, b"content", signature))
    assert refusal is Refusal.BAD_SIGNATURE


def test_chains_too_long_are_refused_before_they_are_parsed(refusal_of: Any) -> None:
    assert refusal_of(lambda: parse_chain(b"")) is Refusal.NO_CERTIFICATE
    assert refusal_of(lambda: parse_chain(SVID.chain_der * 9)) is Refusal.MALFORMED
    assert refusal_of(lambda: parse_chain(b"\x30\x82\x40\x00" + bytes(16384))) is Refusal.MALFORMED


@st.composite
def _mutated(draw: st.DrawFn, original: bytes) -> bytes:
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content) - 1))
        match draw(st.sampled_from(["flip", "cut", "copy", "insert"])):
            case "flip":
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[at : at + draw(st.integers(1, 64))]
            case "copy":
                content[at:at] = content[: draw(st.integers(0, 64))]
            case _:
                content[at:at] = draw(st.binary(min_size=1, max_size=16))
        if not content:
            break
    return bytes(content)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(_mutated(SVID.chain_der) | st.binary(max_size=200))
def test_any_bytes_are_refused_with_one_typed_error(content: bytes) -> None:
    bundles = TrustBundles([SIGNED.bundle()])
    if content == SVID.chain_der:
        return
    with pytest.raises(RefusedError):
        verify(content, bundles, Revocations(), NOW_NS)


@settings(max_examples=150)
@given(_mutated(SVID.pem()) | st.binary(max_size=200))
def test_any_pem_is_an_svid_or_one_typed_error(text: bytes) -> None:
    with contextlib.suppress(RefusedError):
        X509Svid.from_pem(text)


@settings(max_examples=150)
@given(_mutated(SVID.key_der()))
def test_any_key_is_the_leafs_or_one_typed_error(key: bytes) -> None:
    with contextlib.suppress(RefusedError):
        assert X509Svid.from_der(SVID.chain_der, key).spiffe_id == A


@settings(max_examples=150)
@given(_mutated(SIGNED.bundle().to_der()) | st.binary(max_size=200))
def test_any_bundle_is_authorities_or_one_typed_error(content: bytes) -> None:
    with contextlib.suppress(RefusedError):
        bundle = TrustBundle.from_der(MESH, content)
        assert join_chain(bundle.authorities) == content


@settings(max_examples=150)
@given(_mutated(SIGNED.revocation_list()) | st.binary(max_size=200))
def test_any_revocation_list_is_the_authoritys_or_one_typed_error(content: bytes) -> None:
    with contextlib.suppress(RefusedError):
        assert not RevocationList.from_der(content, SIGNED.bundle()).serials
