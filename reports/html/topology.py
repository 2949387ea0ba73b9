"""Three pictures of one mesh: before a fault, during it, and after.

The flow's way is the shortest path, by cost, of the graph at that instant, found here and not
recorded; the caption says so.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from x0mesh.reports.healing import healing
from x0mesh.reports.html import svg
from x0mesh.reports.observation import FaultLife, Observation, View
from x0mesh.reports.words import figure as in_words
from x0mesh.scenarios.actions import (
    LinkBlock,
    LinkDown,
    LinkImpair,
    NodeDrain,
    NodePause,
    NodeSlow,
    NodeStop,
)
from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.record import FlowRecord

LABELLED_NODES = 30
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Picture:
    """One of the three, as inline SVG."""

    title: str
    caption: str
    svg: str


@dataclass(slots=True)
class State:
    """What faults do to the mesh at one instant."""

    cut_links: set[str]
    worse_links: set[str]
    gone_nodes: set[str]
    worse_nodes: set[str]


def pictures(seen: Observation, life: FaultLife, flow: FlowRecord | None) -> list[Picture]:
    """Before, during and after `life`, with the flow it hit hardest (or none)."""
    places = positions(seen.plan)
    first = life.instants[0]
    instants = [
        ("Before", max(0, first - 1)),
        (f"During {life.name}", first),
    ]
    if life.ended_ns is not None:
        instants.append(("After", min(life.ended_ns + 1, seen.record.end_ns)))
    usual = _way(seen, state_at(seen, max(0, first - 1)), flow)
    found = []
    for i, (title, t_ns) in enumerate(instants):
        state = state_at(seen, t_ns)
        way = _way(seen, state, flow)
        found.append(
            Picture(
                title,
                _caption(t_ns, state, flow, way, usual if i else None),
                _draw(seen, places, state, flow, way, f"topo{i}", title),
            )
        )
    return found


def hardest_hit(seen: Observation) -> tuple[FaultLife, FlowRecord | None] | None:
    """The fault with the longest outage and its flow; else the first fault; None without any."""
    outages = healing(View.of(seen)).outages
    lives = {life.name: life for life in seen.lives}
    if outages:
        worst = max(outages, key=lambda o: (o.healed_ns is None, o.length_ns))
        return lives[worst.fault], worst.flow
    if not seen.lives:
        return None
    return seen.lives[0], seen.record.flows[0] if seen.record.flows else None


def state_at(seen: Observation, t_ns: int) -> State:
    state = State(set(), set(), set(), set())
    for life in seen.lives:
        for strike in life.strikes:
            if not strike.t_ns <= t_ns < strike.until_ns:
                continue
            match strike.action:
                case LinkDown(link=name) | LinkBlock(link=name):
                    state.cut_links.add(name)
                case LinkImpair(link=name):
                    state.worse_links.add(name)
                case NodeStop(node=node):
                    state.gone_nodes.add(node)
                case NodePause(node=node) | NodeSlow(node=node) | NodeDrain(node=node):
                    state.worse_nodes.add(node)
    return state


def positions(plan: Plan) -> dict[str, Point]:
    """In the plan's coordinates, longitudes narrowed by latitude; drawn by springs if unplaced."""
    placed = {n.name: n.position for n in plan.nodes if n.position is not None}
    if len(placed) == len(plan.nodes) and len(set(placed.values())) > 1:
        latitude = float(np.mean([y for _, y in placed.values()]))
        on_earth = all(abs(x) <= 180 and abs(y) <= 90 for x, y in placed.values())
        spread = max(abs(x) + abs(y) for x, y in placed.values())
        narrow = math.cos(math.radians(latitude)) if on_earth and spread > 2 else 1.0
        return {name: (x * narrow, y) for name, (x, y) in placed.items()}
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(node.name for node in plan.nodes)
    graph.add_edges_from((link.a, link.b) for link in plan.links)
    if len(graph) < 2:
        return dict.fromkeys(graph, (0.0, 0.0))
    layout = nx.spring_layout(graph, seed=1, iterations=60 if len(graph) < 1500 else 15)
    return {name: (float(x), float(y)) for name, (x, y) in layout.items()}


