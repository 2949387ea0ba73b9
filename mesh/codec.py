"""Bytes on the wire: messages of the stream and the content of keep-alive datagrams.

A message is one version byte and a MessagePack array. Decoding is total: any bytes give a
message that keeps every bound of `limits` and makes sense, or one `CodecError`.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from x0mesh.mesh import limits
from x0mesh.mesh.effects import BfdState, KeepAlive
from x0mesh.mesh.messages import (
    Credential,
    DatabaseDescription,
    Header,
    Lsa,
    Message,
    Request,
    Update,
)

VERSION: Final = 1
KEEP_ALIVE_VERSION: Final = 1
MAC_BYTES: Final = 16

_SIGNING_CONTEXT: Final = b"x0mesh lsa/1\x00"
# version, state, multiplier, poll, link, sequence, epoch, desired tx, required rx, acknowledged
_KEEP_ALIVE: Final = struct.Struct("!BBBBIQQQQQ")
KEEP_ALIVE_BYTES: Final = _KEEP_ALIVE.size + MAC_BYTES

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class CodecError(ValueError):
    """Bytes that are no message of ours, or one that breaks a bound."""


def encode(message: Message) -> bytes:
    """Wire form; raises CodecError when it exceeds `limits.MAX_MESSAGE_BYTES`."""
    encoded = bytes((VERSION,)) + _encoder.encode(message)
    if len(encoded) > limits.MAX_MESSAGE_BYTES:
        raise CodecError(f"message of {len(encoded)} bytes, limit {limits.MAX_MESSAGE_BYTES}")
    return encoded


def decode(encoded: bytes) -> Message:
    """The message in `encoded`; raises CodecError for anything else."""
    if len(encoded) > limits.MAX_MESSAGE_BYTES:
        raise CodecError(f"message of {len(encoded)} bytes, limit {limits.MAX_MESSAGE_BYTES}")
    if not encoded or encoded[0] != VERSION:
        raise CodecError(f"version {encoded[0] if encoded else 'missing'}, expected {VERSION}")
    try:
        message = _decoder.decode(memoryview(encoded)[1:])
    # Invalid UTF-8 and deep nesting of unknown fields leave msgspec as these two.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CodecError(str(error)) from None
    match message:
        case DatabaseDescription():
            _check_count("headers", message.headers, limits.MAX_HEADERS)
            for header in message.headers:
                _check_header(header)
            _check_fingerprints(message.fingerprints)
        case Request():
            _check_count("origins", message.origins, limits.MAX_HEADERS)
            for origin in message.origins:
                _check_name("origin", origin)
            _check_fingerprints(message.fingerprints)
        case Update():
            _check_update(message)
    return message


def signed_content(lsa: Lsa) -> bytes:
    """What an advertisement's signature covers: everything in it but the signature."""
    return _SIGNING_CONTEXT + _encoder.encode(
        (
            lsa.origin,
            lsa.boot_epoch,
            lsa.sequence,
            lsa.neighbours,
            lsa.fingerprint,
            lsa.expires_ns,
            lsa.overload,
        )
    )


def encode_keep_alive(link_id: int, sequence: int, content: KeepAlive, key: bytes) -> bytes:
    """Datagram of `KEEP_ALIVE_BYTES` with a keyed BLAKE2b MAC (16..64 byte `key`)."""
    body = _KEEP_ALIVE.pack(
        KEEP_ALIVE_VERSION,
        content.state,
        content.detect_multiplier,
        content.poll,
        link_id,
        sequence,
        content.epoch,
        content.desired_min_tx_ns,
        content.required_min_rx_ns,
        content.acknowledged_epoch,
    )
    return body + _mac(body, key)


