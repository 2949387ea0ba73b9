"""From a network as the file has it to the Topology; what is left out or supposed is said."""

from __future__ import annotations

import math
from dataclasses import replace

from x0mesh.scenarios.generators.base import DEFAULT_ROLE, PLAIN, LinkNames
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.imports.names import unique_names
from x0mesh.scenarios.imports.network import FileLink, FileNetwork, FileNode, TopologyFileError
from x0mesh.scenarios.link_conditions import delay_cost
from x0mesh.scenarios.plan import LinkPlan, NodePlan
from x0mesh.scenarios.topology import Topology

EARTH_RADIUS_KM = 6371.0
FIBRE_KM_PER_S = 299_792.458 * 2 / 3
SHORTEST_DELAY_NS = 100_000


def great_circle_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance of two (longitude, latitude) over the earth's surface (haversine)."""
    lon_a, lat_a, lon_b, lat_b = map(math.radians, (*a, *b))
    lat, lon = (lat_b - lat_a) / 2, (lon_b - lon_a) / 2
    chord = math.sin(lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(lon) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, chord)))


def fibre_delay_ns(km: float) -> int:
    """Propagation at 2/3 of the speed of light, never below 100 us."""
    return max(SHORTEST_DELAY_NS, round(km / FIBRE_KM_PER_S * 1e9))


def build(network: FileNetwork, source: str) -> Topology:
    """The largest connected piece, every node and link named; TopologyFileError if empty."""
    if not network.nodes:
        raise TopologyFileError("it has no nodes")
    listed, drawn = network.declared, len(network.links)
    notes: list[str] = []
    links = _joined(network, notes)
    links = _usable(links, notes)
    kept = _largest(network.nodes, links, notes)
    links = [link for link in links if link.source in kept]
    topology = _named([node for node in network.nodes.values() if node.id in kept], links)
    _delays(topology, network, links, notes)
    extra = len(network.nodes) - listed + network.repeated
    if extra:
        notes.insert(0, f"{extra} more nodes are named by links only")
    if network.repeated:
        notes.insert(0, f"{network.repeated} nodes repeat an id: the first of each counts")
    counts = (
        f"{source}: {listed} nodes, {drawn} links in the file; "
        f"{len(topology.nodes)} nodes, {len(topology.links)} links in the mesh"
    )
    notes += network.assumptions
    if network.unused:
        notes.append(f"not used: {', '.join(network.unused)}")
    topology.notes = [counts, *(f"{source}: {note}" for note in notes)]
    return topology


def _joined(network: FileNetwork, notes: list[str]) -> list[FileLink]:
    """In a directed graph an edge and its opposite become one link."""
    if not network.directed:
        return network.links
    waiting: dict[tuple[str, str], list[FileLink]] = {}
    links: list[FileLink] = []
    pairs = 0
    for edge in network.links:
        opposite = waiting.get((edge.target, edge.source))
        if opposite:
            first = opposite.pop(0)
            pairs += 1
            first.cost_backward = edge.cost_forward
            # Each end may report both directions; the worse report counts.
            first.loss_backward = max(first.loss_backward, edge.loss_forward)
            first.loss_forward = max(first.loss_forward, edge.loss_backward)
            continue
        waiting.setdefault((edge.source, edge.target), []).append(edge)
        links.append(edge)
    for link in links:
        if link.cost_backward is None:
            link.cost_backward = link.cost_forward
    single = len(links) - pairs
    notes.append(f"directed: {pairs} pairs of opposite edges are one link each")
    if single:
        notes.append(f"directed: {single} edges without an opposite are links both ways")
    return links


def _usable(links: list[FileLink], notes: list[str]) -> list[FileLink]:
    loops = sum(link.source == link.target for link in links)
    if loops:
        notes.append(f"{loops} links from a node to itself left out")
    links = [link for link in links if link.source != link.target]
    dead = sum(max(link.loss_forward, link.loss_backward) >= 1 for link in links)
    if dead:
        notes.append(f"{dead} links with quality 0 in a direction left out: they deliver nothing")
    return [link for link in links if max(link.loss_forward, link.loss_backward) < 1]


