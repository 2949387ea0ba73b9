"""networkx node-link JSON."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ValidationError

from x0mesh.scenarios.imports.base import ImportFormat, Syntax, import_format
from x0mesh.scenarios.imports.json_graph import ends, entries
from x0mesh.scenarios.imports.network import (
    FileLink,
    FileNetwork,
    FileNode,
    TopologyFileError,
    finite,
    node_id,
    place,
)
from x0mesh.scenarios.link_conditions import MAX_COST, LinkConditions

_LATITUDE = ("latitude", "lat", "Latitude")
_LONGITUDE = ("longitude", "lon", "lng", "Longitude")
_CONDITIONS = frozenset(LinkConditions.model_fields) - {"burst"}


@import_format
class NodeLink(ImportFormat):
    """What `networkx.node_link_data` writes: `nodes` with `id`, and `links` or `edges`.

    `name` or `label` names a node. With `latitude` and `longitude` links get the delay of their
    length; `pos` or `x` and `y` are for pictures. A link may use the words of a link profile
    with units (`delay: "5ms"`, `rate: "10mbit"`, `loss: "1%"`) and `cost`. In a directed graph
    an edge and its opposite are the two directions of one link.
    """

    kind: ClassVar[str] = "node-link"
    syntax: ClassVar[Syntax] = "json"
    general: ClassVar[bool] = True

    def recognises(self, document: Any) -> bool:
        if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
            return False
        return isinstance(document.get("links"), list) or isinstance(document.get("edges"), list)

    def read(self, document: Any) -> FileNetwork:
        network = FileNetwork(directed=document.get("directed") is True)
        for number, entry in enumerate(entries(document, "nodes", required=True)):
            network.add_node(read_node(network, entry, f"nodes[{number}]"))
        key = "edges" if isinstance(document.get("edges"), list) else "links"
        for number, entry in enumerate(entries(document, key, required=True)):
            network.add_link(self._link(network, entry, f"{key}[{number}]"))
        network.add_linked_nodes()
        network.by_distance = any(node.place for node in network.nodes.values())
        return network

    def _link(self, network: FileNetwork, entry: dict[str, Any], where: str) -> FileLink:
        source, target = ends(entry, where)
        link = FileLink(node_id(source, where), node_id(target, where))
        ours: dict[str, Any] = {
            k: v for k, v in entry.items() if k in _CONDITIONS and isinstance(v, str)
        }
        try:
            link.conditions = LinkConditions.model_validate(ours) if ours else None
        except ValidationError as error:
            first = error.errors()[0]
            place_of = ".".join(map(str, first["loc"]))
            raise TopologyFileError(f"{where}.{place_of}: {first['msg']}") from None
        if isinstance(cost := entry.get("cost"), int) and 1 <= cost <= MAX_COST:
            link.cost_forward = link.cost_backward = cost
            ours["cost"] = cost
        for word in entry:
            if word not in ours and word not in ("source", "target", "key"):
                network.unused[f"link {word}"] = None
        return link


def read_node(network: FileNetwork, entry: dict[str, Any], where: str) -> FileNode:
    """A node of a node-link file, its other plain values as labels."""
    if "id" not in entry:
        raise TopologyFileError(f"{where}: 'id' is missing")
    node = FileNode(node_id(entry["id"], where))
    label = entry.get("name", entry.get("label"))
    node.label = label if isinstance(label, str) else None
    latitude = next((entry[k] for k in _LATITUDE if k in entry), None)
    longitude = next((entry[k] for k in _LONGITUDE if k in entry), None)
    node.place = place(latitude, longitude, where)
    drawn = entry.get("pos", (entry.get("x"), entry.get("y")))
    if isinstance(drawn, list | tuple) and len(drawn) == 2 and None not in drawn:
        node.drawn = finite(drawn[0], where), finite(drawn[1], where)
    used = {"id", "name", "label", "pos", "x", "y", *_LATITUDE, *_LONGITUDE}
    network.use_rest(node, entry, used)
    return node
