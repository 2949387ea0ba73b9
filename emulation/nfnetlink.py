"""Elements of an nftables set, changed and read by hand-packed nfnetlink.

Starting `nft` costs some ten milliseconds a change; this costs one system call.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from x0mesh.emulation.namespaces import NetNamespace

_NETLINK_NETFILTER: Final = 12
_REQUEST, _ACK, _DUMP, _CREATE = 0x1, 0x4, 0x300, 0x400
_MSG_ERROR, _MSG_DONE = 2, 3

# linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
_BATCH_BEGIN, _BATCH_END, _SUBSYSTEM = 16, 17, 10
_NEW_ELEMENT, _GET_ELEMENT, _DELETE_ELEMENT = 12, 13, 14
_FAMILY_INET: Final = 1
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEMENT = 1, 2, 3, 1
_ELEMENT_KEY, _ELEMENT_EXPRESSION, _ELEMENT_EXPRESSIONS, _DATA_VALUE = 1, 7, 11, 1
_EXPRESSION_NAME, _EXPRESSION_CONTENT, _COUNTER_PACKETS = 1, 2, 2
_NESTED: Final = 0x8000
_TIMEOUT_S: Final = 30.0
_RECEIVE_BYTES: Final = 1 << 17


class NetfilterError(OSError):
    """The kernel refused a change of a set."""


class InterfaceSet:
    """Sets of interface indexes in one inet table of a namespace (None: the thread's own)."""

    def __init__(self, table: str, namespace: NetNamespace | None = None) -> None:
        self._table = table
        if namespace is None:
            opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        else:
            opened = namespace.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        opened.settimeout(_TIMEOUT_S)
        opened.bind((0, 0))
        self._socket = opened
        self._sequence = 0

    def add(self, name: str, index: int) -> None:
        """Add an element; one that is there already stays. Raises NetfilterError."""
        self._change(_NEW_ELEMENT, _CREATE, name, self._elements(index))

    def remove(self, name: str, index: int) -> None:
        """Remove an element, which must be there; raises NetfilterError."""
        self._change(_DELETE_ELEMENT, 0, name, self._elements(index))

    def clear(self, name: str) -> None:
        """Remove all elements; raises NetfilterError."""
        self._change(_DELETE_ELEMENT, 0, name, b"")

    def packets(self, name: str) -> dict[int, int]:
        """Packet counter of each element, by interface index (0 where the set counts none)."""
        self._sequence += 1
        self._socket.send(
            _message(
                _SUBSYSTEM << 8 | _GET_ELEMENT,
                _REQUEST | _DUMP,
                self._sequence,
                _FAMILY_INET,
                0,
                self._which(name),
            )
        )
        found: dict[int, int] = {}
        while True:
            for kind, sequence, body in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue
                if kind == _MSG_DONE:
                    return found
                if kind == _MSG_ERROR:
                    self._raise_for(body, f"list set {name}")
                    continue
                for tag, elements in _attributes(body[4:]):
                    if tag == _LIST_ELEMENTS:
                        found.update(_element(packed) for _, packed in _attributes(elements))

    def close(self) -> None:
        self._socket.close()

    def _change(self, kind: int, flags: int, name: str, elements: bytes) -> None:
        self._sequence += 1
        self._socket.send(
            _message(_BATCH_BEGIN, _REQUEST, 0, 0, _SUBSYSTEM, b"")
            + _message(
                _SUBSYSTEM << 8 | kind,
                _REQUEST | _ACK | flags,
                self._sequence,
                _FAMILY_INET,
                0,
                self._which(name) + elements,
            )
            + _message(_BATCH_END, _REQUEST, 0, 0, _SUBSYSTEM, b"")
        )
        while True:
            for answer, sequence, body in _messages(self._socket.recv(_RECEIVE_BYTES)):
                # A batch that cannot begin, for want of the privilege, is refused as number 0.
                if answer == _MSG_ERROR and sequence in (0, self._sequence):
                    self._raise_for(body, f"change set {name}")
                    return

    def _which(self, name: str) -> bytes:
        return _attribute(_LIST_TABLE, self._table.encode() + b"\0") + _attribute(
            _LIST_SET, name.encode() + b"\0"
        )

    @staticmethod
    def _elements(index: int) -> bytes:
        key = _attribute(_DATA_VALUE, struct.pack("=I", index))
        element = _attribute(_ELEMENT_KEY | _NESTED, key)
        return _attribute(_LIST_ELEMENTS | _NESTED, _attribute(_LIST_ELEMENT | _NESTED, element))

    @staticmethod
    def _raise_for(body: bytes, what: str) -> None:
        number = -struct.unpack_from("=i", body)[0]
        if number:
            raise NetfilterError(number, f"{what}: {os.strerror(number)}")


def _message(
    kind: int, flags: int, sequence: int, family: int, resource: int, body: bytes
) -> bytes:
    return (
        struct.pack("=IHHII", 20 + len(body), kind, flags, sequence, 0)
        + struct.pack("=BB", family, 0)
        + struct.pack(">H", resource)
        + body
    )


def _messages(received: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(received):
        length, kind, _, sequence, _ = struct.unpack_from("=IHHII", received, offset)
        yield kind, sequence, received[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def _attributes(packed: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(packed):
        length, kind = struct.unpack_from("=HH", packed, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, packed[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _element(packed: bytes) -> tuple[int, int]:
    """Interface index and packet count of one element."""
    index = packets = 0
    for kind, value in _attributes(packed):
        if kind == _ELEMENT_KEY:
            index = struct.unpack("=I", dict(_attributes(value))[_DATA_VALUE])[0]
        elif kind == _ELEMENT_EXPRESSION:
            packets = _counted(value)
        elif kind == _ELEMENT_EXPRESSIONS:
            packets = sum(_counted(expression) for _, expression in _attributes(value))
    return index, packets


def _counted(expression: bytes) -> int:
    parts = dict(_attributes(expression))
    if parts.get(_EXPRESSION_NAME, b"").rstrip(b"\0") != b"counter":
        return 0
    content = dict(_attributes(parts[_EXPRESSION_CONTENT]))
    return int.from_bytes(content[_COUNTER_PACKETS], "big")
