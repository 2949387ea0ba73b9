"""The second step of verification: a presented chain against what a SPIFFE validator must know.

TLS stacks accept what SPIFFE forbids: a chain to *any* trusted root whatever trust domain the
leaf claims, leaves that are authorities, several URI names. So every chain is judged here, too,
against the bundle of the trust domain that its leaf names and no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from x0mesh.identity.authority import MAX_SVID_TTL_NS, NOT_BEFORE_SLACK_NS
from x0mesh.identity.bundle import TrustBundles
from x0mesh.identity.certificate import chain_fingerprint, join_chain, moment, parse_chain, unix_ns
from x0mesh.identity.profile import leaf_id
from x0mesh.identity.refusal import Refusal, RefusedError
from x0mesh.identity.revocation import Revocations
from x0mesh.identity.spiffe_id import SpiffeID

MAX_LIFE_NS: Final = MAX_SVID_TTL_NS + 2 * NOT_BEFORE_SLACK_NS
"""notBefore to notAfter: the hour's ceiling, and room for the issuer's slack."""
_MAX_INTERMEDIATES: Final = 2


@dataclass(frozen=True, slots=True)
class VerifiedSvid:
    """Who presented a chain, and until when (Unix ns) that may be believed.

    `chain` is the verified path in DER, leaf first, without the root and whatever else was
    presented beside it: OpenSSL sends the root along.
    """

    spiffe_id: SpiffeID
    chain: bytes
    expires_ns: int

    @property
    def fingerprint(self) -> str:
        return chain_fingerprint(self.chain)


def verify(
    chain: bytes,
    bundles: TrustBundles,
    revocations: Revocations,
    now_ns: int,
    expected: SpiffeID | None = None,
) -> VerifiedSvid:
    """Judge concatenated DER, leaf first, at Unix time `now_ns`; raises RefusedError.

    `expected` is the only identity that will do, if there is one.
    """
    certificates = parse_chain(chain)
    leaf = certificates[0]
    spiffe_id = leaf_id(leaf)
    bundle = bundles.get(spiffe_id.trust_domain)
    if bundle is None:
        raise RefusedError(Refusal.FOREIGN_TRUST_DOMAIN, spiffe_id.trust_domain.name)
    expires_ns = _check_validity(leaf, now_ns)
    path = _path(certificates, bundle.authorities, now_ns)
    if revocations.is_revoked(spiffe_id.trust_domain, path):
        raise RefusedError(Refusal.REVOKED, str(spiffe_id))
    if expected is not None and spiffe_id != expected:
        raise RefusedError(Refusal.UNEXPECTED_ID, f"{spiffe_id}, expected {expected}")
    return VerifiedSvid(spiffe_id, join_chain(path[:-1]), expires_ns)


def _check_validity(leaf: x509.Certificate, now_ns: int) -> int:
    starts_ns = unix_ns(leaf.not_valid_before_utc)
    ends_ns = unix_ns(leaf.not_valid_after_utc)
    if now_ns < starts_ns:
        raise RefusedError(Refusal.NOT_YET_VALID)
    if now_ns >= ends_ns:
        raise RefusedError(Refusal.EXPIRED)
    if ends_ns - starts_ns > MAX_LIFE_NS:
        raise RefusedError(Refusal.LIVES_TOO_LONG)
    return ends_ns


def _path(
    certificates: tuple[x509.Certificate, ...],
    authorities: tuple[x509.Certificate, ...],
    now_ns: int,
) -> list[x509.Certificate]:
    """The verified path from the leaf to one of `authorities` (RFC 5280 s.6)."""
    if not authorities:
        raise RefusedError(Refusal.UNKNOWN_AUTHORITY, "empty bundle")
    verifier = (
        PolicyBuilder()
        .store(Store(list(authorities)))
        .time(moment(now_ns))
        .max_chain_depth(_MAX_INTERMEDIATES)
        .build_client_verifier()
    )
    try:
        return verifier.verify(certificates[0], list(certificates[1:])).chain
    except (VerificationError, ValueError) as error:
        raise RefusedError(Refusal.UNKNOWN_AUTHORITY, str(error)) from error
