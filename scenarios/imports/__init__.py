"""Topologies of others: networks of the topohub package and files in six formats."""

from __future__ import annotations

from pathlib import Path

from x0mesh.scenarios.imports import (
    containerlab,
    graphml,
    meshviewer,
    netjson,
    node_link,
    topohub,
)
from x0mesh.scenarios.imports.base import FORMATS, ImportFormat, import_format
from x0mesh.scenarios.imports.mesh import build
from x0mesh.scenarios.imports.network import TopologyFileError
from x0mesh.scenarios.imports.source import format_of, parse, read_bytes, syntax_of
from x0mesh.scenarios.topology import Topology

__all__ = [
    "FORMATS",
    "ImportFormat",
    "TopologyFileError",
    "containerlab",
    "graphml",
    "import_format",
    "meshviewer",
    "netjson",
    "node_link",
    "read_topology",
    "topohub",
]


def read_topology(
    source: str, base_dir: str | Path = ".", file_format: str | None = None
) -> Topology:
    """The network that `topohub:<name>` or a path names; paths are relative to `base_dir`.

    `file_format` is one of FORMATS; None: detected from the content. Raises TopologyFileError,
    whose message begins with the source.
    """
    if source.startswith(topohub.PREFIX):
        if file_format not in (None, topohub.TopoHub.kind):
            raise TopologyFileError(f"{source}: is topohub, not {file_format}")
        document = topohub.document(source.removeprefix(topohub.PREFIX))
        return build(topohub.TopoHub().read(document), source)
    path = Path(base_dir, source)
    try:
        content = read_bytes(path)
        syntax = syntax_of(content)
        document = parse(content, syntax)
        network = format_of(document, syntax, file_format).read(document)
        return build(network, path.name)
    except TopologyFileError as error:
        raise TopologyFileError(f"{source}: {error}") from None
