"""The usable topology as advertised, and a memo of it that many nodes can share.

Graphs are values: equal content is one graph, whoever assembled it and in which order. The store
remembers graphs and distances; forgetting costs time only and never changes an answer.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from typing import Final, Generic, TypeVar

import msgspec

from x0mesh.mesh.messages import Neighbour
from x0mesh.mesh.spf import UNREACHABLE, Edge, Edges, full, update

_BITS: Final = 6
_CHUNK: Final = 1 << _BITS
_MOST_PENDING: Final = 32
_DIGEST_MASK: Final = (1 << 128) - 1
_encode = msgspec.msgpack.Encoder().encode

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class _Advertisement:
    """One origin's content: (neighbour, link) to (cost, reverse metric), in name order."""

    links: dict[tuple[str, str], tuple[int, int]]
    overload: bool
    digest: int


class _Names:
    """Append-only numbering of origins; no answer depends on the numbers."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self.names: list[str] = []

    def add(self, name: str) -> int:
        number = self.index.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Advertisements and usable edges by index, in chunks that related graphs share."""

    adverts: list[list[_Advertisement | None]]
    edges: list[list[Edges]]
    overloaded: frozenset[int]


class Graph:
    """Every origin's advertisement and the edges both ends agree on; equal by content.

    Made by `GraphStore` only. Edges are listed by (neighbour, link). A graph is put together when
    first read, from the last one that was: most of those that pass while a mesh starts never are.
    """

    def __init__(
        self,
        key: int,
        names: _Names,
        base: _Rows,
        pending: dict[str, _Advertisement | None],
    ) -> None:
        self.key = key
        self._names = names
        self._base = base
        self._pending = pending
        self._reach: dict[int, int] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._advert(name) is not None

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Origins with an advertisement, in name order."""
        rows = zip(self._names.names, chain.from_iterable(self._rows.adverts), strict=False)
        return tuple(sorted(name for name, advert in rows if advert is not None))

    @cached_property
    def overloaded(self) -> frozenset[int]:
        """Indices of the nodes that ask not to be transited (RFC 6987)."""
        return self._rows.overloaded

    @property
    def size(self) -> int:
        """Length of this graph's distance vectors; nodes numbered later are not in it."""
        return len(self._edges) << _BITS

    def edges(self, name: str) -> Edges:
        """Usable edges of a node: advertised by both ends on the same link (RFC 2328 s.16.1)."""
        number = self._names.index.get(name)
        return () if number is None or number >= self.size else self.edges_at(number)

    def edges_at(self, number: int) -> Edges:
        return self._edges[number >> _BITS][number & (_CHUNK - 1)]

    def advertisement(self, name: str) -> tuple[Neighbour, ...] | None:
        """What `name` advertises, usable or not, or None."""
        advert = self._advert(name)
        if advert is None:
            return None
        return tuple(Neighbour(*neighbour, *cost) for neighbour, cost in advert.links.items())

    def is_overloaded(self, name: str) -> bool:
        """Whether `name` asks not to be transited (RFC 6987)."""
        advert = self._advert(name)
        return advert is not None and advert.overload

    def number(self, name: str) -> int | None:
        """Index of `name` in distance vectors, or None if it advertises nothing."""
        return None if self._advert(name) is None else self._names.index[name]

    def name(self, number: int) -> str:
        return self._names.names[number]

    def reach(self, name: str) -> int:
        """To how many other nodes `name` has a path; overloaded nodes carry nobody else's."""
        number = self.number(name)
        if number is None:
            return 0
        if number not in self._reach:
            reached = self._reached(number)
            # All that carry packets and reach each other reach the same nodes.
            alike = {number} if number in self.overloaded else reached - self.overloaded
            self._reach.update(dict.fromkeys(alike, len(reached) - 1))
        return self._reach[number]

    def _reached(self, number: int) -> set[int]:
        reached, waiting = {number}, [number]
        while waiting:
            for edge in self.edges_at(waiting.pop()):
                if edge.number not in reached:
                    reached.add(edge.number)
                    if edge.number not in self.overloaded:
                        waiting.append(edge.number)
        return reached

    @cached_property
    def cuts(self) -> tuple[frozenset[tuple[int, int, str]], frozenset[int]]:
        """What separates the graph when lost: (node, node, link) both ways round, and nodes.

        Depth first (Hopcroft and Tarjan 1973, algorithm 447). Overload counts for nothing here.
        """
        bridges: set[tuple[int, int, str]] = set()
        cut_nodes: set[int] = set()
        entered: dict[int, int] = {}
        lowest: dict[int, int] = {}
        for root in range(self.size):
            if root in entered:
                continue
            entered[root] = lowest[root] = len(entered)
            children = 0
            path = [(root, -1, "", iter(self.edges_at(root)))]
            while path:
                node, parent, link_up, edges = path[-1]
                for edge in edges:
                    other = edge.number
                    if other not in entered:
                        entered[other] = lowest[other] = len(entered)
                        path.append((other, node, edge.link, iter(self.edges_at(other))))
                        break
                    if (other, edge.link) != (parent, link_up):
                        lowest[node] = min(lowest[node], entered[other])
                else:
                    path.pop()
                    if parent < 0:
                        continue
                    lowest[parent] = min(lowest[parent], lowest[node])
                    if lowest[node] > entered[parent]:
                        bridges |= {(parent, node, link_up), (node, parent, link_up)}
                    if parent == root:
                        children += 1
                    elif lowest[node] >= entered[parent]:
                        cut_nodes.add(parent)
            if children > 1:
                cut_nodes.add(root)
        return frozenset(bridges), frozenset(cut_nodes)

    def rows(self) -> list[Edges]:
        """Edges of all nodes by index."""
        return list(chain.from_iterable(self._edges))

    def changed_rows(self, older: Graph) -> Iterator[int]:
        """Nodes whose edges differ between the two graphs of one store."""
        ours, theirs = self._edges, older._edges
        for position in range(max(len(ours), len(theirs))):
            new = ours[position] if position < len(ours) else _NO_EDGES
            old = theirs[position] if position < len(theirs) else _NO_EDGES
            if new is old:
                continue
            for offset in range(_CHUNK):
                if new[offset] is not old[offset] and new[offset] != old[offset]:
                    yield (position << _BITS) + offset

    @cached_property
    def _edges(self) -> list[list[Edges]]:
        return self._rows.edges

    @cached_property
    def _rows(self) -> _Rows:
        rows = _replace(self._base, self._names, self._pending) if self._pending else self._base
        self._base, self._pending = rows, {}
        return rows

    def _advert(self, name: str) -> _Advertisement | None:
        if name in self._pending:
            return self._pending[name]
        number = self._names.index.get(name)
        adverts = self._base.adverts
        if number is None or number >> _BITS >= len(adverts):
            return None
        return adverts[number >> _BITS][number & (_CHUNK - 1)]

    def _with(self, key: int, replaced: dict[str, _Advertisement | None]) -> Graph:
        if len(self._pending) + len(replaced) > _MOST_PENDING:
            return Graph(key, self._names, self._rows, replaced)
        return Graph(key, self._names, self._base, self._pending | replaced)


