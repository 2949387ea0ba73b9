"""Serial number arithmetic in 64 bits (RFC 1982): which of two sequence numbers is newer."""

from __future__ import annotations

from typing import Final

SERIAL_BITS: Final = 64
_MODULUS: Final = 1 << SERIAL_BITS
_HALF: Final = 1 << (SERIAL_BITS - 1)


def compare(a: int, b: int) -> int:
    """1 if `a` is newer than `b`, -1 if older, 0 if equal (RFC 1982 s.3.2).

    RFC 1982 leaves numbers exactly half the space apart undefined; here the larger integer is
    newer, so that two nodes can never disagree.
    """
    assert 0 <= a < _MODULUS, a
    assert 0 <= b < _MODULUS, b
    ahead = (a - b) % _MODULUS
    if ahead == 0:
        return 0
    if ahead == _HALF:
        return 1 if a > b else -1
    return 1 if ahead < _HALF else -1


def successor(a: int) -> int:
    """The next sequence number, wrapping to 0 (RFC 1982 s.3.1)."""
    return (a + 1) % _MODULUS