def _largest(
    nodes: dict[str, FileNode], links: list[FileLink], notes: list[str]
) -> dict[str, None]:
    """The ids of the largest component; of equal ones the first of the file."""
    near: dict[str, list[str]] = {own: [] for own in nodes}
    for link in links:
        near[link.source].append(link.target)
        near[link.target].append(link.source)
    seen: set[str] = set()
    pieces: list[dict[str, None]] = []
    for start in nodes:
        if start in seen:
            continue
        piece = {start: None}
        front = [start]
        while front:
            for other in near[front.pop()]:
                if other not in piece:
                    piece[other] = None
                    front.append(other)
        seen.update(piece)
        pieces.append(piece)
    if len(pieces) == len(nodes) > 1:
        raise TopologyFileError(f"{len(nodes)} nodes, but no usable link between any two of them")
    largest = max(pieces, key=len)
    if len(pieces) > 1:
        lost = sum(link.source not in largest for link in links)
        notes.append(
            f"not connected: the largest of {len(pieces)} pieces is kept; "
            f"{len(nodes) - len(largest)} nodes and {lost} links of the others are left out"
        )
    return largest


def _named(nodes: list[FileNode], links: list[FileLink]) -> Topology:
    names = unique_names([(node.id, node.label) for node in nodes])
    by_id = {node.id: name for node, name in zip(nodes, names, strict=True)}
    topology = Topology()
    for node, name in zip(nodes, names, strict=True):
        labels = {"id": node.id, **({"label": node.label} if node.label else {}), **node.labels}
        topology.nodes[name] = NodePlan(
            name,
            role=DEFAULT_ROLE,
            labels=tuple(labels.items()),
            position=node.place or node.drawn,
        )
    link_names = LinkNames(topology)
    for link in links:
        a, b = by_id[link.source], by_id[link.target]
        name = link_names.name(a, b)
        topology.links[name] = _plan(name, a, b, link)
    return topology


def _plan(name: str, a: str, b: str, link: FileLink) -> LinkPlan:
    base = replace(PLAIN, rate_bps=link.rate_bps)
    forward = replace(base, loss=link.loss_forward)
    backward = replace(base, loss=link.loss_backward)
    return LinkPlan(name, a, b, forward, backward)


def _delays(
    topology: Topology, network: FileNetwork, links: list[FileLink], notes: list[str]
) -> None:
    """Delay by length where the format gives one, then the file's own words, then costs."""
    unplaced = 0
    for name, link in zip(list(topology.links), links, strict=True):
        plan = topology.links[name]
        ends = network.nodes[link.source].place, network.nodes[link.target].place
        km = link.km
        if km is None and network.by_distance and ends[0] and ends[1]:
            km = great_circle_km(ends[0], ends[1])
        unplaced += network.by_distance and km is None
        directions = [plan.forward, plan.backward]
        if km is not None:
            directions = [replace(one, delay_ns=fibre_delay_ns(km)) for one in directions]
        if link.conditions is not None:
            directions = [link.conditions.apply(one) for one in directions]
        topology.links[name] = _costed(plan, directions[0], directions[1], link)
    if network.by_distance:
        notes.append("delay: length at 2/3 of the speed of light, at least 100 us")
    if unplaced:
        notes.append(f"{unplaced} links without a length get the plain delay of 1 ms")


def _costed(plan: LinkPlan, forward: Impairment, backward: Impairment, link: FileLink) -> LinkPlan:
    return replace(
        plan,
        forward=forward,
        backward=backward,
        cost_forward=link.cost_forward or delay_cost(forward.delay_ns),
        cost_backward=link.cost_backward or delay_cost(backward.delay_ns),
    )