_NO_EDGES: Final[list[Edges]] = [()] * _CHUNK
_NO_ADVERTS: Final[list[_Advertisement | None]] = [None] * _CHUNK


class Distances(Mapping[str, int]):
    """Distances by node name; unreachable nodes are absent."""

    __slots__ = ("_graph", "labels")

    def __init__(self, graph: Graph, labels: list[int]) -> None:
        self._graph = graph
        self.labels = labels

    def __getitem__(self, name: str) -> int:
        number = self._graph.number(name)
        if number is None or self.labels[number] >= UNREACHABLE:
            raise KeyError(name)
        return self.labels[number]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._graph.nodes if name in self)

    def __contains__(self, name: object) -> bool:
        number = self._graph.number(name) if isinstance(name, str) else None
        return number is not None and self.labels[number] < UNREACHABLE

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Recent(Generic[K, V]):
    """The most recently used values, up to a total weight."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._total = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        if key in self._kept:
            self._total -= self._kept.pop(key)[1]
        self._kept[key] = (value, weight)
        self._total += weight
        while self._total > self._limit and len(self._kept) > 1:
            self._total -= self._kept.popitem(last=False)[1][1]


class GraphStore:
    """Content-addressed memo of graphs and distances, shareable between simulated nodes.

    A new distance vector starts from the latest one of the same root, whichever graph that was
    of, and only what differs is relabelled. The limits bound memory: graphs and advertisements
    kept, and labels summed over all vectors.
    """

    def __init__(self, max_graphs: int = 4096, max_labels: int = 8_000_000) -> None:
        self._names = _Names()
        self._empty = Graph(0, self._names, _Rows([], [], frozenset()), {})
        self._graphs: _Recent[int, Graph] = _Recent(max_graphs)
        self._parsed: _Recent[tuple[str, tuple[Neighbour, ...], bool], _Advertisement] = _Recent(
            4 * max_graphs
        )
        self._vectors: _Recent[tuple[int, int, bool], list[int]] = _Recent(max_labels)
        self._disturbed: _Recent[tuple[int, int, int], frozenset[int]] = _Recent(max_labels // 8)
        self._latest: _Recent[tuple[int, bool], tuple[Graph, list[int]]] = _Recent(max_labels)

    def empty(self) -> Graph:
        """The graph without advertisements."""
        return self._empty

    def apply(
        self,
        graph: Graph,
        origin: str,
        advertisement: tuple[Neighbour, ...] | None,
        overload: bool = False,
    ) -> Graph:
        """`graph` with one origin's advertisement replaced, or removed (None)."""
        return self.apply_all(graph, [(origin, advertisement, overload)])

    def apply_all(
        self,
        graph: Graph,
        changes: Iterable[tuple[str, tuple[Neighbour, ...] | None, bool]],
    ) -> Graph:
        """`graph` after several (origin, advertisement, overload) at once; later ones win.

        Entries that name their own origin or cost less than 1 are never usable.
        """
        assert graph._names is self._names, "graph of another store"
        latest = {origin: (neighbours, overload) for origin, neighbours, overload in changes}
        key = graph.key
        replaced: dict[str, _Advertisement | None] = {}
        for origin, (neighbours, overload) in latest.items():
            old = graph._advert(origin)
            new = None if neighbours is None else self._parse(origin, neighbours, overload)
            before, after = old.digest if old else 0, new.digest if new else 0
            if before != after:
                key += after - before
                self._names.add(origin)
                replaced[origin] = new
        key &= _DIGEST_MASK
        if not replaced:
            return graph
        child = self._graphs.get(key)
        if child is None:
            child = graph._with(key, replaced)
            self._graphs.put(key, child)
        return child

    def distances_to(self, graph: Graph, root: str) -> Distances:
        """Shortest distances of all nodes towards `root`."""
        return Distances(graph, self.labels(graph, root, towards=True))

    def distances_from(self, graph: Graph, root: str) -> Distances:
        """Shortest distances from `root` to all nodes."""
        return Distances(graph, self.labels(graph, root, towards=False))

    def labels(self, graph: Graph, root: str, towards: bool) -> list[int]:
        """Distances by node index (`Graph.number`); shared, so not to be changed."""
        assert graph._names is self._names, "graph of another store"
        number = graph.number(root)
        if number is None:
            return [UNREACHABLE] * graph.size
        labels = self._vectors.get((graph.key, number, towards))
        if labels is None:
            labels = self._labels(graph, number, towards)
            self._vectors.put((graph.key, number, towards), labels, len(labels))
            self._latest.put((number, towards), (graph, labels), len(labels))
        return labels

    def disturbed(self, older: Graph, newer: Graph, root: str) -> frozenset[int] | None:
        """Nodes of `newer` that see a change around them, as far as paths towards `root` go.

        Their edges differ, or the distance or overload of a neighbour or of themselves does.
        None if the graphs are not comparable: `root` is missing in either.
        """
        number = newer.number(root)
        if number is None or older.number(root) is None:
            return None
        if older == newer:
            return frozenset()
        found = self._disturbed.get((older.key, newer.key, number))
        if found is None:
            before = self.labels(older, root, towards=True)
            after = self.labels(newer, root, towards=True)
            moved = set(older.overloaded ^ newer.overloaded)
            if before != after:
                pairs = zip_longest(before, after, fillvalue=UNREACHABLE)
                moved.update(node for node, (was, now) in enumerate(pairs) if was != now)
            around = {e.number for node in moved if node < newer.size for e in newer.edges_at(node)}
            found = frozenset(around.union(moved, newer.changed_rows(older)))
            self._disturbed.put((older.key, newer.key, number), found, len(found) + 1)
        return found

    def _labels(self, graph: Graph, root: int, towards: bool) -> list[int]:
        latest = self._latest.get((root, towards))
        if latest is None:
            return full(graph.rows(), graph.overloaded, root, towards)
        older, known = latest
        changed = set(graph.changed_rows(older))
        for number in graph.overloaded ^ older.overloaded:
            if number < graph.size:
                changed.update(edge.number for edge in graph.edges_at(number))
        if len(changed) > graph.size // 4 or older.size > graph.size:
            return full(graph.rows(), graph.overloaded, root, towards)
        labels = known + [UNREACHABLE] * (graph.size - older.size)
        update(labels, graph.edges_at, graph.overloaded, root, towards, changed)
        return labels

    def _parse(
        self, origin: str, neighbours: tuple[Neighbour, ...], overload: bool
    ) -> _Advertisement:
        known = self._parsed.get((origin, neighbours, overload))
        if known is not None:
            return known
        links: dict[tuple[str, str], tuple[int, int]] = {}
        for node, link, *cost in sorted(map(msgspec.structs.astuple, neighbours)):
            if node != origin and cost[0] >= 1:
                links.setdefault((node, link), (cost[0], cost[1]))
        content = [origin, overload, [(*neighbour, *cost) for neighbour, cost in links.items()]]
        digest = hashlib.blake2b(_encode(content), digest_size=16).digest()
        parsed = _Advertisement(links, overload, int.from_bytes(digest, "big"))
        self._parsed.put((origin, neighbours, overload), parsed)
        return parsed


