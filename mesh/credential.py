"""The identity port: how a node signs its advertisements and verifies others'.

`identity/` will implement it with SVID keys; `FakeSigner` stands in for the simulator and tests:
it binds a signature to origin and content, so tampering and speaking for another node are caught,
but offers no secrecy of keys.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from x0mesh.mesh.messages import Credential


class Signer(Protocol):
    """Holds one node's SVID."""

    def credential(self) -> Credential: ...

    def sign(self, content: bytes) -> bytes: ...


class Verifier(Protocol):
    """Holds trust bundles and revocations. Answers are reasons; None means good."""

    def credential_fault(self, credential: Credential, now_ns: int) -> str | None: ...

    def signature_fault(
        self, credential: Credential, content: bytes, signature: bytes
    ) -> str | None: ...


class FakeSigner:
    """Deterministic stand-in for an SVID key; `serial` tells one SVID of a node from the next."""

    def __init__(self, node: str, expires_ns: int, serial: int = 1) -> None:
        chain = f"fake-svid:{node}:{serial}".encode()
        self._credential = Credential(
            node=node,
            fingerprint=hashlib.sha256(chain).hexdigest()[:16],
            chain=chain,
            expires_ns=expires_ns,
        )

    def credential(self) -> Credential:
        return self._credential

    def sign(self, content: bytes) -> bytes:
        return hashlib.blake2b(content, key=self._credential.chain, digest_size=16).digest()


class FakeVerifier:
    """Accepts what `FakeSigner` makes, unless expired or in `revoked` (fingerprints)."""

    def __init__(self, revoked: frozenset[str] = frozenset()) -> None:
        self.revoked = revoked

    def credential_fault(self, credential: Credential, now_ns: int) -> str | None:
        if hashlib.sha256(credential.chain).hexdigest()[:16] != credential.fingerprint:
            return "fingerprint mismatch"
        prefix, _, rest = credential.chain.decode("ascii", "replace").partition(":")
        if prefix != "fake-svid" or rest.rpartition(":")[0] != credential.node:
            return "foreign credential"
        if credential.fingerprint in self.revoked:
            return "revoked"
        if now_ns >= credential.expires_ns:
            return "expired"
        return None

    def signature_fault(
        self, credential: Credential, content: bytes, signature: bytes
    ) -> str | None:
        good = hashlib.blake2b(content, key=credential.chain, digest_size=16).digest()
        return None if good == signature else "bad signature"