def decode_keep_alive(datagram: bytes, key: bytes) -> tuple[int, int, KeepAlive]:
    """(link_id, sequence, content); raises CodecError, with the MAC checked before the content.

    Replay is for the caller to judge: `sequence` must exceed the last one accepted.
    """
    if len(datagram) != KEEP_ALIVE_BYTES:
        raise CodecError(f"keep-alive of {len(datagram)} bytes, expected {KEEP_ALIVE_BYTES}")
    body, mac = datagram[: _KEEP_ALIVE.size], datagram[_KEEP_ALIVE.size :]
    if not hmac.compare_digest(mac, _mac(body, key)):
        raise CodecError("keep-alive with a bad MAC")
    version, state, multiplier, poll, link_id, sequence, epoch, tx_ns, rx_ns, acknowledged = (
        _KEEP_ALIVE.unpack(body)
    )
    if version != KEEP_ALIVE_VERSION:
        raise CodecError(f"keep-alive version {version}, expected {KEEP_ALIVE_VERSION}")
    if state > BfdState.UP or poll > 1:
        raise CodecError(f"keep-alive state {state}, poll {poll}")
    if multiplier == 0 or tx_ns == 0:  # RFC 5880 s.6.8.6
        raise CodecError("keep-alive with zero multiplier or interval")
    content = KeepAlive(epoch, BfdState(state), tx_ns, rx_ns, multiplier, bool(poll), acknowledged)
    return link_id, sequence, content


def _mac(body: bytes, key: bytes) -> bytes:
    assert 16 <= len(key) <= 64, len(key)
    return hashlib.blake2b(body, key=key, digest_size=MAC_BYTES, person=b"x0mesh ka/1").digest()


def _check_update(update: Update) -> None:
    _check_count("lsas", update.lsas, limits.MAX_LSAS)
    _check_count("credentials", update.credentials, limits.MAX_CREDENTIALS)
    for lsa in update.lsas:
        _check_lsa(lsa)
    for credential in update.credentials:
        _check_credential(credential)


def _check_lsa(lsa: Lsa) -> None:
    _check_name("origin", lsa.origin)
    _check_uint64("boot epoch", lsa.boot_epoch)
    _check_uint64("sequence", lsa.sequence)
    _check_time(lsa.expires_ns)
    _check_fingerprint(lsa.fingerprint)
    _check_count("neighbours", lsa.neighbours, limits.MAX_NEIGHBOURS)
    if len(lsa.signature) > limits.MAX_SIGNATURE_BYTES:
        raise CodecError(f"signature of {len(lsa.signature)} bytes")
    seen: set[tuple[str, str]] = set()
    for neighbour in lsa.neighbours:
        _check_name("neighbour", neighbour.node)
        _check_name("link", neighbour.link)
        if neighbour.node == lsa.origin:
            raise CodecError("a node that is its own neighbour")
        if not 0 < neighbour.cost <= limits.MAX_COST:
            raise CodecError(f"cost {neighbour.cost} is not in 1..{limits.MAX_COST}")
        if not 0 <= neighbour.reverse_metric <= limits.MAX_COST:
            raise CodecError(f"reverse metric {neighbour.reverse_metric} is out of range")
        seen.add((neighbour.node, neighbour.link))
    if len(seen) != len(lsa.neighbours):
        raise CodecError("the same neighbour twice over one link")


def _check_credential(credential: Credential) -> None:
    _check_name("node", credential.node)
    _check_fingerprint(credential.fingerprint)
    _check_time(credential.expires_ns)
    if not 0 < len(credential.chain) <= limits.MAX_CHAIN_BYTES:
        raise CodecError(f"credential chain of {len(credential.chain)} bytes")


def _check_header(header: Header) -> None:
    _check_name("origin", header.origin)
    _check_uint64("boot epoch", header.boot_epoch)
    _check_uint64("sequence", header.sequence)


def _check_fingerprints(fingerprints: Sequence[str]) -> None:
    _check_count("fingerprints", fingerprints, limits.MAX_FINGERPRINTS)
    for fingerprint in fingerprints:
        _check_fingerprint(fingerprint)


def _check_fingerprint(fingerprint: str) -> None:
    if not 0 < len(fingerprint.encode()) <= limits.MAX_FINGERPRINT_BYTES:
        raise CodecError("fingerprint empty or too long")


def _check_name(what: str, name: str) -> None:
    if not 0 < len(name.encode()) <= limits.MAX_NAME_BYTES:
        raise CodecError(f"{what} name empty or longer than {limits.MAX_NAME_BYTES} bytes")


def _check_uint64(what: str, value: int) -> None:
    if not 0 <= value <= limits.MAX_UINT64:
        raise CodecError(f"{what} {value} is no unsigned 64-bit number")


def _check_time(value_ns: int) -> None:
    if not 0 <= value_ns <= limits.MAX_TIME_NS:
        raise CodecError(f"time {value_ns} ns out of range")


def _check_count(what: str, values: Sequence[object], limit: int) -> None:
    if len(values) > limit:
        raise CodecError(f"{len(values)} {what}, limit {limit}")
