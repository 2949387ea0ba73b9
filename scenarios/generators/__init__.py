"""Topologies made from a rule: exactly the nodes asked for, always connected, seeded."""

from x0mesh.scenarios.generators import geometric, grown, regular
from x0mesh.scenarios.generators.base import GENERATORS, TopologyGenerator, generator

__all__ = ["GENERATORS", "TopologyGenerator", "generator", "geometric", "grown", "regular"]
