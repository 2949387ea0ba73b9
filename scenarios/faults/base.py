"""What a fault of the catalogue is: parameters, targets, and the steps it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from x0mesh.scenarios.plan import EngineName, Step
from x0mesh.scenarios.registry import Registry
from x0mesh.scenarios.topology import Topology

TargetKind = Literal["nodes", "links", "nodes or links", "groups", "none"]


@dataclass(frozen=True, slots=True)
class FaultContext:
    """What a fault may look at when it becomes steps.

    `nodes`, `links`, `groups` are the chosen targets. `duration_ns` is how long it lasts.
    `random` is this fault's own stream. `base_dir` resolves files it names.
    """

    topology: Topology
    nodes: tuple[str, ...]
    links: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    duration_ns: int
    random: np.random.Generator
    base_dir: str


class Fault(BaseModel):
    """A fault's `with:` parameters are its fields; its docstring is its page in the catalogue.

    `permanent` faults cannot be undone and refuse `for:`. `available` False: the language knows
    it, no engine runs it yet (exit 4 names it).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    kind: ClassVar[str]
    target: ClassVar[TargetKind]
    engines: ClassVar[tuple[EngineName, ...]] = ("sim", "emulation")
    permanent: ClassVar[bool] = False
    available: ClassVar[bool] = True

    def steps(self, context: FaultContext) -> tuple[Step, ...]:
        """Actions with offsets from the fault's start; raise ValueError for impossible targets."""
        raise NotImplementedError

    @property
    def lasting(self) -> bool:
        """With these parameters it cannot be undone, so it refuses `for:`."""
        return self.permanent

    @classmethod
    def sample(cls, random: np.random.Generator) -> dict[str, Any] | None:
        """Parameters for `composite.swarm`, as a scenario would write them; None: not for it."""
        return None


FAULTS: Registry[type[Fault]] = Registry("x0mesh.faults")


def fault(cls: type[Fault]) -> type[Fault]:
    """Class decorator that puts a fault into the catalogue under its `kind`."""
    FAULTS.add(cls.kind, cls)
    return cls
