"""A node's configuration: links, timers and what to protect. Values only, validated at start."""

from __future__ import annotations

from dataclasses import dataclass, field

MS = 1_000_000
S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One interface: link name, the neighbour expected behind it, cost in our direction."""

    link: str
    peer: str
    cost: int = 10


@dataclass(frozen=True, slots=True)
class LivenessConfig:
    """BFD asynchronous mode (RFC 5880). `slow_interval_ns` applies until Up (s.6.8.3)."""

    interval_ns: int = 100 * MS
    multiplier: int = 3
    slow_interval_ns: int = 1 * S
    adaptive: bool = True
    false_alarm_target_ns: int = 3600 * S
    max_multiplier: int = 10


@dataclass(frozen=True, slots=True)
class SpfConfig:
    """SPF back-off delays (RFC 8405 s.5) and the local delay of RFC 8333."""

    initial_ns: int = 50 * MS
    short_ns: int = 200 * MS
    long_ns: int = 5000 * MS
    time_to_learn_ns: int = 500 * MS
    hold_down_ns: int = 10_000 * MS
    local_delay_ns: int = 2 * S


@dataclass(frozen=True, slots=True)
class FloodingConfig:
    """Life of an advertisement and bounds on what a node keeps for others."""

    lifetime_ns: int = 3600 * S
    refresh_ns: int = 1800 * S
    max_neighbours: int = 4096
    max_waiting: int = 256
    waiting_ns: int = 10 * S
    min_origination_gap_ns: int = 50 * MS


@dataclass(frozen=True, slots=True)
class DampingConfig:
    """Good news is held up: an adjacency that flaps must stay up longer before it is advertised."""

    hold_up_ns: int = 0
    penalty: float = 1000.0
    suppress: float = 2500.0
    reuse: float = 1000.0
    half_life_ns: int = 5 * S
    max_hold_ns: int = 20 * S


@dataclass(frozen=True, slots=True)
class DialConfig:
    """Who dials: the end with the smaller name. Back-off doubles from initial to maximum."""

    initial_ns: int = 50 * MS
    maximum_ns: int = 1 * S
    jitter: float = 0.25


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything a node knows before it starts.

    `boot_epoch` must rise with every cold start of the same name. `destinations` None means
    routes to every node, else only to these (recorded by the engine as `routes: in-use`).
    """

    name: str
    links: tuple[LinkConfig, ...]
    boot_epoch: int = 1
    liveness: LivenessConfig = field(default_factory=LivenessConfig)
    spf: SpfConfig = field(default_factory=SpfConfig)
    flooding: FloodingConfig = field(default_factory=FloodingConfig)
    damping: DampingConfig = field(default_factory=DampingConfig)
    dial: DialConfig = field(default_factory=DialConfig)
    destinations: frozenset[str] | None = None
    repairs: bool = True
