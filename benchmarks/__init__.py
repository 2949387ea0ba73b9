"""Measured comparisons: what the simulator costs beside plain SimPy, on one machine in one run."""
