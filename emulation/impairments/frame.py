"""Frames as packet sockets with PACKET_VNET_HDR carry them: a virtio-net header, then Ethernet.

The header says what offloading left undone: a checksum still to be filled in, or a frame of many
segments (virtio 1.2, 5.1.6).
"""

from __future__ import annotations

import sys
from struct import Struct
from typing import Final

VNET_BYTES: Final = 10
_VNET: Final = Struct("=BBHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
_NEEDS_CHECKSUM: Final = 1
_GSO_UDP_L4: Final = 5
_ETHERNET_BYTES: Final = 14
_NO_VNET: Final = bytes(VNET_BYTES)


def packet_bytes(frame: bytes) -> int:
    """Size of the IP packet, all segments together."""
    return len(frame) - VNET_BYTES - _ETHERNET_BYTES


def largest_packet_bytes(frame: bytes) -> int:
    """Size of the largest IP packet that the frame becomes on a wire."""
    fields: tuple[int, ...] = _VNET.unpack_from(frame)
    _, gso_type, _, gso_size, start, _ = fields
    if not gso_type:
        return packet_bytes(frame)
    header = 8
    if gso_type != _GSO_UDP_L4:
        at = VNET_BYTES + start + 12
        header = (frame[at] >> 4) * 4 if at < len(frame) else 20
    return min(packet_bytes(frame), start - _ETHERNET_BYTES + header + gso_size)


def damaged(frame: bytes, draw: float) -> bytes:
    """The frame with one bit of its transport part inverted, so that the checksum is wrong.

    A checksum left to offloading is filled in first, or else nobody would notice. A frame of
    many segments cannot carry one; its destination address is damaged instead, and the
    receiver's interface drops it.
    """
    flags, gso_type, _, _, start, offset = _VNET.unpack_from(frame)
    out = bytearray(frame)
    if gso_type:
        out[VNET_BYTES] ^= 0x02
        return bytes(out)
    if flags & _NEEDS_CHECKSUM:
        at = VNET_BYTES + start + offset
        out[at : at + 2] = _internet_checksum(frame[VNET_BYTES + start :])
    out[:VNET_BYTES] = _NO_VNET
    first = min(VNET_BYTES + _transport_start(frame[VNET_BYTES:]), len(out) - 1)
    bit = int(draw * 8 * (len(out) - first))
    out[first + bit // 8] ^= 1 << bit % 8
    return bytes(out)


def _transport_start(ethernet: bytes) -> int:
    kind = ethernet[12:14]
    if kind == b"\x86\xdd":
        return _ETHERNET_BYTES + 40
    if kind == b"\x08\x00" and len(ethernet) > _ETHERNET_BYTES:
        return _ETHERNET_BYTES + (ethernet[_ETHERNET_BYTES] & 15) * 4
    return _ETHERNET_BYTES


def _internet_checksum(part: bytes) -> bytes:
    """RFC 1071, over a part that already holds the pseudo-header's sum; never zero, which UDP
    takes for none (RFC 768)."""
    if len(part) % 2:
        part += b"\0"
    total = sum(memoryview(part).cast("H"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    # Summed and stored in host order, which comes to the same (RFC 1071, section 2 B).
    return ((~total & 0xFFFF) or 0xFFFF).to_bytes(2, sys.byteorder)
