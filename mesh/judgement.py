"""Whether an advertisement may be believed: who may say it, until when, and with whose key."""

from __future__ import annotations

from typing import Final

from x0mesh.mesh.codec import signed_content
from x0mesh.mesh.credential import Verifier
from x0mesh.mesh.messages import Credential, Lsa

EXPIRED: Final = "advertisement expired"
FOREIGN: Final = "credential of another node"
OUTLIVES: Final = "advertisement outlives its credential"
TOO_MANY_NEIGHBOURS: Final = "too many neighbours"
CREDENTIAL: Final = "credential: "
"""Prefix of reasons that condemn the identity itself, not only one advertisement."""


def plain_fault(lsa: Lsa, now: int, max_neighbours: int) -> str | None:
    """What is wrong before any key is looked at."""
    if now >= lsa.expires_ns:
        return EXPIRED
    if len(lsa.neighbours) > max_neighbours:
        return TOO_MANY_NEIGHBOURS
    return None


def credential_fault(verifier: Verifier, credential: Credential, now: int) -> str | None:
    """Why this identity is not trusted (now), with the prefix `CREDENTIAL`."""
    fault = verifier.credential_fault(credential, now)
    return None if fault is None else CREDENTIAL + fault


def signature_fault(verifier: Verifier, lsa: Lsa, credential: Credential) -> str | None:
    """Why `lsa` is not what the holder of the verified `credential` says about itself."""
    if credential.node != lsa.origin:
        return FOREIGN
    if lsa.expires_ns > credential.expires_ns:
        return OUTLIVES
    return verifier.signature_fault(credential, signed_content(lsa), lsa.signature)
