"""A network as a file has it, before anything is cleaned, dropped or named."""

from __future__ import annotations

from dataclasses import dataclass, field

from x0mesh.scenarios.generators.base import MAX_LINKS, MAX_NODES
from x0mesh.scenarios.link_conditions import LinkConditions

MAX_BYTES = 32 * 2**20


class TopologyFileError(ValueError):
    """The source cannot become a network; the message names it and says why."""


@dataclass(slots=True)
class FileNode:
    """`place` is (longitude, latitude) where the file gives both, `drawn` any other (x, y)."""

    id: str
    label: str | None = None
    place: tuple[float, float] | None = None
    drawn: tuple[float, float] | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class FileLink:
    """`km` None: from the places of the ends where both are known. Losses are ratios 0..1.

    `conditions` are words of our own language that the file itself uses.
    """

    source: str
    target: str
    km: float | None = None
    rate_bps: int = 0
    loss_forward: float = 0.0
    loss_backward: float = 0.0
    cost_forward: int | None = None
    cost_backward: int | None = None
    conditions: LinkConditions | None = None


@dataclass(slots=True)
class FileNetwork:
    """Nodes by id in file order. `directed`: a link and its opposite are one link's directions.

    `by_distance`: links get the delay of their length. `declared` is the number of nodes the
    file lists, `repeated` how many of these repeat an id. `unused` are words of the file that
    nothing was made of, `assumptions` what was supposed about the others.
    """

    nodes: dict[str, FileNode] = field(default_factory=dict)
    links: list[FileLink] = field(default_factory=list)
    directed: bool = False
    by_distance: bool = False
    declared: int = 0
    repeated: int = 0
    unused: dict[str, None] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)

    def add_node(self, node: FileNode, first_counts: bool = False) -> None:
        """An id that stands there twice is refused, or its first entry counts."""
        if node.id in self.nodes and first_counts:
            self.declared += 1
            self.repeated += 1
            return
        if node.id in self.nodes:
            raise TopologyFileError(f"node '{node.id}' stands there twice")
        if len(self.nodes) >= MAX_NODES:
            raise TopologyFileError(f"more than {MAX_NODES} nodes, which is the limit")
        self.nodes[node.id] = node
        self.declared += 1

    def add_link(self, link: FileLink) -> None:
        if len(self.links) >= MAX_LINKS:
            raise TopologyFileError(f"more than {MAX_LINKS} links, which is the limit")
        self.links.append(link)

    def add_linked_nodes(self) -> None:
        """Nodes that only links name exist as well, as networkx and meshnet-lab read them."""
        declared = self.declared
        for link in self.links:
            for end in (link.source, link.target):
                if end not in self.nodes:
                    self.add_node(FileNode(end))
        self.declared = declared

    def use_rest(self, node: FileNode, entry: dict[str, object], used: set[str]) -> None:
        """Keep the other plain values of a node's entry as labels."""
        for key, value in entry.items():
            if key in used or value is None:
                continue
            if isinstance(value, str | int | float) and len(str(value)) <= _LABEL_LENGTH:
                node.labels[str(key)[:_LABEL_LENGTH]] = str(value)
            else:
                self.unused[f"node {key}"] = None


_LABEL_LENGTH = 200


def node_id(value: object, where: str) -> str:
    """Ids are compared as text: files mix 1 and "1" (networkx, topohub)."""
    if isinstance(value, bool) or value is None:
        raise TopologyFileError(f"{where}: no usable id: {value!r:.60}")
    if isinstance(value, str | int):
        return str(value)[:_LABEL_LENGTH]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and all(isinstance(part, str | int) for part in value):
        return "-".join(map(str, value))[:_LABEL_LENGTH]
    raise TopologyFileError(f"{where}: an id must be text or a number, got {value!r:.60}")


def ratio(value: object, where: str) -> float:
    """A quality or probability of the file; TopologyFileError outside 0..1."""
    number = finite(value, where)
    if not 0 <= number <= 1:
        raise TopologyFileError(f"{where}: expected a ratio in 0..1, got {number:g}")
    return number


def finite(value: object, where: str) -> float:
    """A number of the file, given as such or as text."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        raise TopologyFileError(f"{where}: expected a number, got {value!r:.60}") from None
    if number - number != 0:
        raise TopologyFileError(f"{where}: expected a finite number, got {number}")
    return number


def place(latitude: object, longitude: object, where: str) -> tuple[float, float] | None:
    """(longitude, latitude), or None where one is missing."""
    if latitude is None or longitude is None:
        return None
    lat, lon = finite(latitude, where), finite(longitude, where)
    if abs(lat) > 90 or abs(lon) > 360:
        raise TopologyFileError(f"{where}: no place on earth: latitude {lat:g}, longitude {lon:g}")
    return lon, lat
