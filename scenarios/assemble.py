"""From the `topology:` section to the Topology: source, regions, overrides, additions, profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import networkx as nx

from x0mesh.scenarios.draws import stream
from x0mesh.scenarios.generators.base import (
    DEFAULT_ROLE,
    MAX_LINKS,
    MAX_NODES,
    PLAIN,
    LinkNames,
)
from x0mesh.scenarios.imports import TopologyFileError, read_topology
from x0mesh.scenarios.link_conditions import delay_cost
from x0mesh.scenarios.plan import LinkPlan, NodePlan
from x0mesh.scenarios.registry import did_you_mean
from x0mesh.scenarios.selectors import SelectorError, links_between
from x0mesh.scenarios.topology import Topology
from x0mesh.scenarios.topology_section import (
    LinkProfile,
    LinkSpec,
    NodeSpec,
    ProfileOrName,
    Regions,
    TopologySection,
)

Where = tuple[str | int, ...]


class TopologyError(ValueError):
    """The section cannot become a topology; `path` is the mistake's place inside the section."""

    def __init__(self, message: str, path: Where = ()) -> None:
        super().__init__(message)
        self.path = path


def assemble(section: TopologySection, seed: int = 1, base_dir: str | Path = ".") -> Topology:
    """The topology of a scenario. `seed` is for generators without one of their own.

    Imported paths are relative to `base_dir`. Raises TopologyError.
    """
    topology = _source(section, seed, base_dir)
    added: dict[str, LinkSpec] = {}
    if section.inline:
        _add_links(topology, section.links, added, ("links",))
    if section.regions is not None:
        _assign_regions(topology, section.regions)
    _override(topology, section.nodes)
    _add(topology, section, added)
    _profile(topology, section, added)
    _validate(topology, section)
    return topology


def _source(section: TopologySection, seed: int, base_dir: str | Path) -> Topology:
    if section.import_ is not None:
        try:
            return read_topology(section.import_, base_dir, section.format)
        except TopologyFileError as error:
            raise TopologyError(str(error), ("import",)) from None
    if section.generator is not None:
        chosen = section.generator
        own = seed if chosen.seed is None else chosen.seed
        try:
            return chosen.build(stream(own, "topology", chosen.kind))
        except ValueError as error:
            raise TopologyError(str(error), ("generator",)) from None
    return Topology(nodes={name: NodePlan(name, role=DEFAULT_ROLE) for name in section.nodes})


def _override(topology: Topology, nodes: Mapping[str, NodeSpec]) -> None:
    for name, spec in nodes.items():
        if name not in topology.nodes:
            hint = did_you_mean(name, list(topology.nodes))
            raise TopologyError(
                f"'{name}' is no node of this topology{hint}; new nodes go under add",
                ("nodes", name),
            )
        topology.nodes[name] = _described(topology.nodes[name], spec)


def _described(node: NodePlan, spec: NodeSpec) -> NodePlan:
    return replace(
        node,
        region=node.region if spec.region is None else spec.region,
        role=node.role if spec.role is None else spec.role,
        labels=tuple((dict(node.labels) | spec.labels).items()),
        position=spec.position or node.position,
    )


def _add(topology: Topology, section: TopologySection, added: dict[str, LinkSpec]) -> None:
    for name, spec in section.add.nodes.items():
        if name in topology.nodes:
            raise TopologyError(
                f"'{name}' exists already; to change it, write it under nodes",
                ("add", "nodes", name),
            )
        topology.nodes[name] = _described(NodePlan(name, role=DEFAULT_ROLE), spec)
    _add_links(topology, section.add.links, added, ("add", "links"))


def _add_links(
    topology: Topology, specs: Sequence[LinkSpec], added: dict[str, LinkSpec], start: Where
) -> None:
    link_names = LinkNames(topology)
    for number, spec in enumerate(specs):
        for side, end in enumerate(spec.endpoints):
            if end not in topology.nodes:
                hint = did_you_mean(end, list(topology.nodes))
                path = (*start, number, "endpoints", side)
                raise TopologyError(f"unknown node '{end}'{hint}", path)
        a, b = spec.endpoints
        if spec.name is not None and spec.name in topology.links:
            raise TopologyError(f"a link is named '{spec.name}' already", (*start, number, "name"))
        name = spec.name or link_names.name(a, b)
        topology.links[name] = LinkPlan(name, a, b, PLAIN, PLAIN)
        added[name] = spec


