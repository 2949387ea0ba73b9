"""The embedded authority: one P-256 root of a trust domain, short-lived SVIDs, revocation.

Time comes from the caller's clock. Private keys always come from the system's random source;
only serial numbers can be drawn from elsewhere, because a predictable key is no key.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from x0mesh.identity.bundle import TrustBundle
from x0mesh.identity.certificate import NS_PER_S, moment, unix_ns
from x0mesh.identity.spiffe_id import SpiffeID, TrustDomain
from x0mesh.identity.svid import X509Svid

MAX_SVID_TTL_NS: Final = 3600 * NS_PER_S
NOT_BEFORE_SLACK_NS: Final = 10 * NS_PER_S
"""SVIDs are valid from a little before they are issued, for receivers whose clock is behind."""
ROOT_TTL_NS: Final = 24 * 3600 * NS_PER_S
LIST_TTL_NS: Final = 3600 * NS_PER_S
_SERIAL_BYTES: Final = 16


class AuthorityError(ValueError):
    """Asked for an SVID that this authority does not issue."""


class Authority:
    """Issues and revokes the SVIDs of one trust domain. `clock` gives Unix nanoseconds."""

    def __init__(
        self,
        trust_domain: TrustDomain,
        clock: Callable[[], int],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.trust_domain = trust_domain
        self._clock = clock
        self._random_bytes = random_bytes
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"authority {self._serial():x}")
        self._root = self._self_signed()
        self._revoked: dict[int, int] = {}
        self._list_number = 0
        self._list_ns = 0

    def bundle(self) -> TrustBundle:
        return TrustBundle(self.trust_domain, (self._root,))

    def issue(self, spiffe_id: SpiffeID, ttl_ns: int = MAX_SVID_TTL_NS) -> X509Svid:
        """A new key and its SVID, ending `ttl_ns` from now rounded down to a second.

        Never beyond an hour, nor beyond the root's own end. Raises AuthorityError.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        return X509Svid.of((self.sign(spiffe_id, key.public_key(), ttl_ns),), key)

    def sign(
        self, spiffe_id: SpiffeID, public_key: ec.EllipticCurvePublicKey, ttl_ns: int
    ) -> x509.Certificate:
        """The leaf certificate for a key that stays where it is; raises AuthorityError."""
        if spiffe_id.trust_domain != self.trust_domain or not spiffe_id.path:
            raise AuthorityError(f"{spiffe_id} is no workload of {self.trust_domain.name}")
        if not isinstance(public_key.curve, ec.SECP256R1):
            raise AuthorityError("only P-256 keys are signed")
        now_ns = self._clock()
        ends_ns = min(now_ns + min(ttl_ns, MAX_SVID_TTL_NS), self._root_ends_ns())
        starts_ns = now_ns - NOT_BEFORE_SLACK_NS
        if ends_ns // NS_PER_S <= now_ns // NS_PER_S:
            raise AuthorityError(f"an SVID of {ends_ns - now_ns} ns would be over before it starts")
        return (
            self._builder(public_key, starts_ns, ends_ns)
            .subject_name(_name("node"))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(is_authority=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
                ),
                critical=False,
            )
            .add_extension(_uri(str(spiffe_id)), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def revoke(self, leaf: x509.Certificate) -> None:
        """From the next list on; raises AuthorityError for a certificate of another authority."""
        if leaf.issuer != self._root.subject:
            raise AuthorityError("certificate of another authority")
        self._revoked.setdefault(leaf.serial_number, unix_ns(leaf.not_valid_after_utc))

    def revocation_list(self) -> bytes:
        """A new signed list in DER, with a higher number and a later thisUpdate than any before.

        Entries stay until their certificate would have ended a list's life ago.
        """
        now_ns = self._clock()
        self._revoked = {
            serial: ends_ns
            for serial, ends_ns in self._revoked.items()
            if ends_ns + LIST_TTL_NS > now_ns
        }
        # OpenSSL ignores a list whose thisUpdate equals the one it has, and its unit is a second.
        self._list_ns = max(now_ns, self._list_ns + NS_PER_S)
        self._list_number += 1
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._root.subject)
            .last_update(moment(self._list_ns))
            .next_update(moment(self._list_ns + LIST_TTL_NS))
            .add_extension(x509.CRLNumber(self._list_number), critical=False)
            .add_extension(self._authority_key_id(), critical=False)
        )
        for serial in self._revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(serial)
                .revocation_date(moment(self._list_ns))
                .build()
            )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _self_signed(self) -> x509.Certificate:
        now_ns = self._clock()
        return (
            self._builder(
                self._key.public_key(), now_ns - NOT_BEFORE_SLACK_NS, now_ns + ROOT_TTL_NS
            )
            .subject_name(self._name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(is_authority=True), critical=True)
            .add_extension(_uri(str(self.trust_domain)), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(
        self, public_key: ec.EllipticCurvePublicKey, starts_ns: int, ends_ns: int
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(self._serial())
            .not_valid_before(moment(starts_ns))
            .not_valid_after(moment(ends_ns))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(self._authority_key_id(), critical=False)
        )

    def _authority_key_id(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())

    def _serial(self) -> int:
        """Positive and at most 20 octets (RFC 5280 s.4.1.2.2)."""
        return int.from_bytes(b"\x01" + self._random_bytes(_SERIAL_BYTES), "big")

    def _root_ends_ns(self) -> int:
        return unix_ns(self._root.not_valid_after_utc)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x0mesh"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _uri(uri: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])


def _key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
