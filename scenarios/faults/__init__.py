"""The fault catalogue: one module per family."""

from x0mesh.scenarios.faults.base import FAULTS, Fault, FaultContext, fault

__all__ = ["FAULTS", "Fault", "FaultContext", "fault"]
