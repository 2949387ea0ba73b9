"""Bounds on messages, shared by those who build them and by the decoder that refuses more.

An Update carries at most `MAX_UPDATE_NEIGHBOURS` neighbours in all unless it holds a single
advertisement, so the largest legal message fits `MAX_MESSAGE_BYTES`.
"""

from __future__ import annotations

from typing import Final

MAX_MESSAGE_BYTES: Final = 4 << 20
MAX_NAME_BYTES: Final = 255
MAX_NEIGHBOURS: Final = 4096
MAX_UPDATE_NEIGHBOURS: Final = 4096
MAX_HEADERS: Final = 1024
MAX_FINGERPRINTS: Final = 1024
MAX_FINGERPRINT_BYTES: Final = 128
MAX_LSAS: Final = 64
MAX_CREDENTIALS: Final = 64
MAX_CHAIN_BYTES: Final = 16 << 10
MAX_SIGNATURE_BYTES: Final = 512
MAX_COST: Final = (1 << 32) - 1
MAX_UINT64: Final = (1 << 64) - 1
MAX_TIME_NS: Final = (1 << 63) - 1
