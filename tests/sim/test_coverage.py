"""Coverage counted from installed routes: both denominators, and routes without repairs."""

from __future__ import annotations

from x0mesh.mesh.routes import NextHop, Protection, Repair, RepairKind, Route
from x0mesh.sim.coverage import installed_coverage

# A triangle a-b-c with a tail c-d; the link c-d is a bridge, c a cut vertex.
LINKS = {"ab": ("a", "b"), "bc": ("b", "c"), "ca": ("c", "a"), "cd": ("c", "d")}


def route(destination: str, link: str, neighbour: str, repair: Repair | None = None) -> Route:
    return Route(destination, NextHop(link, neighbour), repair, 1)


def by(link: str, neighbour: str, protects: Protection) -> Repair:
    return Repair(NextHop(link, neighbour), (), RepairKind.LFA, protects)


def test_a_bridge_and_a_separating_next_hop_cannot_be_protected() -> None:
    tables = {
        "a": {"d": route("d", "ca", "c", by("ab", "b", Protection.LINK))},
        "c": {"d": route("d", "cd", "d")},
        "b": {},
        "d": {},
    }
    assert installed_coverage(LINKS, tables) == {"backup.coverage": 1.0}


def test_a_missing_repair_lowers_the_ratio() -> None:
    tables = {
        "a": {
            "b": route("b", "ab", "b", by("ca", "c", Protection.LINK)),
            "c": route("c", "ca", "c"),
        },
        "b": {},
        "c": {},
        "d": {},
    }
    assert installed_coverage(LINKS, tables) == {"backup.coverage": 0.5}


def test_parallel_links_are_no_bridge() -> None:
    links = {"one": ("a", "b"), "two": ("a", "b")}
    repaired = route("b", "one", "b", by("two", "b", Protection.LINK))
    assert installed_coverage(links, {"a": {"b": repaired}, "b": {}}) == {"backup.coverage": 1.0}


def test_link_protection_is_not_node_protection() -> None:
    square = {"ab": ("a", "b"), "bc": ("b", "c"), "cd": ("c", "d"), "da": ("d", "a")}
    for protects, expected in ((Protection.NODE, 1.0), (Protection.LINK, 0.0)):
        tables = {
            "a": {"c": route("c", "ab", "b", by("da", "d", protects))},
            "b": {},
            "c": {},
            "d": {},
        }
        assert installed_coverage(square, tables)["backup.node_coverage"] == expected
