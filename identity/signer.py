"""Signatures over protocol content with an SVID's key, and who may be believed to have made them.

Structurally the content half of the mesh's identity port; the half that builds its messages
belongs to the engine, because this room knows none of them.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from x0mesh.identity.bundle import TrustBundles
from x0mesh.identity.certificate import chain_fingerprint, parse_chain
from x0mesh.identity.profile import leaf_key
from x0mesh.identity.refusal import Refusal, RefusedError
from x0mesh.identity.revocation import Revocations
from x0mesh.identity.spiffe_id import SpiffeID
from x0mesh.identity.svid import X509Svid
from x0mesh.identity.verifier import VerifiedSvid, verify

_CONTEXT: Final = b"x0mesh signed content 1\x00"
"""Prefixed to all content: the same key also signs TLS handshakes (RFC 8446 s.4.4.3)."""


class SvidSigner:
    """Holds one SVID."""

    def __init__(self, svid: X509Svid) -> None:
        self.svid = svid

    def sign(self, content: bytes) -> bytes:
        """ECDSA with SHA-256 in DER, at most 72 bytes; differs from call to call."""
        return self.svid.key.sign(_CONTEXT + content, ec.ECDSA(hashes.SHA256()))


class SvidVerifier:
    """Holds trust bundles and revocations; both may be replaced while in use."""

    def __init__(self, bundles: TrustBundles, revocations: Revocations | None = None) -> None:
        self.bundles = bundles
        self.revocations = Revocations() if revocations is None else revocations

    def verify(self, chain: bytes, now_ns: int, expected: SpiffeID | None = None) -> VerifiedSvid:
        """See `verifier.verify`; raises RefusedError."""
        return verify(chain, self.bundles, self.revocations, now_ns, expected)

    def verify_fingerprint(
        self, chain: bytes, fingerprint: str, now_ns: int, expected: SpiffeID
    ) -> VerifiedSvid:
        """Also that `fingerprint` is the chain's and nothing idle is in it; RefusedError."""
        if chain_fingerprint(chain) != fingerprint:
            raise RefusedError(Refusal.WRONG_FINGERPRINT)
        verified = self.verify(chain, now_ns, expected)
        if verified.chain != chain:
            raise RefusedError(Refusal.MALFORMED, "more certificates than the path needs")
        return verified

    def check_signature(self, chain: bytes, content: bytes, signature: bytes) -> None:
        """That the key of an already verified chain signed `content`; raises RefusedError."""
        key = leaf_key(parse_chain(chain)[0])
        try:
            key.verify(signature, _CONTEXT + content, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise RefusedError(Refusal.BAD_SIGNATURE) from error
