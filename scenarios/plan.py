"""A Plan: a scenario made concrete for one seed. The only thing an engine is given.

Times are integer nanoseconds from the start of the replication (warmup begins at 0). Values
only: a Plan can be pickled, written as JSON and compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from x0mesh.scenarios.actions import Action
from x0mesh.scenarios.impairment import Impairment

EngineName = Literal["sim", "emulation"]


@dataclass(frozen=True, slots=True)
class NodePlan:
    """`position` is (x, y) for pictures: longitude/latitude or the generator's unit square."""

    name: str
    region: str = ""
    role: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    position: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A point-to-point link; parallel links between the same ends have different names."""

    name: str
    a: str
    b: str
    forward: Impairment
    backward: Impairment
    cost_forward: int = 10
    cost_backward: int = 10


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """Probe traffic from `source` to `destination`.

    cbr: one packet each `interval_ns`. poisson: exponential gaps with that mean. request: cbr
    whose packets are answered with `reply_bytes`. bulk: as many packets as a TCP-like window
    allows. `traffic` is the scenario entry the flow came from. The flow runs from `start_ns` to
    the end of settle.
    """

    name: str
    traffic: str
    source: str
    destination: str
    kind: Literal["cbr", "poisson", "request", "bulk"]
    interval_ns: int
    size_bytes: int
    reply_bytes: int = 0
    start_ns: int = 0


@dataclass(frozen=True, slots=True)
class At:
    """Starts at this instant."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class After:
    """Starts `delay_ns` after `fault` started or ended; used where that depends on the run."""

    fault: str
    edge: Literal["started", "ended"]
    delay_ns: int


@dataclass(frozen=True, slots=True)
class When:
    """Starts when the live metric satisfies the condition, looked at from `after` (a fault's
    edge, or the start of chaos) until `give_up_ns` later; then it is `not-fired`."""

    metric: str
    op: Literal["==", "!=", "<", "<=", ">", ">="]
    value: float
    after: tuple[str, Literal["started", "ended"]] | None
    give_up_ns: int


@dataclass(frozen=True, slots=True)
class Step:
    """One action at an offset from the fault's start, undone at `until_ns` (None: at its end)."""

    offset_ns: int
    action: Action
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A fault with its chosen targets and its steps.

    `duration_ns` None: until the end of chaos. `armed` False: this seed's `prob` draw left it
    out. `skip` names why this engine's run leaves it out, keyed by engine.
    """

    name: str
    kind: str
    trigger: At | After | When
    duration_ns: int | None
    steps: tuple[Step, ...]
    nodes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    armed: bool = True
    skip: tuple[tuple[EngineName, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AbortRule:
    """Abort the run when the live or host metric satisfies the condition."""

    metric: str
    op: str
    value: float


@dataclass(frozen=True, slots=True)
class ProtocolPlan:
    """Settings for the protocol; names follow `x0mesh.mesh.config`, times in ns."""

    liveness: tuple[tuple[str, Any], ...] = ()
    spf: tuple[tuple[str, Any], ...] = ()
    flooding: tuple[tuple[str, Any], ...] = ()
    damping: tuple[tuple[str, Any], ...] = ()
    repairs: bool = True


@dataclass(frozen=True, slots=True)
class IdentityPlan:
    """Trust domain and SVID life."""

    trust_domain: str = "mesh.test"
    svid_ttl_ns: int = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about one replication. `scenario_sha256` identifies the scenario as run."""

    scenario: str
    scenario_sha256: str
    seed: int
    replication: int
    nodes: tuple[NodePlan, ...]
    links: tuple[LinkPlan, ...]
    flows: tuple[FlowPlan, ...]
    faults: tuple[FaultPlan, ...]
    warmup_ns: int
    chaos_ns: int
    settle_ns: int
    start: Literal["cold", "converged"] = "cold"
    routes: Literal["all", "in-use"] = "all"
    protocol: ProtocolPlan = field(default_factory=ProtocolPlan)
    identity: IdentityPlan = field(default_factory=IdentityPlan)
    abort_if: tuple[AbortRule, ...] = ()
    bindings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def chaos_start_ns(self) -> int:
        return self.warmup_ns

    @property
    def chaos_end_ns(self) -> int:
        return self.warmup_ns + self.chaos_ns

    @property
    def end_ns(self) -> int:
        return self.warmup_ns + self.chaos_ns + self.settle_ns
