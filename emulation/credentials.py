"""The mesh's identity port over real SVIDs: its messages on one side, `identity` on the other.

The protocol counts nanoseconds since the run's start; `epoch_ns`, the Unix time of that instant,
is one number for all nodes of a run.
"""

from __future__ import annotations

import re
from typing import Final

from x0mesh.identity.bundle import TrustBundles
from x0mesh.identity.refusal import Refusal, RefusedError
from x0mesh.identity.revocation import Revocations
from x0mesh.identity.signer import SvidSigner, SvidVerifier
from x0mesh.identity.spiffe_id import SpiffeID, SpiffeIdError, TrustDomain
from x0mesh.identity.svid import X509Svid
from x0mesh.identity.verifier import VerifiedSvid
from x0mesh.mesh.messages import Credential

_PATH: Final = "/node/"
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9.-]")
_DOTS: Final = re.compile(r"\.{1,2}")


def node_id(trust_domain: str, node: str) -> SpiffeID:
    """A node's identity, different for different names: `a-1` is `spiffe://<domain>/node/a-1`.

    Bytes a path may not hold, and `_` itself, become `_` and two hexadecimal digits. Raises
    SpiffeIdError.
    """
    segment = _UNSAFE.sub(lambda found: b"_%02x" % ord(found[0]), node.encode()).decode()
    if _DOTS.fullmatch(segment):
        segment = segment.replace(".", "_2e")
    return SpiffeID(TrustDomain(trust_domain), _PATH + segment)


class CredentialSigner:
    """`mesh.credential.Signer` with one SVID of `node`."""

    def __init__(self, node: str, svid: X509Svid, epoch_ns: int) -> None:
        self._signer = SvidSigner(svid)
        self._credential = Credential(
            node=node,
            fingerprint=svid.fingerprint,
            chain=svid.chain_der,
            expires_ns=_since_start_ns(svid.expires_ns, epoch_ns),
        )

    def credential(self) -> Credential:
        return self._credential

    def sign(self, content: bytes) -> bytes:
        return self._signer.sign(content)


class CredentialVerifier:
    """`mesh.credential.Verifier` and the judge of channels, by the same bundles and revocations.

    After `trust` was given new ones, tell the node (`Node.trust_changed`) and judge open channels
    again.
    """

    def __init__(
        self,
        trust_domain: str,
        bundles: TrustBundles,
        epoch_ns: int,
        revocations: Revocations | None = None,
    ) -> None:
        self.trust = SvidVerifier(bundles, revocations)
        self._trust_domain = trust_domain
        self._epoch_ns = epoch_ns

    def channel_peer(self, node: str, chain: bytes, now_ns: int) -> VerifiedSvid:
        """That a channel's presented chain is `node`'s; raises RefusedError."""
        expected = node_id(self._trust_domain, node)
        return self.trust.verify(chain, now_ns + self._epoch_ns, expected)

    def credential_fault(self, credential: Credential, now_ns: int) -> str | None:
        try:
            verified = self.trust.verify_fingerprint(
                credential.chain,
                credential.fingerprint,
                now_ns + self._epoch_ns,
                node_id(self._trust_domain, credential.node),
            )
        except RefusedError as error:
            return error.refusal.value
        except SpiffeIdError:
            return Refusal.MALFORMED_ID.value
        if credential.expires_ns != _since_start_ns(verified.expires_ns, self._epoch_ns):
            return "expiry is not its certificate's"
        return None

    def signature_fault(
        self, credential: Credential, content: bytes, signature: bytes
    ) -> str | None:
        try:
            self.trust.check_signature(credential.chain, content, signature)
        except RefusedError as error:
            return error.refusal.value
        return None


def _since_start_ns(unix_ns: int, epoch_ns: int) -> int:
    return max(0, unix_ns - epoch_ns)
