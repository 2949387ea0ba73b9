"""Small meshes for the tests of this room."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from x0mesh.mesh.graph import Graph, GraphStore
from x0mesh.mesh.messages import Neighbour

Link = tuple[str, str, str, int, int]
"""(node, node, link, cost there, cost back)."""


@pytest.fixture(scope="session")
def make_graph() -> Callable[..., Graph]:
    """`make_graph(store, links, overloaded=())`: what the links' ends advertise."""

    def build(store: GraphStore, links: Iterable[Link], overloaded: Iterable[str] = ()) -> Graph:
        advertised: dict[str, list[Neighbour]] = {}
        for one, two, link, there, back in links:
            advertised.setdefault(one, []).append(Neighbour(two, link, there))
            advertised.setdefault(two, []).append(Neighbour(one, link, back))
        return store.apply_all(
            store.empty(),
            [(name, tuple(seen), name in overloaded) for name, seen in advertised.items()],
        )

    return build


@pytest.fixture(scope="session")
def random_links() -> Callable[[int], list[Link]]:
    """`random_links(seed)`: a connected mesh with ties, asymmetric costs and parallel links."""

    def draw(seed: int) -> list[Link]:
        source = random.Random(seed)
        size = source.randint(3, 10)
        highest = source.choice([1, 3, 20])
        names = [f"n{i}" for i in range(size)]
        source.shuffle(names)
        pairs = [(names[i], names[source.randrange(i)]) for i in range(1, size)]
        pairs += [
            (one, two)
            for one in names
            for two in names
            if one < two and source.random() < source.choice([0.0, 0.15, 0.4])
        ]
        links = []
        symmetric = source.random() < 0.5
        for i, (one, two) in enumerate(pairs):
            there = source.randint(1, highest)
            back = there if symmetric else source.randint(1, highest)
            links.append((one, two, f"l{i}", there, back))
        return links

    return draw
