"""The two nodes of a mesh that are farthest apart in delay."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from x0mesh.scenarios.topology import Topology

Floats = npt.NDArray[np.float64]

EXACT_NODES: Final = 2000
"""Above this two sweeps find a pair that is far, not always the farthest."""


def farthest_by_delay(topology: Topology) -> tuple[str, str] | None:
    """The pair with the greatest least delay between them; None where nothing is linked.

    Ties: the pair that comes first in the topology's order. Unconnected pairs do not count.
    """
    names = list(topology.nodes)
    number = {name: i for i, name in enumerate(names)}
    least: dict[tuple[int, int], int] = {}
    for link in topology.links.values():
        a, b = number[link.a], number[link.b]
        for ends, delay_ns in (((a, b), link.forward.delay_ns), ((b, a), link.backward.delay_ns)):
            # One nanosecond more, for a sparse matrix takes zero for no link.
            least[ends] = min(least.get(ends, delay_ns + 1), delay_ns + 1)
    if not least:
        return None
    rows, columns = zip(*least, strict=True)
    matrix = csr_array(
        (np.fromiter(least.values(), dtype=float), (rows, columns)), shape=(len(names),) * 2
    )
    if len(names) <= EXACT_NODES:
        sources = np.arange(len(names))
    else:
        first = _finite(dijkstra(matrix, indices=np.array([0])))
        sources = np.array([int(first.argmax())])
    distance = _finite(dijkstra(matrix, indices=sources))
    row, column = divmod(int(distance.argmax()), len(names))
    return names[int(sources[row])], names[column]


def _finite(distance: Floats) -> Floats:
    return np.where(np.isfinite(distance), distance, -1.0)
