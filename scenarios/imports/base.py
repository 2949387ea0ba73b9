"""What a file format is: how it is recognised and how it becomes a network."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from x0mesh.scenarios.imports.network import FileNetwork
from x0mesh.scenarios.registry import Registry

Syntax = Literal["xml", "json", "yaml"]


class ImportFormat:
    """A format's docstring is its page in the documentation.

    `general` formats are asked last, because they recognise what others write as well.
    A document is what the syntax makes of the file: parsed JSON or YAML, or the bytes of XML.
    """

    kind: ClassVar[str]
    syntax: ClassVar[Syntax]
    general: ClassVar[bool] = False

    def recognises(self, document: Any) -> bool:
        """Whether a document looks like this format; asked in order of registration."""
        raise NotImplementedError

    def read(self, document: Any) -> FileNetwork:
        """Raise TopologyFileError where it is not a network."""
        raise NotImplementedError


FORMATS: Registry[type[ImportFormat]] = Registry("x0mesh.topology_formats")


def import_format(cls: type[ImportFormat]) -> type[ImportFormat]:
    """Class decorator that puts a format into the registry under its `kind`."""
    FORMATS.add(cls.kind, cls)
    return cls
