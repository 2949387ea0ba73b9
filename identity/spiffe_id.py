"""SPIFFE IDs and trust domain names, parsed exactly as the SPIFFE ID specification says.

Nothing is normalised: two IDs are equal if and only if their strings are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_ID_BYTES: Final = 2048
MAX_TRUST_DOMAIN_BYTES: Final = 255
_SCHEME: Final = "spiffe://"
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]+")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")


class SpiffeIdError(ValueError):
    """Not a SPIFFE ID, or not a trust domain name."""


@dataclass(frozen=True, slots=True, order=True)
class TrustDomain:
    """A trust domain name (SPIFFE ID s.2.1); raises SpiffeIdError."""

    name: str

    def __post_init__(self) -> None:
        if len(self.name) > MAX_TRUST_DOMAIN_BYTES:
            raise SpiffeIdError(f"trust domain longer than {MAX_TRUST_DOMAIN_BYTES} bytes")
        if not _TRUST_DOMAIN.fullmatch(self.name):
            raise SpiffeIdError(f"trust domain {self.name!r}: only a-z, 0-9, '.', '-' and '_'")

    def __str__(self) -> str:
        return _SCHEME + self.name


@dataclass(frozen=True, slots=True, order=True)
class SpiffeID:
    """`spiffe://<trust domain><path>`; `path` is empty or starts with '/'; raises SpiffeIdError.

    An empty path names the trust domain itself, which only signing certificates may carry.
    """

    trust_domain: TrustDomain
    path: str = ""

    def __post_init__(self) -> None:
        if len(_SCHEME) + len(self.trust_domain.name) + len(self.path) > MAX_ID_BYTES:
            raise SpiffeIdError(f"longer than {MAX_ID_BYTES} bytes")
        if not self.path:
            return
        before, *segments = self.path.split("/")
        if before:
            raise SpiffeIdError("path without a leading slash")
        for segment in segments:
            if segment in ("", ".", ".."):
                raise SpiffeIdError(f"path segment {segment!r}")
            if not _SEGMENT.fullmatch(segment):
                raise SpiffeIdError(
                    f"path segment {segment[:64]!r}: only letters, digits, '.', '-' and '_'"
                )

    @classmethod
    def parse(cls, text: str) -> SpiffeID:
        """The ID that `text` is, to the letter; raises SpiffeIdError."""
        if len(text) > MAX_ID_BYTES:
            raise SpiffeIdError(f"longer than {MAX_ID_BYTES} bytes")
        rest = text.removeprefix(_SCHEME)
        if rest == text:
            raise SpiffeIdError(f"{text[:64]!r} does not start with {_SCHEME}")
        name, slash, path = rest.partition("/")
        return cls(TrustDomain(name), slash + path)

    def __str__(self) -> str:
        return f"{self.trust_domain}{self.path}"
