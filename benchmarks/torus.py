"""The mesh that the engine and protocol benchmarks run on: a triangular torus, degree 6."""

from __future__ import annotations

from math import isqrt


def neighbours(nodes: int) -> list[tuple[int, ...]]:
    """Six neighbours of each node of a width x height torus with `nodes` nodes.

    The width is the largest divisor up to the square root; both must be at least 3.
    """
    width = isqrt(nodes)
    while nodes % width:
        width -= 1
    height = nodes // width
    assert width >= 3, f"{nodes} nodes make no torus"
    around = ((1, 0), (-1, 0), (0, 1), (0, -1), (-1, 1), (1, -1))
    return [
        tuple((y + dy) % height * width + (x + dx) % width for dx, dy in around)
        for y in range(height)
        for x in range(width)
    ]
