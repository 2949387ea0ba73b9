"""Named things a scenario can use, ours and those of other packages.

A package adds its own through an entry point in the registry's group, for example
`[project.entry-points."x0mesh.faults"] "acme.reboot" = "acme.faults:Reboot"`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

T = TypeVar("T")


class EntryPointError(Exception):
    """Another package's addition cannot be used; the message names the entry point."""


class Registry(Generic[T]):
    """Items by name, in order of registration; entry points of `group` load on first look-up."""

    def __init__(self, group: str) -> None:
        self.group = group
        self._items: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator; a name taken twice is a programmer's error (ValueError)."""

        def add(item: T) -> T:
            self.add(name, item)
            return item

        return add

    def add(self, name: str, item: T) -> None:
        if name in self._items:
            raise ValueError(f"{self.group}: '{name}' is registered twice")
        self._items[name] = item

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            for point in sorted(entry_points(group=self.group), key=lambda p: p.name):
                self._add_point(point)

    def _add_point(self, point: EntryPoint) -> None:
        owner = f" of {point.dist.name}" if point.dist else ""
        place = f"{self.group}: entry point '{point.name}'{owner} ({point.value})"
        if point.name in self._items:
            raise EntryPointError(f"{place}: the name is taken")
        try:
            item = point.load()
        except Exception as error:
            raise EntryPointError(f"{place}: {type(error).__name__}: {error}") from error
        kind = getattr(item, "kind", point.name)
        if kind != point.name:
            raise EntryPointError(f"{place}: its kind is '{kind}'; the two must be equal")
        self._items[point.name] = item

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._items)

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._items

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._items[name]

    def items(self) -> list[tuple[str, T]]:
        self._load()
        return list(self._items.items())

    def hint(self, name: str) -> str:
        """'; did you mean ...?' for the closest name, or nothing."""
        return did_you_mean(name, list(self))


def did_you_mean(word: str, known: list[str]) -> str:
    """'; did you mean ...?' for the closest of `known`, or nothing."""
    close = difflib.get_close_matches(word, known, 1)
    return f"; did you mean '{close[0]}'?" if close else ""
