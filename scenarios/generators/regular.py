"""Regular topologies: nothing random about them."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from x0mesh.scenarios.generators.base import (
    MAX_NODES,
    NodeCount,
    TopologyGenerator,
    check_links,
    generator,
    network,
)
from x0mesh.scenarios.topology import Topology

Side = Annotated[int, Field(strict=True, ge=1, le=MAX_NODES)]


def _circle(nodes: int) -> list[tuple[float, float]]:
    """Points on a circle inside the unit square, the first on top, clockwise."""
    turns = [2 * math.pi * i / nodes for i in range(nodes)]
    return [(0.5 + 0.5 * math.sin(t), 0.5 + 0.5 * math.cos(t)) for t in turns]


@generator
class Line(TopologyGenerator):
    """A chain of nodes."""

    kind: ClassVar[str] = "line"
    nodes: NodeCount

    def build(self, random: np.random.Generator) -> Topology:
        step = 1 / max(1, self.nodes - 1)
        positions = [(i * step, 0.5) for i in range(self.nodes)]
        return network(positions, ((i, i + 1) for i in range(self.nodes - 1)))


@generator
class Ring(TopologyGenerator):
    """A closed chain of at least three nodes."""

    kind: ClassVar[str] = "ring"
    nodes: NodeCount

    @model_validator(mode="after")
    def _closed(self) -> Ring:
        if self.nodes < 3:
            raise ValueError(f"a ring needs at least 3 nodes, got {self.nodes}; use line")
        return self

    def build(self, random: np.random.Generator) -> Topology:
        n = self.nodes
        return network(_circle(n), ((i, (i + 1) % n) for i in range(n)))


@generator
class Star(TopologyGenerator):
    """`n0` in the middle, every other node linked to it alone."""

    kind: ClassVar[str] = "star"
    nodes: NodeCount

    def build(self, random: np.random.Generator) -> Topology:
        rim = _circle(self.nodes - 1) if self.nodes > 1 else []
        return network([(0.5, 0.5), *rim], ((0, i) for i in range(1, self.nodes)))


@generator
class FullMesh(TopologyGenerator):
    """Every node linked to every other."""

    kind: ClassVar[str] = "full-mesh"
    nodes: NodeCount

    @model_validator(mode="after")
    def _fits(self) -> FullMesh:
        check_links(self.nodes * (self.nodes - 1) // 2)
        return self

    def build(self, random: np.random.Generator) -> Topology:
        n = self.nodes
        return network(_circle(n), ((i, j) for i in range(n) for j in range(i + 1, n)))


@generator
class Tree(TopologyGenerator):
    """A complete tree, filled level by level; every inner node has `branching` children."""

    kind: ClassVar[str] = "tree"
    nodes: NodeCount
    branching: Side = 2

    def build(self, random: np.random.Generator) -> Topology:
        levels: list[int] = []
        width, left = 1, self.nodes
        while left > 0:
            levels.append(min(width, left))
            left -= width
            width *= self.branching
        step = 1 / max(1, len(levels) - 1)
        positions = [
            ((place + 0.5) / full, 1 - level * step)
            for level, used in enumerate(levels)
            for full in [self.branching**level]
            for place in range(used)
        ]
        return network(positions, (((i - 1) // self.branching, i) for i in range(1, self.nodes)))


class _Sheet(TopologyGenerator):
    """Rows and columns: given both ways, they must agree."""

    nodes: NodeCount | None = None
    rows: Side | None = None
    columns: Side | None = None

    @model_validator(mode="after")
    def _said_once(self) -> _Sheet:
        both = self.rows is not None and self.columns is not None
        if (self.rows is None) != (self.columns is None):
            raise ValueError("rows and columns go together")
        if self.nodes is None and not both:
            raise ValueError("needs nodes, or rows and columns")
        rows, columns = self.sides()
        if both and self.nodes is not None and rows * columns != self.nodes:
            raise ValueError(f"{rows} rows x {columns} columns are not {self.nodes} nodes")
        if rows * columns > 2 * MAX_NODES or (both and rows * columns > MAX_NODES):
            raise ValueError(f"at most {MAX_NODES} nodes, got {rows * columns}")
        return self

    def sides(self) -> tuple[int, int]:
        raise NotImplementedError

    def places(self) -> list[tuple[float, float]]:
        rows, columns = self.sides()
        total = self.nodes or rows * columns
        scale = max(rows, columns, 2) - 1
        return [(i % columns / scale, 1 - i // columns / scale) for i in range(total)]


@generator
class Grid(_Sheet):
    """Rows and columns, each node linked to its neighbours left, right, above and below.

    With `nodes` alone it is as square as possible; the last row may be short.
    """

    kind: ClassVar[str] = "grid"

    def sides(self) -> tuple[int, int]:
        if self.rows and self.columns:
            return self.rows, self.columns
        assert self.nodes is not None
        columns = math.isqrt(self.nodes - 1) + 1
        return -(-self.nodes // columns), columns

    def build(self, random: np.random.Generator) -> Topology:
        _, columns = self.sides()
        places = self.places()
        pairs = [
            (i, j)
            for i in range(len(places))
            for j, inside in ((i + 1, (i + 1) % columns != 0), (i + columns, True))
            if inside and j < len(places)
        ]
        return network(places, pairs)


@generator
class Torus(_Sheet):
    """A grid whose opposite edges are joined: every node has four neighbours.

    At least three rows and three columns. With `nodes` alone it is as square as possible.
    """

    kind: ClassVar[str] = "torus"

    @model_validator(mode="after")
    def _wraps(self) -> Torus:
        rows, columns = self.sides()
        if rows < 3 or columns < 3:
            raise ValueError(f"a torus needs at least 3 rows and 3 columns, got {rows}x{columns}")
        return self

    def sides(self) -> tuple[int, int]:
        if self.rows and self.columns:
            return self.rows, self.columns
        assert self.nodes is not None
        for rows in range(math.isqrt(self.nodes), 2, -1):
            if self.nodes % rows == 0:
                return rows, self.nodes // rows
        raise ValueError(
            f"{self.nodes} nodes make no torus: no rows x columns with at least 3 of each"
        )

    def build(self, random: np.random.Generator) -> Topology:
        rows, columns = self.sides()
        pairs = []
        for i in range(rows * columns):
            row, column = divmod(i, columns)
            pairs.append((i, row * columns + (column + 1) % columns))
            pairs.append((i, (row + 1) % rows * columns + column))
        return network(self.places(), pairs)
