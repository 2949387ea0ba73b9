"""The protocol's boundary: what a node may ask of its engine, and the leases the engine keeps.

A node is driven by exactly three sources: its user (start, drain, identity), the network
(channels, messages, leases) and timers. Everything it does comes out through `Effects`.
Time is integer nanoseconds on the engine's clock; nothing in this room reads one.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Protocol

from x0mesh.mesh.messages import Message
from x0mesh.mesh.route_view import RouteView
from x0mesh.mesh.routes import RouteChange

TimerKey = Hashable


class BfdState(IntEnum):
    """Session state (RFC 5880 s.4.1)."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Content of one direction's keep-alives (RFC 5880 s.4.1); `epoch` rises with each change.

    On the wire a keep-alive also carries the link, a 64-bit sequence number and a keyed MAC;
    those belong to the engine's datagram, this is what the protocol reads. `poll` asks the
    neighbour to say this epoch back in its own `acknowledged_epoch` (the P and F bits, s.6.5).
    """

    epoch: int
    state: BfdState
    desired_min_tx_ns: int
    required_min_rx_ns: int
    detect_multiplier: int
    poll: bool = False
    acknowledged_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """Keep-alives as a declared effect, replaced as a whole by the next `Effects.keep_alive`.

    The engine sends `content` at once when its epoch is new, and from then on with gaps drawn by
    `liveness.transmit_gap_ns(transmit_interval_ns, detect_multiplier, draw)`. It reports
    - `lease_changed(.., UP, heard)` when a keep-alive with an epoch not heard before arrives,
      or the first one after a silence;
    - `lease_changed(.., EXPIRED, heard)` when `detection_time_ns` passed since the last arrival
      (0: not monitored), once per silence; a lease replaced after that is timed from then;
    - `lease_report(..)` once per 64 expected keep-alives.

    `lease_monitor.LeaseMonitor` is this contract's receiving half as a pure value.
    """

    content: KeepAlive
    transmit_interval_ns: int
    detection_time_ns: int


class LeaseChange(Enum):
    """Why the engine calls `Node.lease_changed`."""

    UP = "up"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ProtocolEvent:
    """Something worth recording; `kind` is one of `x0mesh.mesh.events`."""

    kind: str
    link: str = ""
    peer: str = ""
    value: float | None = None
    reason: str = ""


class Effects(Protocol):
    """What an engine offers a node. None of these call back into the node before returning."""

    def dial(self, link: str) -> None:
        """Open an authenticated channel; answered by `link_up` or `channel_failed`."""

    def send(self, link: str, message: Message) -> None:
        """Append to the link's reliable, ordered stream; dropped if no channel is open."""

    def keep_alive(self, link: str, lease: Lease | None) -> None:
        """Start, replace or (None) stop the link's keep-alives and their monitoring."""

    def gate(self, link: str, is_open: bool) -> None:
        """Admit or refuse the neighbour's data packets; closed until first opened."""

    def set_timer(self, key: TimerKey, due_ns: int) -> None:
        """Call `timer(key, due_ns)` at or after `due_ns`; replaces an earlier one of this key."""

    def cancel_timer(self, key: TimerKey) -> None:
        """Forget a timer; unknown keys are ignored."""

    def install(self, changes: Sequence[RouteChange]) -> None:
        """Apply route changes to the data plane, in order, at once."""

    def answer_by(self, view: RouteView) -> None:
        """Forward packets for destinations without an installed route by `view` from now on.

        Only asked for by nodes that keep routes to some destinations only.
        """

    def close(self, link: str, reason: str) -> None:
        """Close the link's channel; no `channel_failed` follows for it."""

    def emit(self, event: ProtocolEvent) -> None:
        """Record an event at the current instant."""
