"""Random topologies of points in the unit square, linked by where they lie."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator
from scipy.spatial import Delaunay, cKDTree

from x0mesh.scenarios.generators.base import (
    NodeCount,
    TopologyGenerator,
    check_links,
    generator,
    network,
)
from x0mesh.scenarios.topology import Topology

Points: TypeAlias = npt.NDArray[np.float64]
Pairs: TypeAlias = npt.NDArray[np.int64]

Degree = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
DEFAULT_DEGREE = 4.0
WAXMAN_MAX_NODES = 20_000
_SAID = 20


def check_degree(nodes: int, degree: float) -> int:
    """Number of links for this mean degree; ValueError where no graph has it."""
    if degree > nodes - 1:
        raise ValueError(
            f"a mean degree of {degree:g} is impossible: {nodes} nodes have at most "
            f"{nodes - 1} neighbours each"
        )
    links = round(nodes * degree / 2)
    check_links(links)
    return links


def lengths(points: Points, pairs: Pairs) -> Points:
    span: Points = points[pairs[:, 0]] - points[pairs[:, 1]]
    return np.hypot(span[:, 0], span[:, 1])


def triangulation(points: Points) -> Pairs:
    """Edges of the Delaunay triangulation, which hold the shortest tree over the points."""
    n = len(points)
    if n < 4:
        return np.array([(i, j) for i in range(n) for j in range(i + 1, n)], np.int64).reshape(
            -1, 2
        )
    triangles = Delaunay(points).simplices
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]])
    edges.sort(axis=1)
    return np.unique(edges, axis=0).astype(np.int64)


def missing_links(points: Points, pairs: Pairs) -> Pairs:
    """The shortest links that make it one piece: a minimum spanning tree over the components."""
    parent = list(range(len(points)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs.tolist():
        parent[root(i)] = root(j)
    candidates = triangulation(points)
    order = np.argsort(lengths(points, candidates), kind="stable")
    added = []
    for i, j in candidates[order].tolist():
        if root(i) != root(j):
            parent[root(i)] = root(j)
            added.append((i, j))
    return np.array(added, np.int64).reshape(-1, 2)


def connected_network(points: Points, pairs: Pairs, what: str) -> Topology:
    """The network with the shortest missing links added, saying how many and which."""
    added = missing_links(points, pairs)
    notes = []
    if len(added):
        named = [f"n{i}--n{j}" for i, j in added.tolist()]
        more = f" and {len(named) - _SAID} more" if len(named) > _SAID else ""
        notes.append(
            f"{what}: not connected with {len(pairs)} links; added the {len(added)} shortest "
            f"missing ones: {', '.join(named[:_SAID])}{more}"
        )
    positions = [(x, y) for x, y in points.tolist()]
    return network(positions, [(i, j) for i, j in [*pairs.tolist(), *added.tolist()]], notes)


@generator
class RandomGeometric(TopologyGenerator):
    """Points scattered evenly over a square, linked when closer than a radius.

    The radius is the one at which the links number `nodes * degree / 2`, so the mean degree is
    the one asked for (Gilbert 1961); links added to connect it come on top.
    """

    kind: ClassVar[str] = "random-geometric"
    nodes: NodeCount
    degree: Degree = DEFAULT_DEGREE

    @model_validator(mode="after")
    def _possible(self) -> RandomGeometric:
        if self.nodes > 1:
            check_degree(self.nodes, self.degree)
        return self

    def build(self, random: np.random.Generator) -> Topology:
        points = random.random((self.nodes, 2))
        pairs = np.empty((0, 2), np.int64)
        if self.nodes > 1:
            pairs = closest_pairs(points, check_degree(self.nodes, self.degree))
        return connected_network(points, pairs, self.kind)


def closest_pairs(points: Points, wanted: int) -> Pairs:
    """The `wanted` shortest of all pairs of points, ordered by index."""
    n = len(points)
    tree = cKDTree(points)
    radius = math.sqrt(2 * max(wanted, 1) / (math.pi * n * n))
    while (pairs := tree.query_pairs(radius, output_type="ndarray")).shape[0] < wanted:
        radius *= 1.3
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].astype(np.int64)
    kept = np.argsort(lengths(points, pairs), kind="stable")[:wanted]
    return pairs[np.sort(kept)]


@generator
class Waxman(TopologyGenerator):
    """Points in a square; two of them are linked with probability beta * exp(-d / (alpha * L)).

    d is their distance, L the largest one (Waxman 1988). Unless `beta` is given, it is set so
    that the expected mean degree is `degree`.
    """

    kind: ClassVar[str] = "waxman"
    nodes: NodeCount
    degree: Degree | None = Field(default=None, description="4 where beta is not given")
    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.15
    beta: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Waxman:
        if self.nodes > WAXMAN_MAX_NODES:
            raise ValueError(f"waxman: at most {WAXMAN_MAX_NODES} nodes, got {self.nodes}")
        if self.degree is not None and self.beta is not None:
            raise ValueError("give degree or beta, not both")
        if self.beta is None and self.nodes > 1:
            check_degree(self.nodes, self.mean_degree)
        return self

    @property
    def mean_degree(self) -> float:
        return DEFAULT_DEGREE if self.degree is None else self.degree

    def build(self, random: np.random.Generator) -> Topology:
        points = random.random((self.nodes, 2))
        if self.nodes == 1:
            return connected_network(points, np.empty((0, 2), np.int64), self.kind)
        hull = points if self.nodes < 4 else points[Delaunay(points).convex_hull.ravel()]
        span = max(float(np.hypot(*(hull - p).T).max()) for p in hull)
        beta = self._beta(points, span)
        chosen = []
        expected = 0
        for i in range(self.nodes - 1):
            near = np.exp(-np.hypot(*(points[i + 1 :] - points[i]).T) / (self.alpha * span))
            hit = np.flatnonzero(random.random(len(near)) < beta * near)
            expected += len(hit)
            check_links(expected)
            chosen.append(np.column_stack([np.full(len(hit), i), hit + i + 1]))
        return connected_network(points, np.concatenate(chosen).astype(np.int64), self.kind)

    def _beta(self, points: Points, span: float) -> float:
        if self.beta is not None:
            return self.beta
        weight = sum(
            float(np.exp(-np.hypot(*(points[i + 1 :] - p).T) / (self.alpha * span)).sum())
            for i, p in enumerate(points[:-1])
        )
        beta = self.nodes * self.mean_degree / 2 / weight
        if beta > 1:
            most = 2 * weight / self.nodes
            raise ValueError(
                f"waxman: with alpha {self.alpha:g} these nodes reach a mean degree of "
                f"{most:.1f} at most, {self.mean_degree:g} asked for; raise alpha"
            )
        return beta


@generator
class Gabriel(TopologyGenerator):
    """Points in a square; two are linked when the circle over them as diameter holds no other.

    Planar and connected, like backbones that were planned (Gabriel and Sokal 1969).
    """

    kind: ClassVar[str] = "gabriel"
    nodes: NodeCount

    def build(self, random: np.random.Generator) -> Topology:
        points = random.random((self.nodes, 2))
        pairs = triangulation(points)
        if self.nodes > 2:
            middle = (points[pairs[:, 0]] + points[pairs[:, 1]]) / 2
            nearest, _ = cKDTree(points).query(middle)
            pairs = pairs[nearest >= lengths(points, pairs) / 2 * (1 - 1e-12)]
        return connected_network(points, pairs, self.kind)
