"""What the healing loop watches: small facts the node states as they happen.

Each is one line of evidence; `str(observation)` is the clause a decision quotes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_UNITS: Final = (
    (3_600_000_000_000, "h"),
    (60_000_000_000, "min"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
)


def duration_text(duration_ns: int) -> str:
    """Two or three significant figures with a unit: "120 ms", "1.5 s", "5 min"."""
    for unit_ns, unit in _UNITS:
        if duration_ns >= unit_ns:
            amount = duration_ns / unit_ns
            return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.2g} {unit}"
    return f"{duration_ns} ns"


def count_text(count: int, noun: str) -> str:
    """ "1 route", "2 routes"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@dataclass(frozen=True, slots=True)
class SessionDown:
    """Liveness gave the neighbour up. `missed` keep-alives, 0 if the neighbour said so itself.

    `switched` routes went to their repair, `stranded` had none.
    """

    link: str
    peer: str
    diagnostic: str
    missed: int = 0
    switched: int = 0
    stranded: int = 0

    def __str__(self) -> str:
        if self.missed:
            return f"{count_text(self.missed, 'keep-alive')} missed"
        return self.diagnostic


@dataclass(frozen=True, slots=True)
class CarrierLost:
    """The interface lost carrier. Counts as in `SessionDown`."""

    link: str
    peer: str
    switched: int = 0
    stranded: int = 0

    def __str__(self) -> str:
        return "carrier lost"


@dataclass(frozen=True, slots=True)
class ChannelLost:
    """The authenticated channel failed or was closed by the neighbour."""

    link: str
    peer: str
    diagnostic: str
    switched: int = 0
    stranded: int = 0

    def __str__(self) -> str:
        return f"channel lost ({self.diagnostic})"


@dataclass(frozen=True, slots=True)
class AdjacencyFull:
    """The neighbour is back: live, authenticated and synchronised."""

    link: str
    peer: str

    def __str__(self) -> str:
        return "adjacency full"


@dataclass(frozen=True, slots=True)
class LossMeasured:
    """One lease report's view of the link, as `Session.loss_ratio` gives it."""

    link: str
    peer: str
    loss_ratio: float

    def __str__(self) -> str:
        return f"{self.loss_ratio:.1%} of keep-alives lost"


@dataclass(frozen=True, slots=True)
class Flapping:
    """Damping holds the adjacency back for `held_ns` after `flaps` losses."""

    link: str
    peer: str
    flaps: int
    held_ns: int

    def __str__(self) -> str:
        return f"lost {count_text(self.flaps, 'time')}, held back {duration_text(self.held_ns)}"


@dataclass(frozen=True, slots=True)
class SessionRefused:
    """Authentication failed. `by_peer`: the neighbour refused us; else we refused it."""

    link: str
    peer: str
    refusal: str
    by_peer: bool = False

    def __str__(self) -> str:
        return f"{'refused us' if self.by_peer else 'was refused'}: {self.refusal}"


@dataclass(frozen=True, slots=True)
class IdentityExpiring:
    """This node's own SVID ends at `expires_ns` and no successor is in hand."""

    expires_ns: int

    def __str__(self) -> str:
        return "own identity about to expire"


@dataclass(frozen=True, slots=True)
class IdentityRenewed:
    """A new SVID is in use, valid until `expires_ns`."""

    expires_ns: int

    def __str__(self) -> str:
        return "own identity renewed"


@dataclass(frozen=True, slots=True)
class NeighbourLinks:
    """Link-state evidence on a neighbour: `lost` of its `known` links are withdrawn by others."""

    peer: str
    lost: int
    known: int

    def __str__(self) -> str:
        return f"{self.lost} of {count_text(self.known, 'link')} withdrawn by its neighbours"


@dataclass(frozen=True, slots=True)
class Reachability:
    """After a shortest-path run: `reachable` of `known` other nodes in the database."""

    reachable: int
    known: int

    def __str__(self) -> str:
        return f"{self.reachable} of {count_text(self.known, 'node')} reachable"


@dataclass(frozen=True, slots=True)
class NodeLate:
    """This node's own timer ran late; `multiplier` is what local health makes of it (1..8)."""

    lateness_ns: int
    multiplier: int

    def __str__(self) -> str:
        return f"own timers {duration_text(self.lateness_ns)} late"


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened; look at the deadlines."""


Observation = (
    SessionDown
    | CarrierLost
    | ChannelLost
    | AdjacencyFull
    | LossMeasured
    | Flapping
    | SessionRefused
    | IdentityExpiring
    | IdentityRenewed
    | NeighbourLinks
    | Reachability
    | NodeLate
    | Tick
)
