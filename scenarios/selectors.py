"""Choosing nodes and links of a topology by name, label, place or graph property.

A selector is resolved once per replication, before the run; the draw comes from the generator
the caller gives, so both engines meet the same targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from x0mesh.scenarios import graph_properties
from x0mesh.scenarios.draws import stream
from x0mesh.scenarios.plan import LinkPlan, NodePlan
from x0mesh.scenarios.registry import did_you_mean
from x0mesh.scenarios.topology import Topology
from x0mesh.scenarios.units import parse_ratio

NodeGraph = Literal[
    "bridge",
    "cut-vertex",
    "highest-betweenness",
    "highest-degree",
    "lowest-degree",
    "leaf",
    "farthest",
]
LinkGraph = Literal["bridge", "not-bridge", "highest-betweenness"]


class SelectorError(ValueError):
    """The selector is impossible in this topology; `selector` is what was written."""

    def __init__(self, message: str, selector: object = None) -> None:
        super().__init__(message)
        self.selector = selector


def _check_pick(pick: int | str) -> int | str:
    if isinstance(pick, bool) or (isinstance(pick, int) and pick < 1):
        raise ValueError(f"expected a number of at least 1, a percentage or all, got {pick}")
    if isinstance(pick, str) and pick != "all" and parse_ratio(pick) == 0:
        raise ValueError("0% chooses nothing")
    return pick


Pick = Annotated[
    Annotated[int, Field(strict=True)] | str,
    Field(description="how many of the matches: a number, a percentage, or all"),
    AfterValidator(_check_pick),
]


class NodeQuery(BaseModel):
    """Nodes that satisfy every condition written.

    `name` is a glob. `graph: bridge` are the ends of bridges. The ordering properties
    (highest-, lowest-, farthest) take the first `pick` in order, one unless said otherwise
    (farthest: the two ends); otherwise `pick` is drawn from the seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str | None = None
    region: str | None = None
    role: str | None = None
    label: dict[str, str] | None = Field(default=None, description="label: glob of its value")
    graph: NodeGraph | None = None
    exclude: list[NodeSelector] = Field(default_factory=list, alias="not")
    pick: Pick | None = None


