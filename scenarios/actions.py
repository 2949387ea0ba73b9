"""The closed vocabulary of things done to a network, which every engine implements.

A fault of the catalogue is a composition of these; so a new fault needs no engine change, and
both engines run it. Each action belongs to the fault that asks for it: a link is down while any
fault holds it down, impairments of several faults add up, and undoing one leaves the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from x0mesh.scenarios.impairment import Impairment

Direction = Literal["forward", "backward", "both"]
"""Of a link's plan entry: forward is from `a` to `b`."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """Carrier lost at both ends. Evidence: carrier went from up to down."""

    link: str


@dataclass(frozen=True, slots=True)
class LinkBlock:
    """Silent blackhole, carrier stays. `queue`: packets are held and delivered at the undo, in
    `release` order. Evidence: packets dropped or held."""

    link: str
    direction: Direction
    mode: Literal["drop", "queue"]
    release: Literal["fifo", "lifo", "shuffle"] = "fifo"


@dataclass(frozen=True, slots=True)
class LinkImpair:
    """Adds an impairment. Evidence: packets that met it."""

    link: str
    direction: Direction
    impairment: Impairment


@dataclass(frozen=True, slots=True)
class NodeStop:
    """The node's process is gone, without a goodbye. Undone by starting it again.

    cold: new boot epoch, nothing remembered, forwarding empty until it learns. warm: forwarding
    and database survive the stop. never: stays gone to the end. Evidence: process gone.
    """

    node: str
    restart: Literal["cold", "warm", "never"]


@dataclass(frozen=True, slots=True)
class NodePause:
    """The control process stops and later continues with its queued input and late timers.

    The data plane keeps forwarding. Evidence: process stopped.
    """

    node: str


@dataclass(frozen=True, slots=True)
class NodeSlow:
    """Every input takes `factor` (> 1) times the processing time. Evidence: inputs delayed."""

    node: str
    factor: float


@dataclass(frozen=True, slots=True)
class NodeDrain:
    """Planned: the node asks others not to transit it (RFC 6987). Evidence: it advertised so."""

    node: str


LinkAction = LinkDown | LinkBlock | LinkImpair
NodeAction = NodeStop | NodePause | NodeSlow | NodeDrain
Action = LinkAction | NodeAction
