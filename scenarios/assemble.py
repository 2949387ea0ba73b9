"""From the `topology:` section to the Topology: source, regions, overrides, additions, profiles."""

from __future__ import annotations

from x0mesh.scenarios.topology import Topology
from x0mesh.scenarios.topology_section import TopologySection


class TopologyError(ValueError):
    """The section cannot become a topology; `path` is the mistake's place inside the section."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


def assemble(section: TopologySection, seed: int = 1, base_dir: str = ".") -> Topology:
    """The topology of a scenario. `seed` is for generators without one of their own.

    Imported paths are relative to `base_dir`. Raises TopologyError.
    """
    raise NotImplementedError
