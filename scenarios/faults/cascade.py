"""One failure overloads others, which fail in turn."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from x0mesh.scenarios.actions import NodeStop
from x0mesh.scenarios.faults.base import Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.faults.node import Restart
from x0mesh.scenarios.path_load import PathLoads
from x0mesh.scenarios.plan import Step
from x0mesh.scenarios.units import Duration, Ratio

MAX_NODES = 2000


@fault
class CascadeOverload(Fault):
    """The chosen nodes fail, their load moves, and nodes loaded beyond capacity fail wave by wave.

    Model of Motter and Lai 2002: a node's load is the number of least-cost paths that touch it
    when every pair exchanges one unit (betweenness, ends included), its capacity (1 +
    `tolerance`) times its load before the fault. A wave follows the one before after `step`.
    `restart` says how the nodes come back when the fault ends.
    """

    kind: ClassVar[str] = "cascade.overload"
    target: ClassVar[TargetKind] = "nodes"

    tolerance: Ratio
    step: Duration = 1_000_000_000
    waves: Annotated[int, Field(strict=True, ge=1, le=1000)] = 100
    restart: Restart = "cold"

    @property
    def lasting(self) -> bool:
        return self.restart == "never"

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        if len(context.topology.nodes) > MAX_NODES:
            raise ValueError(f"load on more than {MAX_NODES} nodes takes too long to compute")
        loads = PathLoads(context.topology)
        capacity = {
            node: (1 + self.tolerance) * load for node, load in loads.without(set()).items()
        }
        failing = list(context.nodes)
        gone: set[str] = set()
        steps: list[Step] = []
        for wave in range(self.waves):
            at_ns = wave * self.step
            if not failing or at_ns >= context.duration_ns:
                break
            steps += [Step(at_ns, NodeStop(node, self.restart)) for node in failing]
            gone.update(failing)
            # Loads are sums of fractions; equal loads must not differ by rounding.
            failing = [
                node
                for node, load in loads.without(gone).items()
                if load > capacity[node] * (1 + 1e-9)
            ]
        return tuple(steps)
