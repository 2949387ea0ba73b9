"""Randomness of a plan: one independent stream per (seed, entity, purpose).

SHA-256 seeds a Philox generator (Salmon et al. 2011), so streams do not depend on each other,
on the order of use or on PYTHONHASHSEED: adding a fault does not change another's luck.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, entity: str, purpose: str) -> np.random.Generator:
    """A generator that is a pure function of its arguments."""
    digest = hashlib.sha256(f"{seed}\0{entity}\0{purpose}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
