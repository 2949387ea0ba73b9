"""What a peer proves and whom it believes, made from the `Identity` that the engine sent."""

from __future__ import annotations

import ssl
from typing import Final

from x0mesh.emulation.control import Identity
from x0mesh.emulation.credentials import CredentialSigner, CredentialVerifier
from x0mesh.identity.bundle import TrustBundle, TrustBundles
from x0mesh.identity.revocation import RevocationList, Revocations
from x0mesh.identity.spiffe_id import TrustDomain
from x0mesh.identity.svid import X509Svid
from x0mesh.identity.tls import client_context, server_context
from x0mesh.identity.verifier import VerifiedSvid
from x0mesh.mesh.messages import Credential

MAX_JUDGED: Final = 8192
"""Believed credentials that a node remembers; it forgets them all when it has seen this many."""


class Trust:
    """One generation of identity, bundle and revocations; raises `identity.RefusedError`."""

    def __init__(self, node: str, identity: Identity) -> None:
        trust_domain = TrustDomain(identity.trust_domain)
        svid = X509Svid.from_der(identity.chain, identity.key)
        bundle = TrustBundle.from_der(trust_domain, identity.bundle)
        bundles = TrustBundles([bundle])
        revocations = Revocations()
        if identity.revocation_list:
            revocations.add(RevocationList.from_der(identity.revocation_list, bundle))
        epoch_ns = identity.realtime_offset_ns
        self.signer = CredentialSigner(node, svid, epoch_ns)
        self.verifier = CredentialVerifier(identity.trust_domain, bundles, epoch_ns, revocations)
        self._contexts = {
            True: server_context(svid, bundles),
            False: client_context(svid, bundles),
        }

    def context(self, is_server: bool) -> ssl.SSLContext:
        """For one end of TLS."""
        return self._contexts[is_server]

    def judge(self, neighbour: str, chain: bytes, now_ns: int) -> VerifiedSvid:
        """That `chain` is the neighbour's (mesh clock); raises RefusedError."""
        return self.verifier.channel_peer(neighbour, chain, now_ns)


class RememberingVerifier:
    """`mesh.credential.Verifier` that follows a certificate's path once, not per advertisement.

    What was believed stays believed until its expiry, or until `forget`: a chain's judgement
    depends on nothing else but bundles and revocations.
    """

    def __init__(self, trust: Trust) -> None:
        self._verifier = trust.verifier
        self._believed: dict[str, Credential] = {}

    def forget(self, trust: Trust) -> None:
        """Bundle or revocations are those of `trust` now."""
        self._verifier = trust.verifier
        self._believed.clear()

    def credential_fault(self, credential: Credential, now_ns: int) -> str | None:
        known = self._believed.get(credential.fingerprint)
        if known == credential and now_ns < credential.expires_ns:
            return None
        fault = self._verifier.credential_fault(credential, now_ns)
        if fault is None:
            if len(self._believed) >= MAX_JUDGED:
                self._believed.clear()
            self._believed[credential.fingerprint] = credential
        return fault

    def signature_fault(
        self, credential: Credential, content: bytes, signature: bytes
    ) -> str | None:
        return self._verifier.signature_fault(credential, content, signature)
