"""The fault catalogue: one module per family, all registered by importing this package."""

from x0mesh.scenarios.faults import (  # noqa: I001 (the order of the catalogue)
    link,
    conditions,
    trace,
    partition,
    node,
    correlated,
    churn,
    cascade,
    identity,
    attack,
    xdp,
    swarm,
)
from x0mesh.scenarios.faults.base import FAULTS, Fault, FaultContext, fault

__all__ = [
    "FAULTS",
    "Fault",
    "FaultContext",
    "attack",
    "cascade",
    "churn",
    "conditions",
    "correlated",
    "fault",
    "identity",
    "link",
    "node",
    "partition",
    "swarm",
    "trace",
    "xdp",
]
