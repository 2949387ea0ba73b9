"""Rows for `x0mesh list`: names and one line of description each."""

from __future__ import annotations

import inspect

from x0mesh import library, run_folder


def rows(what: str) -> list[tuple[str, ...]]:
    """Rows of (name, description, ..) in a stable order."""
    return _LISTS[what]()


def _first_line(item: object) -> str:
    text = inspect.getdoc(item) or ""
    return text.split("\n\n")[0].replace("\n", " ")


def _scenarios() -> list[tuple[str, ...]]:
    from x0mesh.scenarios.loader import load

    return [(name, load(library.find(name)).title) for name in library.names()]


def _faults() -> list[tuple[str, ...]]:
    from x0mesh.scenarios.faults import FAULTS

    return [
        (kind, "" if cls.available else "not yet", _first_line(cls)) for kind, cls in FAULTS.items()
    ]


def _checks() -> list[tuple[str, ...]]:
    from x0mesh.scenarios.checks import CHECKS

    return [(kind, _first_line(cls)) for kind, cls in CHECKS.items()]


def _metrics() -> list[tuple[str, ...]]:
    from x0mesh.scenarios.metrics import METRICS

    return [(name, m.unit, f"per {m.per}", m.description) for name, m in METRICS.items()]


def _events() -> list[tuple[str, ...]]:
    from x0mesh.scenarios.events import KINDS

    return list(KINDS.items())


def _topologies() -> list[tuple[str, ...]]:
    from x0mesh.scenarios.generators import GENERATORS

    return [(kind, _first_line(cls)) for kind, cls in GENERATORS.items()]


def _traffic() -> list[tuple[str, ...]]:
    from x0mesh.scenarios.traffic import TRAFFIC

    return [(kind, _first_line(cls)) for kind, cls in TRAFFIC.items()]


def _runs() -> list[tuple[str, ...]]:
    return [(str(folder),) for folder in run_folder.runs()]


_LISTS = {
    "scenarios": _scenarios,
    "faults": _faults,
    "checks": _checks,
    "metrics": _metrics,
    "events": _events,
    "topologies": _topologies,
    "traffic": _traffic,
    "runs": _runs,
}
