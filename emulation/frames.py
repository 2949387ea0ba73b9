"""Frames of the authenticated stream: length, kind, payload.

Two records open and end a channel, everything between is `mesh.codec` messages. Bounded: a
neighbour is authenticated before its first frame is read, and still may not fill our memory.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec

from x0mesh.mesh.limits import MAX_MESSAGE_BYTES

VERSION: Final = 1
MAX_RECORD_BYTES: Final = 4096
_HEADER: Final = struct.Struct("!IB")


class FrameError(ValueError):
    """Bytes that are no frame of ours."""


class Kind(IntEnum):
    """What a frame's payload is."""

    RECORD = 0
    MESSAGE = 1


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """First record of each end: which link this is, and the key it expects on keep-alives.

    The end that dialled sends its own once it believes the other's identity; the answer confirms
    both.
    """

    version: int
    link: str
    keep_alive_key: bytes


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag="goodbye"):
    """Last record: why the sender ends the channel."""

    reason: str


Record = Hello | Goodbye

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def message_frame(encoded: bytes) -> bytes:
    """The frame of an encoded message."""
    return _HEADER.pack(len(encoded), Kind.MESSAGE) + encoded


def record_frame(record: Record) -> bytes:
    """The frame of a record."""
    encoded = _encoder.encode(record)
    assert len(encoded) <= MAX_RECORD_BYTES, record
    return _HEADER.pack(len(encoded), Kind.RECORD) + encoded


def decode_record(payload: bytes) -> Record:
    """Hello or Goodbye; raises FrameError."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(str(error)) from None


class FrameReader:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Append what arrived."""
        self._buffer += chunk

    def next(self) -> tuple[Kind, bytes] | None:
        """The next whole frame, or None; raises FrameError."""
        if len(self._buffer) < _HEADER.size:
            return None
        length, number = _HEADER.unpack_from(self._buffer)
        try:
            kind = Kind(number)
        except ValueError:
            raise FrameError(f"frame of kind {number}") from None
        limit = MAX_RECORD_BYTES if kind is Kind.RECORD else MAX_MESSAGE_BYTES
        if length > limit:
            raise FrameError(f"{kind.name.lower()} of {length} bytes, limit {limit}")
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[_HEADER.size : end])
        del self._buffer[:end]
        return kind, payload
