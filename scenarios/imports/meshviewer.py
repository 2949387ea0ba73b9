"""Community mesh maps: meshviewer JSON and what the meshnet-lab project makes of it."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from x0mesh.scenarios.imports.base import ImportFormat, Syntax, import_format
from x0mesh.scenarios.imports.json_graph import ends, entries
from x0mesh.scenarios.imports.network import (
    FileLink,
    FileNetwork,
    FileNode,
    TopologyFileError,
    node_id,
    place,
    ratio,
)

RADIO_TRIES: Final = 7


@import_format
class Meshviewer(ImportFormat):
    """Freifunk maps: `nodes` with `id` or `node_id`, `links` with `source_tq` and `target_tq`.

    A quality is taken for the share of broadcasts that arrive in the direction away from the node
    it is named after (as batman-adv measures TQ). Radio sends a unicast frame again until it is
    acknowledged, up to seven times (IEEE 802.11, dot11ShortRetryLimit): loss = (1 - tq)^7. Links
    of type `vpn` send once: loss = 1 - tq. Links without a quality lose nothing. Every link has
    the plain delay of 1 ms: what a radio link takes does not depend on its length. meshnet-lab's
    `x` is the latitude. Ids are compared as text; of entries that repeat an id the first counts
    (Berlin's map has such).
    """

    kind: ClassVar[str] = "meshviewer"
    syntax: ClassVar[Syntax] = "json"

    def recognises(self, document: Any) -> bool:
        if not isinstance(document, dict) or not isinstance(document.get("links"), list):
            return False
        nodes = document.get("nodes")
        return any(
            isinstance(link, dict) and ("source_tq" in link or "target_tq" in link)
            for link in document["links"]
        ) or any(
            isinstance(node, dict) and "node_id" in node
            for node in (nodes if isinstance(nodes, list) else [])
        )

    def read(self, document: Any) -> FileNetwork:
        network = FileNetwork()
        for number, entry in enumerate(entries(document, "nodes", required=False)):
            network.add_node(self._node(entry, f"nodes[{number}]"), first_counts=True)
        unmeasured = 0
        for number, entry in enumerate(entries(document, "links", required=True)):
            where = f"links[{number}]"
            source, target = ends(entry, where)
            tries = 1 if entry.get("type") == "vpn" else RADIO_TRIES
            forward = ratio(entry.get("source_tq", 1), f"{where}.source_tq")
            backward = ratio(entry.get("target_tq", 1), f"{where}.target_tq")
            network.add_link(
                FileLink(
                    node_id(source, where),
                    node_id(target, where),
                    loss_forward=(1 - forward) ** tries,
                    loss_backward=(1 - backward) ** tries,
                )
            )
            unmeasured += "source_tq" not in entry and "target_tq" not in entry
        network.add_linked_nodes()
        network.assumptions.append(
            f"loss = (1 - tq)^{RADIO_TRIES} on radio, 1 - tq on vpn links, each direction its own; "
            "delay 1 ms"
        )
        if unmeasured:
            network.assumptions.append(f"{unmeasured} links without a quality lose nothing")
        return network

    def _node(self, entry: dict[str, Any], where: str) -> FileNode:
        own = entry.get("id", entry.get("node_id"))
        if own is None:
            raise TopologyFileError(f"{where}: 'id' or 'node_id' is missing")
        label = entry.get("name", entry.get("hostname"))
        node = FileNode(node_id(own, where), label=label if isinstance(label, str) else None)
        spot = entry.get("location")
        if isinstance(spot, dict):
            node.place = place(spot.get("latitude"), spot.get("longitude"), where)
        else:
            node.place = place(entry.get("x"), entry.get("y"), where)
        return node
