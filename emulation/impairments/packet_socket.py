"""Packet sockets that take over all frames of an interface, with the kernel's receive times."""

from __future__ import annotations

import socket
from struct import Struct
from typing import Final

from x0mesh.emulation.impairments.frame import VNET_BYTES

_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_PACKET_VNET_HDR: Final = 15
_PACKET_IGNORE_OUTGOING: Final = 23
_SO_SNDBUFFORCE: Final = 32
_SO_RCVBUFFORCE: Final = 33
_SO_TIMESTAMPNS: Final = 35
_ETH_P_ALL: Final = 3
_BUFFER_BYTES: Final = 8 << 20
_STATISTICS: Final = Struct("=II")
_TIMESPEC: Final = Struct("@ll")
_MAX_FRAME_BYTES: Final = VNET_BYTES + 65_536 + 14
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size)


class PacketSocketError(Exception):
    """The host does not let us open one."""


def unbound_packet_socket() -> socket.socket:
    """A packet socket of the calling thread's namespace that receives nothing yet."""
    try:
        opened = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
    except OSError as error:
        raise PacketSocketError(f"packet sockets: {error.strerror}") from None
    try:
        opened.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError as error:
        opened.close()
        raise PacketSocketError(f"packet socket options: {error.strerror}") from None
    return opened


class PacketSocket:
    """Bound to one interface. Does not block: `receive` and `send` raise `OSError`."""

    __slots__ = ("_missed", "_socket")

    def __init__(self, interface: str) -> None:
        self._missed = 0
        self._socket = unbound_packet_socket()
        for forced, plain in (
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
        ):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, forced, _BUFFER_BYTES)
            except PermissionError:  # outside the first user namespace: as much as is allowed
                self._socket.setsockopt(socket.SOL_SOCKET, plain, _BUFFER_BYTES)
        self._socket.bind((interface, _ETH_P_ALL))

    def fileno(self) -> int:
        """Descriptor."""
        return self._socket.fileno()

    def receive(self) -> tuple[bytes, int]:
        """(frame with its virtio-net header, CLOCK_REALTIME of its arrival in ns)."""
        frame, ancillary, _, _ = self._socket.recvmsg(_MAX_FRAME_BYTES, _ANCILLARY_BYTES)
        seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
        return frame, seconds * 1_000_000_000 + nanoseconds

    def send(self, frame: bytes) -> None:
        """Transmit through the interface."""
        self._socket.send(frame)

    def missed(self) -> int:
        """Frames that found the receive buffer full, since the start."""
        # Reading resets the kernel's count.
        raw = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        self._missed += _STATISTICS.unpack(raw)[1]
        return self._missed

    def close(self) -> None:
        """Close."""
        self._socket.close()