def _profile(topology: Topology, section: TopologySection, added: Mapping[str, LinkSpec]) -> None:
    """Link profiles by rule, then what added links say themselves."""
    chosen: dict[str, LinkProfile] = {}
    used: set[str] = set()

    def profile_of(reference: ProfileOrName, path: Where) -> LinkProfile:
        if isinstance(reference, LinkProfile):
            return reference
        used.add(reference)
        if reference not in section.profiles:
            hint = did_you_mean(reference, list(section.profiles))
            raise TopologyError(f"unknown profile '{reference}'{hint}", path)
        return section.profiles[reference]

    for number, rule in enumerate(section.link_profiles):
        path: Where = ("link_profiles", number)
        profile = profile_of(rule.profile, (*path, "profile"))
        try:
            matched = links_between(rule.between, topology)
        except SelectorError as error:
            raise TopologyError(str(error), (*path, "between")) from None
        if not matched:
            topology.notes.append(f"link_profiles[{number}] matches no link")
        chosen.update(dict.fromkeys(matched, profile))
    for name, profile in chosen.items():
        topology.links[name] = _conditioned(topology.links[name], profile, profile)
    start: Where = ("links",) if section.inline else ("add", "links")
    for number, (name, spec) in enumerate(added.items()):
        link = topology.links[name]
        if spec.profile is not None:
            own = profile_of(spec.profile, (*start, number, "profile"))
            link = _conditioned(link, own, own)
        link = _conditioned(link, spec, spec)
        topology.links[name] = _conditioned(link, spec.forward, spec.backward)
    if unused := [name for name in section.profiles if name not in used]:
        topology.notes.append(f"profiles no link uses: {', '.join(unused)}")


def _conditioned(
    link: LinkPlan, forward: LinkProfile | None, backward: LinkProfile | None
) -> LinkPlan:
    """The link with these conditions; a cost that came from the delay follows the delay."""
    if forward is not None:
        there = forward.apply(link.forward)
        derived = link.cost_forward == delay_cost(link.forward.delay_ns)
        cost = delay_cost(there.delay_ns) if derived else link.cost_forward
        link = replace(link, forward=there, cost_forward=forward.cost or cost)
    if backward is not None:
        back = backward.apply(link.backward)
        derived = link.cost_backward == delay_cost(link.backward.delay_ns)
        cost = delay_cost(back.delay_ns) if derived else link.cost_backward
        link = replace(link, backward=back, cost_backward=backward.cost or cost)
    return link


def _assign_regions(topology: Topology, regions: Regions) -> None:
    match regions.assign:
        case "round-robin":
            chosen = {
                name: regions.names[number % len(regions.names)]
                for number, name in enumerate(topology.nodes)
            }
        case "blocks":
            chosen = _shares(list(topology.nodes), regions.names)
        case "position":
            chosen = _by_position(topology, regions.names)
        case "label":
            chosen = _by_label(topology, regions)
    for name, region in chosen.items():
        topology.nodes[name] = replace(topology.nodes[name], region=region)


def _shares(ordered: list[str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: names[number * len(names) // len(ordered)] for number, name in enumerate(ordered)}


def _by_position(topology: Topology, names: tuple[str, ...]) -> dict[str, str]:
    """Equal shares from west to east; a node without a place goes with its nearest that has one."""
    placed = {
        node.name: node.position for node in topology.nodes.values() if node.position is not None
    }
    if not placed:
        raise TopologyError("assign: position needs nodes with positions", ("regions", "assign"))
    chosen = _shares(sorted(placed, key=lambda name: placed[name]), names)
    graph = nx.Graph(topology.graph())
    front = list(chosen)
    for name in front:
        for other in graph[name]:
            if other not in chosen:
                chosen[other] = chosen[name]
                front.append(other)
    if unplaced := len(chosen) - len(placed):
        topology.notes.append(
            f"regions: {unplaced} nodes without a position go with their nearest neighbour's"
        )
    return chosen


def _by_label(topology: Topology, regions: Regions) -> dict[str, str]:
    assert regions.label is not None
    labels = {node.name: dict(node.labels) for node in topology.nodes.values()}
    known = sorted({key for own in labels.values() for key in own})
    if regions.label not in known:
        hint = did_you_mean(regions.label, known) or f" (labels: {', '.join(known) or 'none'})"
        raise TopologyError(f"no node has the label '{regions.label}'{hint}", ("regions", "label"))
    chosen = {name: own[regions.label] for name, own in labels.items() if regions.label in own}
    foreign = [name for name, region in chosen.items() if region not in regions.names]
    if regions.names and foreign:
        first = foreign[0]
        raise TopologyError(
            f"{len(foreign)} nodes have a {regions.label} that is not among names, such as "
            f"'{first}' with '{chosen[first]}'",
            ("regions", "names"),
        )
    if missing := len(labels) - len(chosen):
        topology.notes.append(f"regions: {missing} nodes have no {regions.label}, so no region")
    return chosen


def _validate(topology: Topology, section: TopologySection) -> None:
    if len(topology.nodes) > MAX_NODES or len(topology.links) > MAX_LINKS:
        raise TopologyError(f"at most {MAX_NODES} nodes and {MAX_LINKS} links")
    reached = _reached(topology)
    lost = [name for name in topology.nodes if name not in reached]
    if not lost:
        return
    name = lost[0]
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    path: Where = ("add", "nodes", name) if name in section.add.nodes else ("links",)
    linked = any(name in (link.a, link.b) for link in topology.links.values())
    what = "is not connected with the rest" if linked else "has no link"
    raise TopologyError(f"node '{name}'{more} {what}: every node needs a path to all others", path)


def _reached(topology: Topology) -> set[str]:
    graph = topology.graph()
    first = next(iter(topology.nodes))
    return set(nx.node_connected_component(nx.Graph(graph), first))
