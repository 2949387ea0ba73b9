"""GraphML, as the Internet Topology Zoo, networkx and yEd write it.

The file is not trusted: a document type declaration, and with it every entity, is refused.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar
from xml.parsers import expat  # nosec B407

from x0mesh.scenarios.imports.base import ImportFormat, Syntax, import_format
from x0mesh.scenarios.imports.network import (
    FileLink,
    FileNetwork,
    FileNode,
    TopologyFileError,
    finite,
    place,
)

_LABEL = ("label", "name", "Label")
_LATITUDE = ("Latitude", "latitude", "lat")
_LONGITUDE = ("Longitude", "longitude", "lon", "lng")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SPEED = ("LinkSpeedRaw", "LinkSpeed", "LinkSpeedUnits")


@import_format
class GraphMl(ImportFormat):
    """GraphML with the attributes of the Internet Topology Zoo (Knight et al. 2011).

    Parallel edges stay parallel links. `Latitude` and `Longitude` of the ends give the delay,
    `LinkSpeedRaw` (bit/s), or `LinkSpeed` with `LinkSpeedUnits`, the rate. Other attributes of a
    node become labels. Nested graphs and hyperedges are refused, and so is any DTD.
    """

    kind: ClassVar[str] = "graphml"
    syntax: ClassVar[Syntax] = "xml"

    def recognises(self, document: Any) -> bool:
        return re.search(rb"<(\w+:)?graphml[\s/>]", document[:4096]) is not None

    def read(self, document: Any) -> FileNetwork:
        return _Reader().read(document)


class _Reader:
    """One pass over the file, an element at a time."""

    def __init__(self) -> None:
        self.network = FileNetwork(by_distance=True)
        self.keys: dict[str, tuple[str, str]] = {}
        self.defaults: dict[str, dict[str, str]] = {"node": {}, "edge": {}}
        self.path: list[str] = []
        self.values: dict[str, str] = {}
        self.attributes: dict[str, str] = {}
        self.key = ""
        self.text: list[str] = []
        self.graphs = 0
        self.ends: list[int] = []
        self.expat = expat.ParserCreate(namespace_separator=" ")

    def read(self, document: bytes) -> FileNetwork:
        parser = self.expat
        parser.StartDoctypeDeclHandler = self._refuse_dtd
        parser.EntityDeclHandler = self._refuse_dtd
        parser.ExternalEntityRefHandler = self._refuse_dtd
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self.text.append
        try:
            parser.Parse(document, True)
        except expat.ExpatError as error:
            raise TopologyFileError(_xml_mistake(error)) from None
        if not self.graphs:
            raise TopologyFileError("not a graph: there is no <graph> in it")
        for line, link in zip(self.ends, self.network.links, strict=True):
            for end in (link.source, link.target):
                if end not in self.network.nodes:
                    raise TopologyFileError(f"line {line}: edge to '{end}', which is no node")
        return self.network

    def _refuse_dtd(self, *_: Any) -> int:
        raise TopologyFileError("a document type declaration is refused (entities)")

    def _where(self) -> str:
        return f"line {self.expat.CurrentLineNumber}"

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        element = qualified.rpartition(" ")[2]
        inside = self.path[-1] if self.path else ""
        self.path.append(element)
        self.text.clear()
        match element:
            case "graph" if inside != "graphml" or self.graphs:
                raise TopologyFileError(f"{self._where()}: more than one graph, or nested ones")
            case "graph":
                self.graphs += 1
                self.network.directed = attributes.get("edgedefault") == "directed"
            case "hyperedge":
                raise TopologyFileError(f"{self._where()}: hyperedges are not supported")
            case "key":
                self.key = attributes.get("id", "")
                name = attributes.get("attr.name", self.key)
                self.keys[self.key] = (name, attributes.get("for", "all"))
            case "node" | "edge":
                self.attributes = attributes
                self.values = dict(self.defaults[element])
            case "data":
                self.key = attributes.get("key", "")

    def _end(self, qualified: str) -> None:
        element = self.path.pop()
        inside = self.path[-1] if self.path else ""
        text = "".join(self.text).strip()
        match element:
            case "default" if inside == "key":
                name, domain = self.keys[self.key]
                for kind in ("node", "edge") if domain == "all" else (domain,):
                    if kind in self.defaults:
                        self.defaults[kind][name] = text
            case "data" if inside in ("node", "edge"):
                name = self.keys.get(self.key, (self.key, ""))[0]
                if text:
                    self.values[name] = text
                self.text.clear()
            case "node":
                self._node()
            case "edge":
                self._edge()

    def _node(self) -> None:
        where = self._where()
        if "id" not in self.attributes:
            raise TopologyFileError(f"{where}: node without an id")
        values = self.values
        node = FileNode(self.attributes["id"], label=_first(values, _LABEL))
        node.place = place(_first(values, _LATITUDE), _first(values, _LONGITUDE), where)
        drawn = values.get("x"), values.get("y")
        if node.place is None and drawn[0] is not None and drawn[1] is not None:
            node.drawn = finite(drawn[0], where), finite(drawn[1], where)
        used = {"id", "x", "y", *_LABEL, *_LATITUDE, *_LONGITUDE}
        self.network.use_rest(node, dict(values), used)
        self.network.add_node(node)

    def _edge(self) -> None:
        where = self._where()
        for end in ("source", "target"):
            if end not in self.attributes:
                raise TopologyFileError(f"{where}: edge without a {end}")
        link = FileLink(self.attributes["source"], self.attributes["target"])
        link.rate_bps = self._rate(where)
        for name in self.values:
            if name not in (*_SPEED, "id", "key"):
                self.network.unused[f"link {name}"] = None
        self.network.add_link(link)
        self.ends.append(self.expat.CurrentLineNumber)

    def _rate(self, where: str) -> int:
        """Bits per second, 0 where the file does not say or says what is no speed."""
        raw, speed, unit = (self.values.get(name) for name in _SPEED)
        if raw is None:
            if speed is None or unit is None or unit.strip().upper() not in _UNITS:
                return 0
            if not re.fullmatch(r"\d+(\.\d+)?", speed.strip()):
                self.network.unused["link LinkSpeed in words"] = None
                return 0
            return round(float(speed) * _UNITS[unit.strip().upper()])
        bits = finite(raw, f"{where}: LinkSpeedRaw")
        if not 0 <= bits < 2**62:
            raise TopologyFileError(f"{where}: LinkSpeedRaw out of range: {bits:g}")
        return round(bits)


def _first(values: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((values[name] for name in names if name in values), None)


def _xml_mistake(error: expat.ExpatError) -> str:
    cut = error.code in (
        expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
    )
    what = "ends in the middle (truncated?)" if cut else "not well-formed XML"
    return (
        f"line {error.lineno}, column {error.offset + 1}: {what}: {expat.ErrorString(error.code)}"
    )