class LinkQuery(BaseModel):
    """Links that satisfy every condition written.

    `between` two node selectors (either way round), or "*" for every link. `region`: both ends
    in it. `highest-betweenness` takes the first `pick` in order, one unless said otherwise;
    otherwise `pick` is drawn from the seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str | None = None
    between: Between | None = None
    region: str | None = None
    graph: LinkGraph | None = None
    exclude: list[LinkSelector] = Field(default_factory=list, alias="not")
    pick: Pick | None = None


def _shape(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    return "list" if isinstance(value, list | tuple) else "query"


# A discriminator, so that a mistake is reported against the shape that was written only.
NodeSelector = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[NodeQuery, Tag("query")]
    | Annotated[list[str | NodeQuery], Tag("list")],
    Discriminator(_shape),
]
LinkSelector = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[LinkQuery, Tag("query")]
    | Annotated[list[str | LinkQuery], Tag("list")],
    Discriminator(_shape),
]
Between = Annotated[
    Annotated[Literal["*"], Tag("name")]
    | Annotated[tuple[NodeSelector, NodeSelector], Tag("list")],
    Discriminator(_shape),
]
GroupSelector = NodeSelector
"""A node selector, or the word `rest`: every node in no other group."""

REST = "rest"

NodeQuery.model_rebuild()
LinkQuery.model_rebuild()


def resolve_nodes(
    selector: NodeSelector,
    topology: Topology,
    random: np.random.Generator,
    *,
    bindings: Mapping[str, Sequence[str]] | None = None,
    never: Collection[str] = (),
    notes: list[str] | None = None,
) -> tuple[str, ...]:
    """Names of the chosen nodes, in topology order (ordering properties: in their order).

    `bindings` are the names that `@name` stands for, `never` the nodes that are chosen only when
    named outright. What was estimated is appended to `notes`. Raises SelectorError where nothing
    matches, a name is unknown, or fewer match than `pick` wants.
    """
    chosen = _Chooser(topology, random, bindings or {}, frozenset(never), notes).nodes(selector)
    return _some(chosen, "node", selector)


def resolve_links(
    selector: LinkSelector,
    topology: Topology,
    random: np.random.Generator,
    *,
    bindings: Mapping[str, Sequence[str]] | None = None,
    notes: list[str] | None = None,
) -> tuple[str, ...]:
    """Names of the chosen links; see `resolve_nodes`."""
    chosen = _Chooser(topology, random, bindings or {}, frozenset(), notes).links(selector)
    return _some(chosen, "link", selector)


def resolve_groups(
    selectors: Sequence[GroupSelector],
    topology: Topology,
    random: np.random.Generator,
    *,
    bindings: Mapping[str, Sequence[str]] | None = None,
    never: Collection[str] = (),
    notes: list[str] | None = None,
) -> tuple[tuple[str, ...], ...]:
    """Groups of nodes; `rest` is every node in no other group, those of `never` included."""
    if sum(selector == REST for selector in selectors) > 1:
        raise SelectorError(f"'{REST}' can stand once among the groups", selectors)
    chooser = _Chooser(topology, random, bindings or {}, frozenset(never), notes)
    groups = [
        () if selector == REST else _some(chooser.nodes(selector), "node", selector)
        for selector in selectors
    ]
    taken = {name for group in groups for name in group}
    rest = tuple(name for name in topology.nodes if name not in taken)
    if REST in selectors and not rest:
        raise SelectorError(f"'{REST}' is empty: the other groups hold every node", selectors)
    return tuple(
        rest if selector == REST else group
        for selector, group in zip(selectors, groups, strict=True)
    )


def _some(chosen: list[str], what: str, selector: object) -> tuple[str, ...]:
    if not chosen:
        raise SelectorError(f"matches no {what}", selector)
    return tuple(chosen)


def _is_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


class _Chooser:
    """One resolution: the topology, the draw, and what was said about estimates."""

    def __init__(
        self,
        topology: Topology,
        random: np.random.Generator,
        bindings: Mapping[str, Sequence[str]],
        never: frozenset[str],
        notes: list[str] | None,
    ) -> None:
        self.topology = topology
        self.random = random
        self.bindings = bindings
        self.never = never
        self.notes = notes
        self.graph = graph_properties.graph_of(topology)
        self.node_number = {name: i for i, name in enumerate(topology.nodes)}
        self.link_number = {name: i for i, name in enumerate(topology.links)}

    def nodes(self, selector: NodeSelector) -> list[str]:
        if isinstance(selector, str):
            return self._word(selector, list(self.topology.nodes), "node")
        if isinstance(selector, NodeQuery):
            return self._node_query(selector)
        return self._union(selector, self.nodes, "node")

    def links(self, selector: LinkSelector) -> list[str]:
        if isinstance(selector, str):
            return self._word(selector, list(self.topology.links), "link")
        if isinstance(selector, LinkQuery):
            return self._link_query(selector)
        return self._union(selector, self.links, "link")

    def _union(
        self, selectors: Sequence[Any], resolve: Callable[[Any], list[str]], what: str
    ) -> list[str]:
        chosen: dict[str, None] = {}
        for selector in selectors:
            chosen.update(dict.fromkeys(_some(resolve(selector), what, selector)))
        return list(chosen)

    def _word(self, word: str, known: list[str], what: str) -> list[str]:
        if word in known:
            return [word]
        if word == "*":
            return [name for name in known if what == "link" or name not in self.never]
        if word.startswith("@"):
            return self._bound(word, known, what)
        if word == REST:
            raise SelectorError(f"'{REST}' has a meaning among groups only", word)
        if _is_glob(word):
            raise SelectorError(
                f"unknown {what} '{word}'; for a pattern write {{name: '{word}'}}", word
            )
        raise SelectorError(f"unknown {what} '{word}'{_hint(word, known)}", word)

    def _bound(self, word: str, known: list[str], what: str) -> list[str]:
        name = word[1:]
        if name not in self.bindings:
            hint = did_you_mean(name, list(self.bindings))
            raise SelectorError(f"nothing is bound as '{word}'{hint}", word)
        everything = set(known)
        if foreign := [bound for bound in self.bindings[name] if bound not in everything]:
            raise SelectorError(f"'{word}' stands for '{foreign[0]}', which is no {what}", word)
        return list(dict.fromkeys(self.bindings[name]))

    def _node_query(self, query: NodeQuery) -> list[str]:
        left_out = {name for one in query.exclude for name in self._excluding(one, self._any_node)}
        found = [
            node.name
            for node in self.topology.nodes.values()
            if node.name not in left_out
            and (node.name not in self.never or node.name == query.name)
            and (query.name is None or fnmatchcase(node.name, query.name))
            and (query.region is None or node.region == query.region)
            and (query.role is None or node.role == query.role)
            and _labelled(node, query.label or {})
        ]
        if not found:
            raise SelectorError(f"matches no node{self._why_no_node(query)}", query)
        match query.graph:
            case None:
                return self._pick(found, query, "node")
            case "bridge":
                ends = self._bridge_ends()
                return self._pick([n for n in found if n in ends], query, "node")
            case "cut-vertex":
                cut = graph_properties.cut_vertices(self.graph)
                found = [name for name in found if self.node_number[name] in cut]
                return self._pick(found, query, "node")
            case "leaf":
                count = graph_properties.neighbours(self.graph)
                found = [name for name in found if count[self.node_number[name]] == 1]
                return self._pick(found, query, "node")
            case "farthest":
                return self._first(self._by_distance(found), query, 2, "node")
            case "highest-betweenness":
                scores = graph_properties.betweenness(self.graph)
                self._say_estimate("betweenness", scores)
                return self._first(self._ranked(found, scores.nodes, -1), query, 1, "node")
            case "highest-degree":
                degree = graph_properties.degrees(self.graph)
                return self._first(self._ranked(found, degree, -1), query, 1, "node")
            case "lowest-degree":
                degree = graph_properties.degrees(self.graph)
                return self._first(self._ranked(found, degree, 1), query, 1, "node")

    def _link_query(self, query: LinkQuery) -> list[str]:
        left_out = {name for one in query.exclude for name in self._excluding(one, self.links)}
        nodes = self.topology.nodes
        joined = self._between(query.between)
        found = [
            link.name
            for link in self.topology.links.values()
            if link.name not in left_out
            and (query.name is None or fnmatchcase(link.name, query.name))
            and (query.region is None or nodes[link.a].region == query.region)
            and (query.region is None or nodes[link.b].region == query.region)
            and joined(link)
        ]
        if not found:
            raise SelectorError(f"matches no link{self._why_no_link(query)}", query)
        match query.graph:
            case None:
                return self._pick(found, query, "link")
            case "bridge" | "not-bridge":
                bridges = graph_properties.bridges(self.graph)
                wanted = query.graph == "bridge"
                found = [n for n in found if (self.link_number[n] in bridges) == wanted]
                return self._pick(found, query, "link")
            case "highest-betweenness":
                scores = graph_properties.betweenness(self.graph)
                self._say_estimate("betweenness", scores)
                order = sorted(found, key=lambda n: (-scores.links[self.link_number[n]], n))
                return self._first(order, query, 1, "link")

    def between(self, between: Between) -> list[str]:
        """Names of all links that the pair of selectors joins; may be none."""
        joined = self._between(between)
        return [link.name for link in self.topology.links.values() if joined(link)]

    def _between(self, between: Between | None) -> Callable[[LinkPlan], bool]:
        if between is None or isinstance(between, str):
            return lambda link: True
        one, other = (set(self._any_node(selector)) for selector in between)
        return lambda link: (
            (link.a in one and link.b in other) or (link.b in one and link.a in other)
        )

    def _any_node(self, selector: NodeSelector) -> list[str]:
        """Nodes that only describe others: `never` protects a node from being picked, no more."""
        kept, self.never = self.never, frozenset()
        try:
            return self.nodes(selector)
        finally:
            self.never = kept

    def _excluding(self, selector: Any, resolve: Callable[[Any], list[str]]) -> list[str]:
        """What `not:` names; a condition that matches nothing excludes nothing."""
        try:
            return resolve(selector)
        except SelectorError:
            if isinstance(selector, str):
                raise
            return []

    def _bridge_ends(self) -> set[str]:
        links = list(self.topology.links.values())
        ends = [links[number] for number in sorted(graph_properties.bridges(self.graph))]
        return {name for link in ends for name in (link.a, link.b)}

    def _ranked(self, found: list[str], scores: Sequence[float], sign: int) -> list[str]:
        return sorted(found, key=lambda name: (sign * scores[self.node_number[name]], name))

    def _by_distance(self, found: list[str]) -> list[str]:
        """The farthest of `found`, the one of `found` farthest from it, then the others."""
        far = graph_properties.eccentricities(self.graph)
        self._say_estimate("distance", far)
        order = self._ranked(found, far.nodes, -1)
        hops = graph_properties.hops_from(self.graph, self.node_number[order[0]])
        others = order[1:]
        if others:
            partner = self._ranked(others, hops, -1)[0]
            others = [partner, *(name for name in others if name != partner)]
        return [order[0], *others]

    def _say_estimate(self, what: str, scores: graph_properties.Scores) -> None:
        total = len(self.topology.nodes)
        if self.notes is None or scores.sources >= total:
            return
        note = f"{what} is estimated from the paths of {scores.sources} of {total} nodes"
        if note not in self.notes:
            self.notes.append(note)

    def _first(
        self, ordered: list[str], query: NodeQuery | LinkQuery, default: int, what: str
    ) -> list[str]:
        if query.pick is None:
            return ordered[:default]
        return ordered[: self._count(ordered, query, what)]

    def _pick(self, found: list[str], query: NodeQuery | LinkQuery, what: str) -> list[str]:
        if not found:
            raise SelectorError(f"matches no {what}: none has graph: {query.graph}", query)
        count = self._count(found, query, what)
        if count == len(found):
            return found
        drawn = self.random.permutation(len(found))[:count]
        return [found[i] for i in sorted(drawn.tolist())]

    def _count(self, found: list[str], query: NodeQuery | LinkQuery, what: str) -> int:
        """A percentage is rounded to the nearest whole number, never to none."""
        pick = query.pick
        if pick is None or pick == "all":
            return len(found)
        if isinstance(pick, str):
            return max(1, math.floor(parse_ratio(pick) * len(found) + 0.5))
        if pick > len(found):
            raise SelectorError(f"pick: {pick} wanted, but only {len(found)} {what}s match", query)
        return pick

    def _why_no_node(self, query: NodeQuery) -> str:
        nodes = self.topology.nodes.values()
        if query.region is not None and all(n.region != query.region for n in nodes):
            return _unknown("region", query.region, [n.region for n in nodes])
        if query.role is not None and all(n.role != query.role for n in nodes):
            return _unknown("role", query.role, [n.role for n in nodes])
        for key in query.label or {}:
            keys = [known for node in nodes for known, _ in node.labels]
            if key not in keys:
                return _unknown("label", key, keys)
        if query.name is not None and not _is_glob(query.name):
            return f" '{query.name}'{_hint(query.name, list(self.topology.nodes))}"
        if self.never:
            return f" outside safety.never ({', '.join(sorted(self.never))})"
        return ""

    def _why_no_link(self, query: LinkQuery) -> str:
        regions = [node.region for node in self.topology.nodes.values()]
        if query.region is not None and query.region not in regions:
            return _unknown("region", query.region, regions)
        if query.name is not None and not _is_glob(query.name):
            return f" '{query.name}'{_hint(query.name, list(self.topology.links))}"
        return ""


def _labelled(node: NodePlan, wanted: Mapping[str, str]) -> bool:
    labels = dict(node.labels)
    return all(key in labels and fnmatchcase(labels[key], glob) for key, glob in wanted.items())


def _hint(word: str, known: list[str]) -> str:
    some = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
    return did_you_mean(word, known) or f" (there are {some})"


def _unknown(what: str, word: str, known: Sequence[str]) -> str:
    present = sorted({name for name in known if name})
    if not present:
        return f": no node has a {what}"
    return f": no node has {what} '{word}'{_hint(word, present)}"


def links_between(between: Between, topology: Topology) -> list[str]:
    """Names of all links that a `between` joins, which may be none; draws with a fixed seed."""
    random = stream(0, "topology", "link_profiles")
    return _Chooser(topology, random, {}, frozenset(), None).between(between)
