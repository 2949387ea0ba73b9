"""Faults of single nodes: planned leave, crash, pause, slowness."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from x0mesh.scenarios.actions import NodeDrain, NodePause, NodeSlow, NodeStop
from x0mesh.scenarios.faults.base import Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.plan import Step

Restart = Literal["cold", "warm", "never"]


@fault
class NodeDrainFault(Fault):
    """Planned: the node asks the others not to send transit traffic through it (RFC 6987)."""

    kind: ClassVar[str] = "node.drain"
    target: ClassVar[TargetKind] = "nodes"

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        return tuple(Step(0, NodeDrain(node)) for node in context.nodes)

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        return {}


@fault
class NodeCrash(Fault):
    """The node's process is gone without a goodbye, and starts again when the fault ends.

    `restart` cold: it remembers nothing. warm: forwarding and link-state database survive.
    never: it stays gone to the end of the run, and the fault refuses `for:`.
    """

    kind: ClassVar[str] = "node.crash"
    target: ClassVar[TargetKind] = "nodes"

    restart: Restart = "cold"

    @property
    def lasting(self) -> bool:
        return self.restart == "never"

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        return tuple(Step(0, NodeStop(node, self.restart)) for node in context.nodes)

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        return {"restart": str(random.choice(["cold", "warm"]))}


@fault
class NodePauseFault(Fault):
    """The control process stops and later goes on with its queued input; forwarding goes on."""

    kind: ClassVar[str] = "node.pause"
    target: ClassVar[TargetKind] = "nodes"

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        return tuple(Step(0, NodePause(node)) for node in context.nodes)

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        return {}


@fault
class NodeSlowFault(Fault):
    """Everything the control process does takes `factor` times as long."""

    kind: ClassVar[str] = "node.slow"
    target: ClassVar[TargetKind] = "nodes"

    factor: Annotated[float, Field(strict=True, gt=1, le=1e6, allow_inf_nan=False)]

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        return tuple(Step(0, NodeSlow(node, self.factor)) for node in context.nodes)

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        return {"factor": int(random.integers(2, 101))}
