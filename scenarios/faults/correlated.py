"""Things that share a fate fail in one instant."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from x0mesh.scenarios.actions import LinkDown, NodeStop
from x0mesh.scenarios.faults.base import Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.faults.node import Restart
from x0mesh.scenarios.plan import Step


@fault
class CorrelatedRegion(Fault):
    """All chosen nodes or links fail in one instant: a region, a label, a shared-risk group.

    Nodes: their processes are gone and start again (`restart`) when the fault ends; with
    `lose: links` they live on and every link with an end among them loses carrier (a shared
    duct or site). Links: they lose carrier (a shared-risk link group, RFC 4202 s.2.3).
    """

    kind: ClassVar[str] = "correlated.region"
    target: ClassVar[TargetKind] = "nodes or links"

    lose: Literal["nodes", "links"] = "nodes"
    restart: Restart = "cold"

    @model_validator(mode="after")
    def _restart_needs_nodes(self) -> CorrelatedRegion:
        if "restart" in self.model_fields_set and self.lose == "links":
            raise ValueError("restart goes with lose: nodes")
        return self

    @property
    def lasting(self) -> bool:
        return self.lose == "nodes" and self.restart == "never"

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        if context.links and self.model_fields_set:
            raise ValueError("with links as target there is nothing to give under with:")
        if context.nodes and self.lose == "nodes":
            return tuple(Step(0, NodeStop(node, self.restart)) for node in context.nodes)
        chosen = set(context.nodes)
        touched = [
            link.name
            for link in context.topology.links.values()
            if link.a in chosen or link.b in chosen
        ]
        lost = context.links or tuple(touched)
        if not lost:
            raise ValueError("the chosen nodes have no link to lose")
        return tuple(Step(0, LinkDown(link)) for link in lost)
