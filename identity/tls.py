"""Mutual TLS 1.3 between SVIDs without I/O: bytes in, events and bytes out.

A channel is up only when both ends have verified the other and said so. In TLS 1.3 a client's
handshake ends before the server has judged its certificate, and OpenSSL knows neither SPIFFE nor
the caller's clock; so after the handshake each end sends one byte, its verdict: 0, or the number
of the alert (RFC 8446 s.6.2) it would have sent had TLS itself refused.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from x0mesh.identity.bundle import TrustBundles
from x0mesh.identity.certificate import join_chain, parse_certificates
from x0mesh.identity.refusal import Refusal, RefusedError
from x0mesh.identity.svid import X509Svid
from x0mesh.identity.verifier import VerifiedSvid

_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: OpenSSL reads the host's clock; validity is judged by the caller's."""
_INVALID_PURPOSE: Final = 26
"""X509_V_ERR_INVALID_PURPOSE: the key may not be used for TLS."""
_DER: Final = 2
"""The interpreter's own constant for DER in `_ssl.Certificate.public_bytes`."""
_READ_BYTES: Final = 16384
_ACCEPTED: Final = 0
_BAD_CERTIFICATE: Final = 42

_ALERTS: Final = {
    Refusal.REVOKED: 44,
    Refusal.EXPIRED: 45,
    Refusal.UNKNOWN_AUTHORITY: 48,
    Refusal.FOREIGN_TRUST_DOMAIN: 48,
    Refusal.UNEXPECTED_ID: 49,
    Refusal.NO_CERTIFICATE: 116,
}
_REFUSALS_BY_ALERT: Final = {
    40: Refusal.TLS_PROTOCOL,
    _BAD_CERTIFICATE: Refusal.BAD_CERTIFICATE,
    43: Refusal.BAD_CERTIFICATE,
    44: Refusal.REVOKED,
    45: Refusal.EXPIRED,
    46: Refusal.BAD_CERTIFICATE,
    48: Refusal.UNKNOWN_AUTHORITY,
    49: Refusal.UNEXPECTED_ID,
    70: Refusal.TLS_VERSION,
    116: Refusal.NO_CERTIFICATE,
}
_REFUSALS_BY_OPENSSL_ALERT: Final = {
    "ALERT_BAD_CERTIFICATE": Refusal.BAD_CERTIFICATE,
    "ALERT_UNSUPPORTED_CERTIFICATE": Refusal.BAD_CERTIFICATE,
    "ALERT_CERTIFICATE_REVOKED": Refusal.REVOKED,
    "ALERT_CERTIFICATE_EXPIRED": Refusal.EXPIRED,
    "ALERT_CERTIFICATE_UNKNOWN": Refusal.BAD_CERTIFICATE,
    "ALERT_UNKNOWN_CA": Refusal.UNKNOWN_AUTHORITY,
    "ALERT_ACCESS_DENIED": Refusal.UNEXPECTED_ID,
    "ALERT_PROTOCOL_VERSION": Refusal.TLS_VERSION,
    "ALERT_CERTIFICATE_REQUIRED": Refusal.NO_CERTIFICATE,
}
_REFUSALS_BY_OPENSSL_REASON: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Refusal.NO_CERTIFICATE,
    "UNSUPPORTED_PROTOCOL": Refusal.TLS_VERSION,
}


@dataclass(frozen=True, slots=True)
class Up:
    """Both ends have accepted each other; data may be sent from now on."""

    peer: VerifiedSvid


@dataclass(frozen=True, slots=True)
class Received:
    """Some bytes of the peer's stream, at most 16 KiB."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The channel is over: this end (or, `by_peer`, the other) would not have it.

    A peer tells its reason only as precisely as an alert can.
    """

    refusal: Refusal
    by_peer: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """The channel is over without a refusal; `is_clean` if the peer said so (close_notify)."""

    is_clean: bool


TlsEvent = Up | Received | Refused | Closed


class _State(Enum):
    HANDSHAKE = "handshake"
    CONFIRMING = "confirming"
    UP = "up"
    OVER = "over"


def client_context(svid: X509Svid | None, bundles: TrustBundles) -> ssl.SSLContext:
    """A fresh context for dialling. Make new ones when SVID or bundles change, never mutate:
    a live context keeps old authorities. Without an SVID others will refuse this end."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, svid, bundles)


def server_context(svid: X509Svid | None, bundles: TrustBundles) -> ssl.SSLContext:
    """A fresh context for listening, without session tickets: a resumed session would bypass
    revocation and expiry."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, svid, bundles)
    context.num_tickets = 0
    return context


