"""Discrete-event engine: runs the protocol of `mesh/` on a SimPy clock, deterministically."""

from x0mesh.sim.engine import run

__all__ = ["run"]
