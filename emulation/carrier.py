"""Carrier of the peer's interfaces, heard from the kernel (rtnetlink multicast, RTMGRP_LINK).

A lost message (ENOBUFS) is made good by reading every interface's state anew, so that no loss of
carrier is missed for good.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

RTMGRP_LINK: Final = 1
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
_NLM_F_REQUEST: Final = 1
_NLM_F_DUMP: Final = 0x300
_IFF_UP: Final = 1
_IFF_RUNNING: Final = 1 << 6
_IFF_LOWER_UP: Final = 1 << 16
_CARRIES: Final = _IFF_UP | _IFF_RUNNING | _IFF_LOWER_UP
"""Shortly after carrier has come a link is not running yet, and drops what is sent."""

_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_RECEIVE_BYTES: Final = 1 << 16


class CarrierWatch:
    """Reports each change of carrier of the interfaces with these indexes.

    `changed(index, carrier)` is called for changes only; carrier is taken to be there at first,
    and the first dump reports those interfaces that have none. An interface that is deleted has
    no carrier.
    """

    def __init__(self, indexes: tuple[int, ...], changed: Callable[[int, bool], None]) -> None:
        self._carrier = dict.fromkeys(indexes, True)
        self._changed = changed
        self.resyncs = 0
        self.socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self.socket.bind((0, RTMGRP_LINK))
        self._ask_all()

    def has_carrier(self, index: int) -> bool:
        """As last heard."""
        return self._carrier[index]

    def read(self) -> None:
        """Take what the kernel has to say; call when the socket is readable."""
        while True:
            try:
                packet = self.socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.resyncs += 1
                self._ask_all()
                continue
            for index, carrier in link_states(packet):
                if self._carrier.get(index, carrier) is not carrier:
                    self._carrier[index] = carrier
                    self._changed(index, carrier)

    def close(self) -> None:
        self.socket.close()

    def _ask_all(self) -> None:
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        flags = _NLM_F_REQUEST | _NLM_F_DUMP
        header = _HEADER.pack(_HEADER.size + len(body), RTM_GETLINK, flags, 1, 0)
        self.socket.send(header + body)


def link_states(packet: bytes) -> Iterator[tuple[int, bool]]:
    """(interface index, carrier) of every link message in a netlink packet."""
    offset = 0
    while offset + _HEADER.size <= len(packet):
        length, kind, _, _, _ = _HEADER.unpack_from(packet, offset)
        if length < _HEADER.size:
            return
        body = offset + _HEADER.size
        if kind in (RTM_NEWLINK, RTM_DELLINK) and length >= _HEADER.size + _LINK.size:
            _, _, index, flags, _ = _LINK.unpack_from(packet, body)
            yield index, kind == RTM_NEWLINK and flags & _CARRIES == _CARRIES
        offset += length + (-length % 4)
