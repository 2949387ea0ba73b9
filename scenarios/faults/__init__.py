"""The fault catalogue: one module per family, all registered by importing this package."""

from x0mesh.scenarios.faults import conditions, link, node, partition
from x0mesh.scenarios.faults.base import FAULTS, Fault, FaultContext, fault

__all__ = [
    "FAULTS",
    "Fault",
    "FaultContext",
    "conditions",
    "fault",
    "link",
    "node",
    "partition",
]