def _way(seen: Observation, state: State, flow: FlowRecord | None) -> list[tuple[str, str]]:
    if flow is None:
        return []
    graph: nx.DiGraph[str] = nx.DiGraph()
    for link in seen.plan.links:
        if link.name in state.cut_links or {link.a, link.b} & state.gone_nodes:
            continue
        for a, b, cost in (
            (link.a, link.b, link.cost_forward),
            (link.b, link.a, link.cost_backward),
        ):
            if not graph.has_edge(a, b) or graph[a][b]["cost"] > cost:
                graph.add_edge(a, b, cost=cost)
    try:
        path = nx.dijkstra_path(graph, flow.source, flow.destination, weight="cost")
    except (nx.NetworkXNoPath, nx.NodeNotFound):
        return []
    return list(itertools.pairwise(path))


def _caption(
    t_ns: int,
    state: State,
    flow: FlowRecord | None,
    way: list[tuple[str, str]],
    usual: list[tuple[str, str]] | None,
) -> str:
    parts = [f"at {in_words(t_ns / 1e9, 's')}"]
    if state.cut_links:
        parts.append(f"{len(state.cut_links)} cut")
    if state.gone_nodes:
        parts.append(f"{len(state.gone_nodes)} gone")
    if state.worse_links or state.worse_nodes:
        parts.append(f"{len(state.worse_links) + len(state.worse_nodes)} disturbed")
    if flow is not None:
        if not way:
            parts.append("no path left for the flow")
        elif usual is None:
            parts.append(f"{flow.source} → {flow.destination} in {_hops(way)}")
        elif way == usual:
            parts.append("the flow's usual path")
        else:
            parts.append(f"another path, {_hops(way)}")
    return ", ".join(parts)


def _hops(way: list[tuple[str, str]]) -> str:
    return f"{len(way)} hop" + ("" if len(way) == 1 else "s")


def _draw(
    seen: Observation,
    places: dict[str, Point],
    state: State,
    flow: FlowRecord | None,
    way: list[tuple[str, str]],
    name: str,
    title: str,
) -> str:
    with svg.drawing(360, 330) as figure:
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.07)
        links = {link.name: (link.a, link.b) for link in seen.plan.links}
        dead = state.cut_links | {n for n, ends in links.items() if set(ends) & state.gone_nodes}
        up = [ends for n, ends in links.items() if n not in dead]
        worse = [ends for n, ends in links.items() if n in state.worse_links - dead]
        _lines(axes, places, up, svg.MUTED, 0.9, 1)
        _lines(axes, places, worse, svg.WARN, 2.0, 2)
        _lines(axes, places, way, svg.SERIES[0], 3.2, 3)
        _lines(axes, places, [links[n] for n in dead if n in links], svg.BAD, 1.8, 4, dashed=True)
        gone = state.gone_nodes
        plain = [n for n in places if n not in gone | state.worse_nodes]
        size = 26.0 if len(places) <= 60 else 9.0
        _dots(axes, places, plain, svg.MUTED, size, "o", 5)
        _dots(axes, places, sorted(state.worse_nodes - gone), svg.WARN, size * 2, "D", 6)
        _dots(axes, places, sorted(gone), svg.BAD, size * 2.4, "X", 6)
        ends = [flow.source, flow.destination] if flow else []
        _dots(axes, places, [n for n in ends if n not in gone], svg.SERIES[0], size * 2.2, "o", 7)
        labelled = list(places) if len(places) <= LABELLED_NODES else ends
        for node in dict.fromkeys(labelled):
            axes.annotate(
                node,
                places[node],
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=10 if node in ends else 8.5,
                color=svg.INK if node in ends else svg.MUTED,
                zorder=8,
            )
        return svg.inline(figure, name, title)


def _lines(
    axes: Axes,
    places: dict[str, Point],
    pairs: list[tuple[str, str]],
    colour: str,
    width: float,
    order: int,
    dashed: bool = False,
) -> None:
    """All lines of one look are one path, which keeps large meshes small on paper."""
    if not pairs:
        return
    points = [places[n] for pair in pairs for n in pair]
    codes = [Outline.MOVETO, Outline.LINETO] * len(pairs)
    axes.add_patch(
        PathPatch(
            Outline(np.array(points), codes),
            fill=False,
            edgecolor=colour,
            linewidth=width,
            linestyle=(0, (2, 1.4)) if dashed else "solid",
            capstyle="round",
            zorder=order,
        )
    )


def _dots(
    axes: Axes,
    places: dict[str, Point],
    nodes: list[str],
    colour: str,
    size: float,
    marker: str,
    order: int,
) -> None:
    if not nodes:
        return
    x, y = zip(*(places[n] for n in nodes), strict=True)
    axes.scatter(
        x, y, s=size, c=colour, marker=marker, edgecolors=svg.PAPER, linewidths=0.8, zorder=order
    )
