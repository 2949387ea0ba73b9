"""Flap damping of one adjacency: good news is held up, bad news never.

Each loss adds a penalty that decays exponentially (RFC 2439 s.2.2); an adjacency above the
suppress limit is advertised again only when its penalty has decayed to the reuse limit.
"""

from __future__ import annotations

import math

from x0mesh.mesh.config import DampingConfig

_MS = 1_000_000


class FlapDamping:
    """Memory of one adjacency's losses. It never delays a withdrawal: there is no way to ask."""

    __slots__ = ("_ceiling", "_config", "_penalty", "_suppressed", "_updated_ns", "flaps")

    def __init__(self, config: DampingConfig) -> None:
        assert config.half_life_ns > 0, config
        assert 0 < config.reuse <= config.suppress, config
        self._config = config
        # Above this a penalty could not decay within max_hold (RFC 2439 s.4.2, max-hold-time).
        doublings = min(config.max_hold_ns / config.half_life_ns, 60.0)
        self._ceiling = config.reuse * 2.0**doublings
        self._penalty = 0.0
        self._suppressed = False
        self._updated_ns = 0
        self.flaps = 0

    def down(self, now: int) -> None:
        """The adjacency was lost: withdraw it at once, and remember."""
        self._decay(now)
        self.flaps += 1
        self._penalty = min(self._ceiling, self._penalty + self._config.penalty)
        if self._penalty > self._config.suppress:
            self._suppressed = True

    def up(self, now: int) -> int:
        """The adjacency came up: the instant from which it may be advertised, at least `now`."""
        self._decay(now)
        held_ns = self._config.hold_up_ns
        if self._suppressed:
            held_ns = max(held_ns, self._suppressed_for_ns())
        return now + min(held_ns, max(self._config.max_hold_ns, self._config.hold_up_ns))

    def is_suppressed(self, now: int) -> bool:
        """Whether it flapped so much that coming up is held back."""
        self._decay(now)
        return self._suppressed

    def penalty(self, now: int) -> float:
        """Decayed figure of merit."""
        self._decay(now)
        return self._penalty

    def _suppressed_for_ns(self) -> int:
        # Whole milliseconds: the last bit of log2 differs between machines, the result must not.
        half_lives = math.log2(self._penalty / self._config.reuse)
        return math.ceil(half_lives * self._config.half_life_ns / _MS) * _MS

    def _decay(self, now: int) -> None:
        assert now >= self._updated_ns, (now, self._updated_ns)
        elapsed_ns = now - self._updated_ns
        self._updated_ns = now
        if self._penalty == 0.0 or elapsed_ns == 0:
            return
        self._penalty *= 0.5 ** (elapsed_ns / self._config.half_life_ns)
        if self._penalty <= self._config.reuse:
            self._suppressed = False
        if self._penalty < self._config.reuse / 64:
            self._penalty = 0.0
