"""Certificates as bytes: parsing chains from outside, validity, fingerprints.

A chain travels as its DER certificates one after the other, leaf first, without the root.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from x0mesh.identity.refusal import Refusal, RefusedError

MAX_CHAIN_BYTES: Final = 16 << 10
MAX_CERTIFICATES: Final = 8
NS_PER_S: Final = 1_000_000_000


def parse_chain(der: bytes) -> tuple[x509.Certificate, ...]:
    """Between 1 and `MAX_CERTIFICATES` certificates; raises RefusedError."""
    if not der:
        raise RefusedError(Refusal.NO_CERTIFICATE)
    if len(der) > MAX_CHAIN_BYTES:
        raise RefusedError(Refusal.MALFORMED, f"chain of {len(der)} bytes")
    parts: list[bytes] = []
    rest = der
    while rest:
        length = _element_length(rest)
        parts.append(rest[:length])
        rest = rest[length:]
    return parse_certificates(parts)


def parse_certificates(parts: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """One certificate from each DER element; raises RefusedError."""
    if not parts:
        raise RefusedError(Refusal.NO_CERTIFICATE)
    if len(parts) > MAX_CERTIFICATES or sum(map(len, parts)) > MAX_CHAIN_BYTES:
        raise RefusedError(Refusal.MALFORMED, "chain too long")
    try:
        return tuple(x509.load_der_x509_certificate(part) for part in parts)
    except (ValueError, TypeError, OverflowError) as error:
        raise RefusedError(Refusal.MALFORMED, str(error)) from error


def parse_pem(text: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates among whatever else a PEM text holds; raises RefusedError."""
    if len(text) > 2 * MAX_CHAIN_BYTES:
        raise RefusedError(Refusal.MALFORMED, f"{len(text)} bytes of PEM")
    try:
        found = x509.load_pem_x509_certificates(text)
    except (ValueError, TypeError, OverflowError) as error:
        raise RefusedError(Refusal.MALFORMED, str(error)) from error
    return parse_certificates([certificate.public_bytes(Encoding.DER) for certificate in found])


def join_chain(certificates: Iterable[x509.Certificate]) -> bytes:
    """What `parse_chain` reads."""
    return b"".join(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def chain_fingerprint(der: bytes) -> str:
    """SHA-256 of the whole chain in hexadecimal, so that no two chains share one."""
    return hashlib.sha256(der).hexdigest()


def unix_ns(moment: datetime.datetime) -> int:
    """An aware time from a certificate (whole seconds) as Unix nanoseconds."""
    since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (since.days * 86_400 + since.seconds) * NS_PER_S


def moment(at_ns: int) -> datetime.datetime:
    """Unix nanoseconds as an aware time, rounded down to what a certificate can say."""
    return datetime.datetime.fromtimestamp(at_ns // NS_PER_S, datetime.UTC)


def _element_length(der: bytes) -> int:
    """Bytes of the DER SEQUENCE that `der` starts with (X.690 s.8.1.3, definite, long form)."""
    if len(der) < 4 or der[0] != 0x30:
        raise RefusedError(Refusal.MALFORMED, "not a DER sequence")
    octets = der[1] & 0x7F if der[1] & 0x80 else 0
    if der[1] & 0x80 and not 1 <= octets <= 2:
        raise RefusedError(Refusal.MALFORMED, "not a DER length")
    content = int.from_bytes(der[2 : 2 + octets], "big") if octets else der[1]
    length = 2 + octets + content
    if length > len(der):
        raise RefusedError(Refusal.MALFORMED, "truncated")
    return length