def _replace(rows: _Rows, names: _Names, replaced: Mapping[str, _Advertisement | None]) -> _Rows:
    adverts, edges = _Draft(rows.adverts, _NO_ADVERTS), _Draft(rows.edges, _NO_EDGES)
    overloaded = set(rows.overloaded)
    for origin, advert in replaced.items():
        number = names.index[origin]
        adverts.grow(number)
        edges.grow(number)
        adverts[number] = advert
        (overloaded.add if advert and advert.overload else overloaded.discard)(number)
        usable: list[Edge] = []
        for (node, link), (cost, reverse) in advert.links.items() if advert else ():
            other = names.index.get(node)
            theirs = adverts.get(other)
            back = theirs.links.get((origin, link)) if theirs else None
            if other is not None and back is not None:
                cost_back, reverse_back = back
                edge = Edge(node, link, other, cost + reverse_back, cost_back + reverse)
                usable.append(edge)
        mirrored: dict[int, list[Edge]] = {edge.number: [] for edge in edges[number]}
        for edge in usable:
            mirror = Edge(origin, edge.link, number, edge.cost_back, edge.cost)
            mirrored.setdefault(edge.number, []).append(mirror)
        edges[number] = tuple(usable)
        for other, mirrors in mirrored.items():
            kept = [edge for edge in edges[other] if edge.number != number]
            edges[other] = tuple(sorted(kept + mirrors))
    return _Rows(adverts.chunks, edges.chunks, frozenset(overloaded))


R = TypeVar("R")


class _Draft(Generic[R]):
    """A draft of chunked rows: chunks are copied when first written to."""

    def __init__(self, chunks: list[list[R]], blank: list[R]) -> None:
        self.chunks = list(chunks)
        self._blank = blank
        self._own: set[int] = set()

    def grow(self, number: int) -> None:
        while number >> _BITS >= len(self.chunks):
            self.chunks.append(self._blank)

    def get(self, number: int | None) -> R | None:
        if number is None or number >> _BITS >= len(self.chunks):
            return None
        return self[number]

    def __getitem__(self, number: int) -> R:
        return self.chunks[number >> _BITS][number & (_CHUNK - 1)]

    def __setitem__(self, number: int, row: R) -> None:
        position = number >> _BITS
        if position not in self._own:
            self._own.add(position)
            self.chunks[position] = list(self.chunks[position])
        self.chunks[position][number & (_CHUNK - 1)] = row
