"""What the JSON formats share: lists of nodes and links, checked entry by entry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from x0mesh.scenarios.imports.network import TopologyFileError


def entries(document: dict[str, Any], key: str, required: bool) -> Iterator[dict[str, Any]]:
    """The mappings of a list; TopologyFileError where it is something else."""
    found = document.get(key)
    if found is None and not required:
        return
    if not isinstance(found, list):
        raise TopologyFileError(f"not a graph: '{key}' is no list")
    for number, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise TopologyFileError(f"{key}[{number}]: expected a mapping, got {entry!r:.60}")
        yield entry


def ends(entry: dict[str, Any], where: str) -> tuple[Any, Any]:
    for key in ("source", "target"):
        if key not in entry:
            raise TopologyFileError(f"{where}: '{key}' is missing")
    return entry["source"], entry["target"]
