"""Why an identity is not accepted: one set of reasons for handshakes, signatures and metrics."""

from __future__ import annotations

from enum import Enum


class Refusal(Enum):
    """The value is the reason word in events and reports."""

    NO_CERTIFICATE = "no certificate"
    MALFORMED = "malformed certificate"
    NO_URI = "no URI name"
    SEVERAL_URIS = "several URI names"
    MALFORMED_ID = "malformed SPIFFE ID"
    AUTHORITY_AS_LEAF = "authority used as leaf"
    KEY_USAGE = "wrong key usage"
    KEY_TYPE = "wrong key type"
    FOREIGN_TRUST_DOMAIN = "foreign trust domain"
    NOT_YET_VALID = "not yet valid"
    EXPIRED = "expired"
    LIVES_TOO_LONG = "lives too long"
    UNKNOWN_AUTHORITY = "unknown authority"
    REVOKED = "revoked"
    UNEXPECTED_ID = "unexpected SPIFFE ID"
    WRONG_FINGERPRINT = "fingerprint mismatch"
    BAD_SIGNATURE = "bad signature"
    BAD_CERTIFICATE = "bad certificate"
    TLS_VERSION = "TLS version"
    TLS_PROTOCOL = "TLS protocol error"


class RefusedError(ValueError):
    """Bytes or certificates from outside were judged and refused."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.value}: {detail}" if detail else refusal.value)
        self.refusal = refusal
        self.detail = detail
