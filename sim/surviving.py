"""The surviving graph: which nodes the network physically still connects, whatever routing does.

A link counts when both its ends are on and both its directions pass packets; the mesh does not
use one-way links (RFC 2328 s.16.1), so a link cut in one direction is a cut link.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def components(nodes: Iterable[str], links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Representative of each node's connected component (union-find with path halving)."""
    parent = {node: node for node in nodes}

    def find(node: str) -> str:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in links:
        root_a, root_b = find(a), find(b)
        if root_a != root_b:
            parent[max(root_a, root_b)] = min(root_a, root_b)
    return {node: find(node) for node in parent}


def giant_share(labels: Mapping[str, str], total: int) -> float:
    """Nodes in the largest component over `total`."""
    sizes: dict[str, int] = {}
    for label in labels.values():
        sizes[label] = sizes.get(label, 0) + 1
    return max(sizes.values(), default=0) / total if total else 0.0
