"""An X509-SVID with its private key: what a node proves its identity with."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from x0mesh.identity.certificate import (
    chain_fingerprint,
    join_chain,
    parse_chain,
    parse_pem,
    unix_ns,
)
from x0mesh.identity.profile import leaf_id, leaf_key
from x0mesh.identity.refusal import Refusal, RefusedError
from x0mesh.identity.spiffe_id import SpiffeID

_MAX_KEY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class X509Svid:
    """`chain` is leaf first, without the root; `key` belongs to the leaf."""

    spiffe_id: SpiffeID
    chain: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def of(cls, chain: tuple[x509.Certificate, ...], key: ec.EllipticCurvePrivateKey) -> X509Svid:
        """Checks the leaf's profile and that key and leaf belong together; RefusedError."""
        if not chain:
            raise RefusedError(Refusal.NO_CERTIFICATE)
        spiffe_id = leaf_id(chain[0])
        if leaf_key(chain[0]).public_numbers() != key.public_key().public_numbers():
            raise RefusedError(Refusal.MALFORMED, "the key is not the leaf's")
        return cls(spiffe_id, chain, key)

    @classmethod
    def from_der(cls, chain: bytes, key: bytes) -> X509Svid:
        """From concatenated DER and unencrypted PKCS #8, as in the Workload API; RefusedError."""
        if len(key) > _MAX_KEY_BYTES:
            raise RefusedError(Refusal.MALFORMED, f"key of {len(key)} bytes")
        try:
            loaded = load_der_private_key(key, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise RefusedError(Refusal.MALFORMED, f"private key: {error}") from error
        return cls.of(parse_chain(chain), _p256(loaded))

    @classmethod
    def from_pem(cls, text: bytes) -> X509Svid:
        """The key and the certificates, leaf first, in one PEM file; raises RefusedError."""
        chain = parse_pem(text)
        try:
            loaded = load_pem_private_key(text, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise RefusedError(Refusal.MALFORMED, f"private key: {error}") from error
        return cls.of(chain, _p256(loaded))

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def chain_der(self) -> bytes:
        return join_chain(self.chain)

    @property
    def fingerprint(self) -> str:
        return chain_fingerprint(self.chain_der)

    @property
    def expires_ns(self) -> int:
        """Unix time of the leaf's notAfter; at that instant it is no longer valid."""
        return unix_ns(self.leaf.not_valid_after_utc)

    def key_der(self) -> bytes:
        """The private key as unencrypted PKCS #8: for pipes between processes, not for files."""
        return self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def pem(self) -> bytes:
        """Key and chain as one PEM text, the form in which OpenSSL loads both."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + b"".join(cert.public_bytes(Encoding.PEM) for cert in self.chain)


def _p256(key: object) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RefusedError(Refusal.KEY_TYPE, "only P-256 is used")
    return key
