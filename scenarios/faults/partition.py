"""The network falls into groups that do not reach each other over their own links."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import model_validator

from x0mesh.scenarios.actions import LinkBlock
from x0mesh.scenarios.faults.base import Fault, FaultContext, TargetKind, fault
from x0mesh.scenarios.plan import Step


@fault
class NetPartition(Fault):
    """Blocks every link between nodes that share no group; carrier stays.

    `direction` is seen from the group named first: out, what it sends to later groups is lost
    (it hears and is not heard); in, what they send to it; both. A node in several groups joins
    them, a node in none keeps all its links. `mode` queue holds packets and delivers them, in
    `release` order, when the partition ends.
    """

    kind: ClassVar[str] = "net.partition"
    target: ClassVar[TargetKind] = "groups"

    direction: Literal["in", "out", "both"] = "both"
    mode: Literal["drop", "queue"] = "drop"
    release: Literal["fifo", "lifo", "shuffle"] = "fifo"

    @model_validator(mode="after")
    def _release_needs_queue(self) -> NetPartition:
        if "release" in self.model_fields_set and self.mode != "queue":
            raise ValueError("release goes with mode: queue")
        return self

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        member: dict[str, set[int]] = {}
        for index, group in enumerate(context.groups):
            for node in group:
                member.setdefault(node, set()).add(index)
        steps = []
        for link in context.topology.links.values():
            of_a, of_b = member.get(link.a), member.get(link.b)
            if not of_a or not of_b or of_a & of_b:
                continue
            first_is_a = min(of_a) < min(of_b)
            if self.direction == "both":
                direction: Literal["forward", "backward", "both"] = "both"
            else:
                direction = "forward" if first_is_a == (self.direction == "out") else "backward"
            steps.append(Step(0, LinkBlock(link.name, direction, self.mode, self.release)))
        if not steps:
            raise ValueError("no link joins one group with another, so nothing is cut")
        return tuple(steps)

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        return {
            "direction": str(random.choice(["in", "out", "both"])),
            "mode": str(random.choice(["drop", "queue"])),
        }
