"""x0mesh: simulation and chaos testing for self-healing, zero-trust mesh networks."""

__version__ = "0.1.0"
