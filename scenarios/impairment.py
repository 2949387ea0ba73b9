"""What a link does to packets in one direction, and how overlapping impairments add up.

Durations are integer nanoseconds, rates bits per second, ratios 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GilbertElliott:
    """Burst loss by mean sojourn times, so that it does not depend on the packet rate.

    Two-state Markov process in continuous time (Gilbert 1960, Elliott 1963); loss ratios apply
    to packets that meet the good or the bad state.
    """

    good_ns: int
    bad_ns: int
    loss_good: float = 0.0
    loss_bad: float = 1.0

    @property
    def mean_loss(self) -> float:
        """Long-run loss ratio seen by evenly spaced packets."""
        share_bad = self.bad_ns / (self.good_ns + self.bad_ns)
        return self.loss_good * (1 - share_bad) + self.loss_bad * share_bad


@dataclass(frozen=True, slots=True)
class Impairment:
    """One direction of a link. `rate_bps` 0: unlimited; `queue` counts packets.

    `jitter_ns` is the half width of a uniform addition in [-jitter, +jitter], never below zero
    delay. `reorder` is the share of packets that overtake (sent with no delay), `duplicate` the
    share delivered twice, `corrupt` the share damaged (dropped by checksum or MAC at the
    receiver, counted apart from loss). `mtu` 0: unlimited, larger packets vanish silently.
    """

    delay_ns: int = 0
    jitter_ns: int = 0
    loss: float = 0.0
    burst: GilbertElliott | None = None
    rate_bps: int = 0
    queue: int = 1000
    reorder: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    mtu: int = 0

    def over(self, added: Impairment) -> Impairment:
        """This link with `added` on top: delays add, survival multiplies, rates take the least."""

        def either(p: float, q: float) -> float:
            return 1.0 - (1.0 - p) * (1.0 - q)

        def least(p: int, q: int) -> int:
            return min(p, q) if p and q else p or q

        return Impairment(
            delay_ns=self.delay_ns + added.delay_ns,
            jitter_ns=self.jitter_ns + added.jitter_ns,
            loss=either(self.loss, added.loss),
            burst=added.burst or self.burst,
            rate_bps=least(self.rate_bps, added.rate_bps),
            queue=min(self.queue, added.queue),
            reorder=either(self.reorder, added.reorder),
            duplicate=either(self.duplicate, added.duplicate),
            corrupt=either(self.corrupt, added.corrupt),
            mtu=least(self.mtu, added.mtu),
        )
