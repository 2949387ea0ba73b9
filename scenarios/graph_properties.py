"""Properties of a topology's graph that selectors ask for: exact, or a stated estimate.

Nothing here is random: large graphs are sampled at fixed places. Results are remembered per
graph, because every replication of a scenario asks the same graph again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from x0mesh.scenarios.topology import Topology

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_WORK = 12_000_000
_CACHED = 8


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by number, links as (end, end) in link order: hashable, so results can be kept."""

    nodes: int
    links: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """A value per node and per link, from the paths that start at `sources` of the nodes."""

    nodes: tuple[float, ...]
    links: tuple[float, ...]
    sources: int


def graph_of(topology: Topology) -> Graph:
    number = {name: i for i, name in enumerate(topology.nodes)}
    links = tuple((number[link.a], number[link.b]) for link in topology.links.values())
    return Graph(len(number), links)


def _simple(graph: Graph) -> dict[tuple[int, int], list[int]]:
    """Adjacent pairs (smaller first) and the links that join them."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for number, (a, b) in enumerate(graph.links):
        pairs.setdefault((min(a, b), max(a, b)), []).append(number)
    return pairs


def _multigraph(graph: Graph) -> nx.MultiGraph[int]:
    multigraph: nx.MultiGraph[int] = nx.MultiGraph()
    multigraph.add_nodes_from(range(graph.nodes))
    multigraph.add_edges_from(graph.links)
    return multigraph


@lru_cache(maxsize=_CACHED)
def bridges(graph: Graph) -> frozenset[int]:
    """Links whose loss separates the graph; a parallel link is never one."""
    pairs = _simple(graph)
    multigraph: Any = _multigraph(graph)  # the stubs take the graph's nodes for its edges
    found: Iterator[tuple[int, int]] = nx.bridges(multigraph)
    return frozenset(pairs[min(a, b), max(a, b)][0] for a, b in found)


@lru_cache(maxsize=_CACHED)
def cut_vertices(graph: Graph) -> frozenset[int]:
    """Nodes whose loss separates the others."""
    return frozenset(nx.articulation_points(nx.Graph(_multigraph(graph))))


def degrees(graph: Graph) -> tuple[int, ...]:
    """Links per node, parallel ones counted each."""
    count = [0] * graph.nodes
    for a, b in graph.links:
        count[a] += 1
        count[b] += 1
    return tuple(count)


def neighbours(graph: Graph) -> tuple[int, ...]:
    """Different neighbours per node."""
    count = [0] * graph.nodes
    for a, b in _simple(graph):
        count[a] += 1
        count[b] += 1
    return tuple(count)


def _sources(graph: Graph, pairs: int) -> Ints:
    """As many evenly spaced nodes as the work allows, all where it allows them."""
    affordable = max(16, _WORK // max(1, 2 * pairs))
    if affordable >= graph.nodes:
        return np.arange(graph.nodes)
    return np.linspace(0, graph.nodes - 1, affordable).astype(np.int64)


@lru_cache(maxsize=_CACHED)
def betweenness(graph: Graph) -> Scores:
    """Shortest paths by hops that cross each node or link, both directions counted once.

    Brandes 2001, several sources at a time. Parallel links share equally. Above a bounded amount
    of work only evenly spaced sources are taken and scaled up (Brandes and Pich 2007).
    """
    pairs = _simple(graph)
    ends = np.array(list(pairs), np.int64).reshape(-1, 2)
    tail = np.concatenate([ends[:, 0], ends[:, 1]])
    order = np.argsort(tail, kind="stable")
    head = np.concatenate([ends[:, 1], ends[:, 0]])[order]
    edge = np.tile(np.arange(len(ends)), 2)[order]
    first = np.searchsorted(tail[order], np.arange(graph.nodes + 1))
    sources = _sources(graph, len(ends))
    node_score = np.zeros(graph.nodes)
    edge_score = np.zeros(len(ends))
    at_once = max(1, 1_000_000 // max(1, len(head), graph.nodes))
    for start in range(0, len(sources), at_once):
        _accumulate(sources[start : start + at_once], first, head, edge, node_score, edge_score)
    scale = graph.nodes / len(sources) / 2
    # Rounded, so that equal places are equal whatever the order of additions.
    per_node = tuple(round(float(score) * scale, 6) for score in node_score)
    per_link = [0.0] * len(graph.links)
    for score, parallel in zip(edge_score, pairs.values(), strict=True):
        for link in parallel:
            per_link[link] = round(float(score) * scale / len(parallel), 6)
    return Scores(per_node, tuple(per_link), len(sources))


def _accumulate(
    sources: Ints, first: Ints, head: Ints, edge: Ints, node_score: Floats, edge_score: Floats
) -> None:
    """Add the dependencies of these sources; state is flat, one row of nodes per source."""
    n = len(first) - 1
    frontier = np.arange(len(sources)) * n + sources
    seen = np.zeros(len(sources) * n, np.bool_)
    paths = np.zeros(len(sources) * n)
    seen[frontier] = True
    paths[frontier] = 1.0
    levels: list[tuple[Ints, Ints, Ints]] = []
    while len(frontier):
        node = frontier % n
        fan = first[node + 1] - first[node]
        before = np.repeat(frontier, fan)
        slot = np.arange(fan.sum()) + np.repeat(first[node] - np.cumsum(fan) + fan, fan)
        after = before - before % n + head[slot]
        new = ~seen[after]
        before, after, used = before[new], after[new], edge[slot[new]]
        np.add.at(paths, after, paths[before])
        frontier = np.unique(after)
        seen[frontier] = True
        levels.append((before, after, used))
    dependency = np.zeros(len(sources) * n)
    for before, after, used in reversed(levels):
        share = paths[before] / paths[after] * (1.0 + dependency[after])
        np.add.at(dependency, before, share)
        np.add.at(edge_score, used, share)
    dependency[np.arange(len(sources)) * n + sources] = 0.0
    node_score += dependency.reshape(len(sources), n).sum(axis=0)


@lru_cache(maxsize=_CACHED)
def eccentricities(graph: Graph) -> Scores:
    """Hops from each node to the one farthest from it.

    Above a bounded amount of work: hops to the farther end of a long path found by repeated
    sweeps, a lower bound. `links` is empty.
    """
    matrix = _adjacency(graph)

    if len(_sources(graph, matrix.nnz)) == graph.nodes:
        at_once = max(1, 2_000_000 // graph.nodes)
        everyone = np.arange(graph.nodes)
        far = [
            _hops(matrix, everyone[start : start + at_once]).max(axis=1)
            for start in range(0, graph.nodes, at_once)
        ]
        return Scores(tuple(np.concatenate(far).tolist()), (), graph.nodes)
    sweeps = 4
    best = np.zeros(graph.nodes)
    end = 0
    for _ in range(sweeps):
        row = _hops(matrix, np.array([end]))[0]
        best = np.maximum(best, row)
        best[end] = row.max()
        end = int(row.argmax())
    return Scores(tuple(best.tolist()), (), sweeps)


def hops_from(graph: Graph, node: int) -> list[float]:
    """Hops from `node` to every node."""
    row: list[float] = _hops(_adjacency(graph), np.array([node]))[0].tolist()
    return row


def _adjacency(graph: Graph) -> csr_array[np.float64]:
    ends = np.array(list(_simple(graph)), np.int64).reshape(-1, 2)
    shape = (graph.nodes, graph.nodes)
    return csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=shape)


def _hops(matrix: csr_array[np.float64], start: Ints) -> Floats:
    found: Floats = shortest_path(matrix, directed=False, unweighted=True, indices=start)
    return found
