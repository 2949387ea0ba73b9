"""containerlab topology files."""

from __future__ import annotations

from typing import Any, ClassVar

from x0mesh.scenarios.imports.base import ImportFormat, Syntax, import_format
from x0mesh.scenarios.imports.network import FileLink, FileNetwork, FileNode, TopologyFileError

_OUTSIDE = frozenset({"host", "mgmt-net", "macvlan", "dummy"})


@import_format
class Containerlab(ImportFormat):
    """`*.clab.yml`: the names under `topology.nodes` and the `endpoints` of `topology.links`.

    Images, kinds and configuration are of no meaning here; `kind`, `group` and `labels` become
    labels of the node. Links to the host, the management network or macvlan are left out.
    """

    kind: ClassVar[str] = "containerlab"
    syntax: ClassVar[Syntax] = "yaml"

    def recognises(self, document: Any) -> bool:
        topology = document.get("topology") if isinstance(document, dict) else None
        return isinstance(topology, dict) and "nodes" in topology

    def read(self, document: Any) -> FileNetwork:
        network = FileNetwork()
        topology = document["topology"]
        nodes = topology["nodes"] or {}
        if not isinstance(nodes, dict):
            raise TopologyFileError("topology.nodes: expected a mapping of names")
        for name, entry in nodes.items():
            if isinstance(name, bool) or not isinstance(name, str | int):
                raise TopologyFileError(f"topology.nodes: a name must be text, got {name!r}")
            network.add_node(self._node(network, str(name), entry or {}))
        links = topology.get("links") or []
        if not isinstance(links, list):
            raise TopologyFileError("topology.links: expected a list")
        outside = 0
        for number, entry in enumerate(links):
            ends = self._ends(network, entry, f"topology.links[{number}]")
            if ends is None:
                outside += 1
            else:
                network.add_link(FileLink(*ends))
        if outside:
            network.assumptions.append(
                f"{outside} links to the host or a network outside are left out"
            )
        return network

    def _node(self, network: FileNetwork, name: str, entry: Any) -> FileNode:
        if not isinstance(entry, dict):
            raise TopologyFileError(f"topology.nodes.{name}: expected a mapping")
        node = FileNode(name, label=name)
        labels = entry.get("labels")
        network.use_rest(node, labels if isinstance(labels, dict) else {}, set())
        kept = ("kind", "group")
        node.labels |= {key: str(entry[key]) for key in kept if isinstance(entry.get(key), str)}
        for key in entry:
            if key not in (*kept, "labels"):
                network.unused[f"node {key}"] = None
        return node

    def _ends(self, network: FileNetwork, entry: Any, where: str) -> tuple[str, str] | None:
        """The two nodes a link joins, or None where one end is outside."""
        if not isinstance(entry, dict):
            raise TopologyFileError(f"{where}: expected a mapping with endpoints")
        if entry.get("type", "veth") != "veth":
            return None
        for key in entry:
            if key not in ("endpoints", "type"):
                network.unused[f"link {key}"] = None
        ends = entry.get("endpoints")
        if not isinstance(ends, list) or len(ends) != 2:
            raise TopologyFileError(
                f"{where}.endpoints: expected two, such as ['a:eth1', 'b:eth1']"
            )
        names = [self._end(end, where) for end in ends]
        if any(name in _OUTSIDE and name not in network.nodes for name in names):
            return None
        for name in names:
            if name not in network.nodes:
                raise TopologyFileError(f"{where}: node '{name}' is not among topology.nodes")
        return names[0], names[1]

    def _end(self, end: Any, where: str) -> str:
        if isinstance(end, dict):
            return str(end.get("node"))
        if not isinstance(end, str):
            raise TopologyFileError(
                f"{where}.endpoints: expected 'node:interface', got {end!r:.60}"
            )
        return end.partition(":")[0]
