"""Revocation lists (RFC 5280 s.5), one per authority, and the newest of each in force.

What is once known to be revoked stays so; a list past its nextUpdate is still used, because
SVIDs end by themselves within the hour and a partition must not become an outage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from x0mesh.identity.bundle import TrustBundle
from x0mesh.identity.refusal import Refusal, RefusedError
from x0mesh.identity.spiffe_id import TrustDomain

MAX_LIST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list whose signature by an authority of `trust_domain` was checked."""

    trust_domain: TrustDomain
    issuer: bytes
    number: int
    serials: frozenset[int]

    @classmethod
    def from_der(cls, der: bytes, bundle: TrustBundle) -> RevocationList:
        """Raises RefusedError if it is not a list of one of the bundle's authorities."""
        if len(der) > MAX_LIST_BYTES:
            raise RefusedError(Refusal.MALFORMED, f"revocation list of {len(der)} bytes")
        try:
            parsed = x509.load_der_x509_crl(der)
            number = parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            if not any(_signed_by(parsed, authority) for authority in bundle.authorities):
                raise RefusedError(Refusal.UNKNOWN_AUTHORITY, "revocation list")
            serials = frozenset(entry.serial_number for entry in parsed)
        except RefusedError:
            raise
        except (
            ValueError,
            TypeError,
            UnsupportedAlgorithm,
            x509.ExtensionNotFound,
            x509.DuplicateExtension,
        ) as error:
            raise RefusedError(Refusal.MALFORMED, f"revocation list: {error}") from error
        return cls(bundle.trust_domain, parsed.issuer.public_bytes(), number, serials)


class Revocations:
    """The newest list of every authority."""

    def __init__(self, lists: Iterable[RevocationList] = ()) -> None:
        self._lists: dict[tuple[TrustDomain, bytes], RevocationList] = {}
        for revocation_list in lists:
            self.add(revocation_list)

    def add(self, revocation_list: RevocationList) -> bool:
        """Whether it is newer than what was known; an older one changes nothing."""
        key = (revocation_list.trust_domain, revocation_list.issuer)
        known = self._lists.get(key)
        if known is not None and revocation_list.number <= known.number:
            return False
        self._lists[key] = revocation_list
        return True

    def is_revoked(self, trust_domain: TrustDomain, chain: Sequence[x509.Certificate]) -> bool:
        """Whether any certificate of a verified chain is on its issuer's list."""
        for certificate in chain:
            known = self._lists.get((trust_domain, certificate.issuer.public_bytes()))
            if known is not None and certificate.serial_number in known.serials:
                return True
        return False


def _signed_by(parsed: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    if parsed.issuer != authority.subject:
        return False
    key = authority.public_key()
    try:
        return parsed.is_signature_valid(key)  # type: ignore[arg-type]
    except (InvalidSignature, TypeError):
        return False
