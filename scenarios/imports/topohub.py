"""Networks of the topohub package: backbones, SNDlib, Topology Zoo, CAIDA, Gabriel graphs."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, ClassVar

from x0mesh.scenarios.imports.base import ImportFormat, Syntax, import_format
from x0mesh.scenarios.imports.json_graph import ends, entries
from x0mesh.scenarios.imports.network import (
    FileLink,
    FileNetwork,
    TopologyFileError,
    finite,
    node_id,
)
from x0mesh.scenarios.imports.node_link import read_node
from x0mesh.scenarios.registry import did_you_mean

PREFIX = "topohub:"


@import_format
class TopoHub(ImportFormat):
    """A network of the topohub package by name, `topohub:sndlib/germany50`, or its JSON file.

    Link delay is `dist` in km at 2/3 of the speed of light; positions are longitude and latitude
    (Gabriel graphs: the plane).
    """

    kind: ClassVar[str] = "topohub"
    syntax: ClassVar[Syntax] = "json"

    def recognises(self, document: Any) -> bool:
        graph = document.get("graph") if isinstance(document, dict) else None
        return isinstance(graph, dict) and "demands" in graph and "stats" in graph

    def read(self, document: Any) -> FileNetwork:
        network = FileNetwork(by_distance=True)
        for number, entry in enumerate(entries(document, "nodes", required=True)):
            network.add_node(read_node(network, entry, f"nodes[{number}]"))
        for number, entry in enumerate(entries(document, "edges", required=True)):
            where = f"edges[{number}]"
            source, target = ends(entry, where)
            km = finite(entry.get("dist"), f"{where}.dist")
            if km < 0:
                raise TopologyFileError(f"{where}.dist: a length cannot be negative, got {km:g}")
            network.add_link(FileLink(node_id(source, where), node_id(target, where), km=km))
        network.add_linked_nodes()
        return network


def _walk(folder: Traversable, path: str) -> list[str]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(".json"):
            found.append(path + entry.name.removesuffix(".json"))
    return found


@cache
def names() -> tuple[str, ...]:
    """Every network the installed package has, sorted."""
    return tuple(sorted(_walk(files("topohub") / "data", "")))


def document(name: str) -> Any:
    """The stored network; only names the package lists are ever opened."""
    known = names()
    if name not in known:
        close = did_you_mean(name, list(known))
        if not close:
            alike = [full for full in known if full.rpartition("/")[2].lower() == name.lower()]
            close = f"; did you mean '{alike[0]}'?" if alike else ""
        groups = ", ".join(sorted({full.partition("/")[0] for full in known}))
        raise TopologyFileError(
            f"{PREFIX}{name}: no such network{close or f' (there are {len(known)}: {groups})'}"
        )
    return json.loads((files("topohub") / "data" / f"{name}.json").read_text("utf-8"))
