"""NetJSON NetworkGraph."""

from __future__ import annotations

from typing import Any, ClassVar

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
    ratio,
)
from x0mesh.scenarios.link_conditions import MAX_COST

COST_UNIT = 10


@import_format
class NetJson(ImportFormat):
    """A NetJSON `NetworkGraph`, as OLSR, batman-adv and others report it.

    A link and its opposite are the two directions of one link. Its `cost` times 10 is the
    routing cost of that direction (at most 65535). OLSR's `properties` give loss: `nlq` is how
    much of what the source sends arrives, `lq` how much of what the target sends.
    """

    kind: ClassVar[str] = "netjson"
    syntax: ClassVar[Syntax] = "json"

    def recognises(self, document: Any) -> bool:
        kinds = ("NetworkGraph", "NetworkCollection")
        return isinstance(document, dict) and document.get("type") in kinds

    def read(self, document: Any) -> FileNetwork:
        if document.get("type") != "NetworkGraph":
            raise TopologyFileError("a NetworkCollection; give one of its NetworkGraphs")
        network = FileNetwork(directed=True)
        for number, entry in enumerate(entries(document, "nodes", required=True)):
            network.add_node(self._node(network, entry, f"nodes[{number}]"))
        for number, entry in enumerate(entries(document, "links", required=True)):
            network.add_link(self._link(network, entry, f"links[{number}]"))
        network.add_linked_nodes()
        if any(link.cost_forward is not None for link in network.links):
            network.assumptions.append(f"cost is the file's times {COST_UNIT}")
        if any(link.loss_forward or link.loss_backward for link in network.links):
            network.assumptions.append("loss is 1 - nlq from source to target, 1 - lq back")
        return network

    def _node(self, network: FileNetwork, entry: dict[str, Any], where: str) -> FileNode:
        if "id" not in entry:
            raise TopologyFileError(f"{where}: 'id' is missing")
        node = FileNode(node_id(entry["id"], where))
        properties = entry.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        label = entry.get("label") or properties.get("hostname") or properties.get("name")
        node.label = label if isinstance(label, str) else None
        spot = properties.get("location", properties)
        if isinstance(spot, dict):
            longitude = spot.get("lng", spot.get("lon"))
            node.place = place(spot.get("lat"), longitude, where)
        network.use_rest(node, properties, {"hostname", "name", "location", "lat", "lng", "lon"})
        return node

    def _link(self, network: FileNetwork, entry: dict[str, Any], where: str) -> FileLink:
        source, target = ends(entry, where)
        link = FileLink(node_id(source, where), node_id(target, where))
        if (cost := entry.get("cost")) is not None:
            weight = finite(cost, f"{where}.cost")
            if weight < 0:
                raise TopologyFileError(f"{where}.cost: cannot be negative, got {weight:g}")
            link.cost_forward = int(min(MAX_COST, max(1, round(weight * COST_UNIT))))
        properties = entry.get("properties")
        for key, value in (properties if isinstance(properties, dict) else {}).items():
            if key == "nlq":
                link.loss_forward = 1 - ratio(value, f"{where}.nlq")
            elif key == "lq":
                link.loss_backward = 1 - ratio(value, f"{where}.lq")
            else:
                network.unused[f"link {key}"] = None
        return link
