"""Counter-based random numbers: each draw is a pure function of (seed, entity, purpose, counter).

No draw depends on another entity's or on the order of use, so adding a node leaves everybody
else's luck alone, and any draw can be computed later or not at all. Scalar and block paths give
identical numbers.
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

# SplitMix64 (Steele, Lea, Flood 2014, fig. 17) with the increment of the golden ratio: mixing
# key + counter * increment is random access into that generator's stream.
_INCREMENT: Final = 0x9E3779B97F4A7C15
_MULTIPLIER_1: Final = 0xBF58476D1CE4E5B9
_MULTIPLIER_2: Final = 0x94D049BB133111EB
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_UNIT: Final = 2.0**-53
_BLOCK: Final = 64
_NO_DRAWS: Final = array("d")


def mixed(key: int, counter: int) -> float:
    """Draw number `counter` (from 0) of the stream `key`: a float in [0, 1)."""
    z = (key + (counter + 1) * _INCREMENT) & _MASK
    z = ((z ^ (z >> 30)) * _MULTIPLIER_1) & _MASK
    z = ((z ^ (z >> 27)) * _MULTIPLIER_2) & _MASK
    return ((z ^ (z >> 31)) >> 11) * _UNIT


def mixed_block(key: int, start: int, count: int) -> npt.NDArray[np.float64]:
    """Draws `start` to `start + count - 1` of the stream `key`, float64[count]."""
    z = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    z *= np.uint64(_INCREMENT)
    z += np.uint64(key)
    z ^= z >> np.uint64(30)
    z *= np.uint64(_MULTIPLIER_1)
    z ^= z >> np.uint64(27)
    z *= np.uint64(_MULTIPLIER_2)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * _UNIT


class Draws:
    """One stream, read by counter; counters in a row come from a buffered block."""

    __slots__ = ("_block", "_start", "key")

    def __init__(self, key: int) -> None:
        self.key = key
        self._start = -1
        self._block = _NO_DRAWS

    def at(self, counter: int) -> float:
        """Draw number `counter`."""
        index = counter - self._start
        if 0 <= index < len(self._block):
            return self._block[index]
        if index != len(self._block):
            # Not the next one: most streams are read once, and a block is 600 bytes.
            self._start, self._block = counter + 1, _NO_DRAWS
            return mixed(self.key, counter)
        self._start = counter
        self._block = array("d", mixed_block(self.key, counter, _BLOCK).tobytes())
        return self._block[0]


class Streams:
    """All streams of one seed. An entity is a name, for example 'n3' or 'n0-n1:forward'."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def key(self, entity: str, purpose: str) -> int:
        """64-bit key of a stream."""
        name = f"{self.seed}\0{entity}\0{purpose}".encode()
        return int.from_bytes(blake2b(name, digest_size=8).digest(), "little")

    def draws(self, entity: str, purpose: str) -> Draws:
        """A stream for repeated use."""
        return Draws(self.key(entity, purpose))

    def uniform(self, entity: str, purpose: str, counter: int) -> float:
        """One float in [0, 1)."""
        return mixed(self.key(entity, purpose), counter)

    def uniform_block(
        self, entity: str, purpose: str, start: int, count: int
    ) -> npt.NDArray[np.float64]:
        """The floats `uniform` gives for counters `start` to `start + count - 1`."""
        return mixed_block(self.key(entity, purpose), start, count)