class TlsPump:
    """One end of one channel.

    After every call, also one that returned `Refused`, whatever `outgoing()` gives must be
    written before the connection is closed: it may be the alert that tells the peer why. Then
    shut down writing only and read until the peer closes (bounded in time), because closing a
    socket with unread bytes resets it and the alert may be lost.

    `judge` gets the peer's chain (DER, leaf first) and returns who it is or raises RefusedError.
    """

    def __init__(
        self, context: ssl.SSLContext, *, is_server: bool, judge: Callable[[bytes], VerifiedSvid]
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)
        self._judge = judge
        self._state = _State.HANDSHAKE
        self._peer: VerifiedSvid | None = None

    @property
    def is_up(self) -> bool:
        return self._state is _State.UP

    @property
    def is_over(self) -> bool:
        return self._state is _State.OVER

    def start(self) -> list[TlsEvent]:
        """The connection is open: a client's first flight goes out."""
        return self.receive(b"")

    def receive(self, content: bytes) -> list[TlsEvent]:
        """Bytes from the connection."""
        if self.is_over:
            return []
        if content:
            self._incoming.write(content)
        events: list[TlsEvent] = []
        try:
            if self._state is _State.HANDSHAKE:
                self._tls.do_handshake()
                self._handshake_done()
            while not self.is_over:
                plain = self._tls.read(_READ_BYTES)
                if not plain:
                    raise ssl.SSLZeroReturnError
                self._read(plain, events)
        except ssl.SSLWantReadError:
            pass
        except RefusedError as error:
            self._refuse(error)
            events.append(Refused(error.refusal, by_peer=False, detail=error.detail))
        except ssl.SSLZeroReturnError:
            self._end()
            events.append(Closed(is_clean=True))
        except ssl.SSLError as error:
            self._end()
            events.append(_refused_by_tls(error))
        return events

    def receive_eof(self) -> list[TlsEvent]:
        """The connection ended without a word of TLS."""
        if self.is_over:
            return []
        self._end()
        return [Closed(is_clean=False)]

    def send(self, content: bytes) -> None:
        """Append to the stream; only while up."""
        assert self.is_up, self._state
        if content:
            self._tls.write(content)

    def close(self) -> None:
        """Say goodbye (close_notify); nothing is reported after this."""
        if self.is_over:
            return
        self._end()
        self._close_notify()

    @property
    def outgoing_bytes(self) -> int:
        """How much waits to be taken by `outgoing`."""
        return self._outgoing.pending

    def outgoing(self) -> bytes:
        """Everything to be written to the connection now."""
        return self._outgoing.read()

    def _handshake_done(self) -> None:
        self._state = _State.CONFIRMING
        self._peer = self._judge(_peer_chain(self._tls))
        self._tls.write(bytes([_ACCEPTED]))

    def _read(self, plain: bytes, events: list[TlsEvent]) -> None:
        if self._state is _State.CONFIRMING:
            verdict, plain = plain[0], plain[1:]
            if verdict != _ACCEPTED:
                self._end()
                self._close_notify()
                refusal = _REFUSALS_BY_ALERT.get(verdict, Refusal.TLS_PROTOCOL)
                events.append(Refused(refusal, by_peer=True, detail=f"alert {verdict}"))
                return
            assert self._peer is not None
            self._state = _State.UP
            events.append(Up(self._peer))
        if plain:
            events.append(Received(plain))

    def _refuse(self, error: RefusedError) -> None:
        self._end()
        self._tls.write(bytes([_ALERTS.get(error.refusal, _BAD_CERTIFICATE)]))
        self._close_notify()

    def _close_notify(self) -> None:
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # Wants the peer's answer, which nobody waits for, or the handshake is not over.
            return

    def _end(self) -> None:
        self._state = _State.OVER


def _context(protocol: int, svid: X509Svid | None, bundles: TrustBundles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    authorities = b"".join(bundle.to_der() for bundle in bundles.values())
    if authorities:
        context.load_verify_locations(cadata=authorities)
    if svid is not None:
        _load(context, svid)
    return context


def _load(context: ssl.SSLContext, svid: X509Svid) -> None:
    """OpenSSL's Python interface takes keys from files only: this one is never on a disk."""
    descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
    try:
        path = Path(f"/proc/self/fd/{descriptor}")
        path.write_bytes(svid.pem())
        context.load_cert_chain(path)
    finally:
        os.close(descriptor)


def _peer_chain(tls: ssl.SSLObject) -> bytes:
    """What the peer presented, leaf first. Public only from Python 3.13 on."""
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return join_chain(parse_certificates(public() or ()))
    inner: Any = tls._sslobj  # type: ignore[attr-defined]
    presented = inner.get_unverified_chain() or ()
    return join_chain(parse_certificates([part.public_bytes(_DER) for part in presented]))


def _refused_by_tls(error: ssl.SSLError) -> Refused:
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        is_purpose = error.verify_code == _INVALID_PURPOSE
        refusal = Refusal.KEY_USAGE if is_purpose else Refusal.UNKNOWN_AUTHORITY
        return Refused(refusal, by_peer=False, detail=error.verify_message)
    for alert, refusal in _REFUSALS_BY_OPENSSL_ALERT.items():
        if reason.endswith(alert):
            return Refused(refusal, by_peer=True, detail=reason)
    refusal = _REFUSALS_BY_OPENSSL_REASON.get(reason, Refusal.TLS_PROTOCOL)
    return Refused(refusal, by_peer="ALERT" in reason, detail=reason or str(error))
