"""This node's own advertisement: when a new one is due, and what makes it newer than the last.

Bad news (a lost link, a higher cost, overload, a new identity) goes out at once unless bad news
went out less than `min_origination_gap_ns` ago; good news waits until the gap since any
origination has passed. So good news never delays bad news, and at most two advertisements leave
within one gap (compare MinLSInterval, RFC 2328 s.12.4).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from x0mesh.mesh import serial
from x0mesh.mesh.codec import signed_content
from x0mesh.mesh.config import FloodingConfig
from x0mesh.mesh.credential import Signer
from x0mesh.mesh.lsdb import compare
from x0mesh.mesh.messages import Header, Lsa, Neighbour

PENDING_TIMER: Final = ("origination", "pending")
REFRESH_TIMER: Final = ("origination", "refresh")
FIRST_SEQUENCE: Final = 1
REFRESH_JITTER: Final = 0.25


@dataclass(frozen=True, slots=True)
class Content:
    """What a node says about itself. Neighbours are sorted by (node, link)."""

    neighbours: tuple[Neighbour, ...]
    overload: bool


class OriginationPort(Protocol):
    """What origination asks of its node."""

    def set_timer(self, key: Hashable, due_ns: int) -> None: ...

    def cancel_timer(self, key: Hashable) -> None: ...

    def content(self) -> Content:
        """What is true now."""

    def originated(self, now: int, lsa: Lsa, reason: str) -> None:
        """A new advertisement of our own: store and flood it."""


class Origination:
    """Sequence, rate limit and refresh of the advertisement of node `name`."""

    def __init__(
        self,
        name: str,
        boot_epoch: int,
        config: FloodingConfig,
        signer: Signer,
        draw: Callable[[str], float],
        port: OriginationPort,
    ) -> None:
        self._name = name
        self._config = config
        self._signer = signer
        self._draw = draw
        self._port = port
        self._boot_epoch = boot_epoch
        self._next_sequence = FIRST_SEQUENCE
        self._said: Lsa | None = None
        self._last_ns: int | None = None
        self._last_bad_ns: int | None = None
        self._pending: tuple[int, bool, str] | None = None

    @property
    def is_pending(self) -> bool:
        """Something new is to be said but waits for the gap."""
        return self._pending is not None

    def start(self, now: int, reason: str) -> None:
        """Say it now, whatever was said before."""
        self._originate(now, bad=False, reason=reason)

    def continue_after(self, lsa: Lsa) -> None:
        """Number what comes next after `lsa`, our last word before a restart."""
        self._adopt(lsa)

    def resume(self, now: int, lsa: Lsa) -> None:
        """Continue after `lsa`, an advertisement of ours that is still believed everywhere."""
        self._said = lsa
        self._adopt(lsa)
        self._arm_refresh(now, lsa)

    def news(self, now: int, bad: bool, reason: str) -> None:
        """What is true has changed; `bad` news must not wait behind good news."""
        if self._pending is None and self._is_said(self._port.content()):
            return
        due_ns = self._due_ns(now, bad)
        if due_ns <= now:
            self._originate(now, bad, reason)
            return
        if self._pending is not None:
            earlier_ns, earlier_bad, earlier_reason = self._pending
            if earlier_ns <= due_ns:
                due_ns = earlier_ns
            bad, reason = bad or earlier_bad, reason if bad else earlier_reason
        self._pending = (due_ns, bad, reason)
        self._port.set_timer(PENDING_TIMER, due_ns)

    def identity_changed(self, now: int, signer: Signer) -> None:
        """Sign with another SVID from now on; says so like bad news."""
        self._signer = signer
        self._said = None
        self.news(now, bad=True, reason="identity changed")

    def outdo(self, now: int, lsa: Lsa) -> None:
        """An instance of ours, newer than ours, is about: say something newer (s.13.4)."""
        if compare(lsa, Header(self._name, self._boot_epoch, self._next_sequence)) >= 0:
            self._adopt(lsa)
        self._said = None
        self.news(now, bad=True, reason="outdoes an earlier life")

    def timer(self, now: int, key: Hashable) -> None:
        """`PENDING_TIMER` or `REFRESH_TIMER` is due."""
        if key == PENDING_TIMER:
            if self._pending is None:
                return
            _, bad, reason = self._pending
            self._pending = None
            if not self._is_said(self._port.content()):
                self._originate(now, bad, reason)
        else:
            self._originate(now, bad=False, reason="refresh")

    def _adopt(self, lsa: Lsa) -> None:
        self._boot_epoch = lsa.boot_epoch
        self._next_sequence = serial.successor(lsa.sequence)

    def _is_said(self, content: Content) -> bool:
        said = self._said
        return (
            said is not None
            and said.neighbours == content.neighbours
            and said.overload == content.overload
        )

    def _due_ns(self, now: int, bad: bool) -> int:
        last_ns = self._last_bad_ns if bad else self._last_ns
        return now if last_ns is None else last_ns + self._config.min_origination_gap_ns

    def _originate(self, now: int, bad: bool, reason: str) -> None:
        if self._pending is not None:
            self._pending = None
            self._port.cancel_timer(PENDING_TIMER)
        credential = self._signer.credential()
        expires_ns = min(now + self._config.lifetime_ns, credential.expires_ns)
        if expires_ns <= now:
            self._port.cancel_timer(REFRESH_TIMER)
            return
        content = self._port.content()
        lsa = Lsa(
            origin=self._name,
            boot_epoch=self._boot_epoch,
            sequence=self._next_sequence,
            neighbours=content.neighbours,
            fingerprint=credential.fingerprint,
            expires_ns=expires_ns,
            overload=content.overload,
        )
        lsa = msgspec.structs.replace(lsa, signature=self._signer.sign(signed_content(lsa)))
        self._said = lsa
        self._next_sequence = serial.successor(lsa.sequence)
        self._last_ns = now
        if bad:
            self._last_bad_ns = now
        self._arm_refresh(now, lsa)
        self._port.originated(now, lsa, reason)

    def _arm_refresh(self, now: int, lsa: Lsa) -> None:
        # A spread of 25 % keeps nodes that started together from refreshing together.
        spread = 1.0 - REFRESH_JITTER * self._draw("refresh")
        due_ns = now + round(self._config.refresh_ns * spread)
        if due_ns < lsa.expires_ns and lsa.expires_ns < self._signer.credential().expires_ns:
            self._port.set_timer(REFRESH_TIMER, due_ns)
        else:
            # It lapses with the SVID: only a new SVID can prolong it.
            self._port.cancel_timer(REFRESH_TIMER)
