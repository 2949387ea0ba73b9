"""Trust bundles: the authorities of each trust domain, kept apart.

A merged bundle would let one trust domain's authority speak for another's workloads
(SPIFFE Federation s.4), so there is no operation that merges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from x0mesh.identity.certificate import join_chain, parse_chain, parse_pem
from x0mesh.identity.refusal import Refusal, RefusedError
from x0mesh.identity.spiffe_id import TrustDomain


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """One trust domain's signing certificates; without any, none of its SVIDs is trusted."""

    trust_domain: TrustDomain
    authorities: tuple[x509.Certificate, ...] = ()

    @classmethod
    def from_der(cls, trust_domain: TrustDomain, der: bytes) -> TrustBundle:
        """From concatenated DER; raises RefusedError."""
        return cls._of(trust_domain, parse_chain(der) if der else ())

    @classmethod
    def from_pem(cls, trust_domain: TrustDomain, text: bytes) -> TrustBundle:
        """From the certificates of a PEM file; raises RefusedError."""
        return cls._of(trust_domain, parse_pem(text))

    def to_der(self) -> bytes:
        return join_chain(self.authorities)

    def to_pem(self) -> bytes:
        return b"".join(authority.public_bytes(Encoding.PEM) for authority in self.authorities)

    @classmethod
    def _of(
        cls, trust_domain: TrustDomain, authorities: tuple[x509.Certificate, ...]
    ) -> TrustBundle:
        for authority in authorities:
            _check_authority(authority)
        return cls(trust_domain, authorities)


class TrustBundles(Mapping[TrustDomain, TrustBundle]):
    """Bundles by trust domain; two for the same domain are refused with RefusedError."""

    def __init__(self, bundles: Iterable[TrustBundle] = ()) -> None:
        self._bundles: dict[TrustDomain, TrustBundle] = {}
        for bundle in bundles:
            if bundle.trust_domain in self._bundles:
                raise RefusedError(Refusal.MALFORMED, f"two bundles for {bundle.trust_domain.name}")
            self._bundles[bundle.trust_domain] = bundle

    def __getitem__(self, trust_domain: TrustDomain) -> TrustBundle:
        return self._bundles[trust_domain]

    def __iter__(self) -> Iterator[TrustDomain]:
        return iter(self._bundles)

    def __len__(self) -> int:
        return len(self._bundles)


def _check_authority(certificate: x509.Certificate) -> None:
    """X509-SVID s.4: a signing certificate has the cA flag."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError) as error:
        raise RefusedError(Refusal.MALFORMED, f"authority: {error}") from error
    if not constraints.value.ca:
        raise RefusedError(Refusal.MALFORMED, "an authority without the cA flag")
