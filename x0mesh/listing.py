"""What `x0mesh list` shows: a row for everything there is, or one item in full."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import BaseModel

from x0mesh import catalogue, library, run_folder
from x0mesh.refusal import NothingSelectedError, RefusedError
from x0mesh.scenarios.registry import Registry, did_you_mean
from x0mesh.terminal import table

Rows = Sequence[tuple[str, ...]]

PAGE_WIDTH: Final = 96


def rows_of(what: str) -> Rows:
    """Name first, description last."""
    return _ROWS[what]()


def lines(what: str) -> str:
    """Aligned columns, the name first. Raises NothingSelectedError when there is nothing."""
    rows = rows_of(what)
    if not rows:
        raise NothingSelectedError(f"no {what} here")
    return table(rows)


def item(what: str, name: str) -> str:
    """One item in full: its page, parameters and what else it says of itself."""
    names = [row[0] for row in _ROWS[what]()]
    if name not in names:
        raise RefusedError(f"no {what} called '{name}'{did_you_mean(name, names)}")
    if what == "scenarios":
        return library.find(name).read_text(encoding="utf-8").rstrip()
    if what not in _MODELS:
        (row,) = (row for row in _ROWS[what]() if row[0] == name)
        return table([row])
    model = _models(what)[name]
    parts = [
        textwrap.fill(p, PAGE_WIDTH) for p in (name, *catalogue.page(model).split("\n\n")) if p
    ]
    parts.append("\n".join(_facts(model)))
    if found := catalogue.parameters(model, _COMMON.get(what, ())):
        rows = [(f"  {p.name}", p.form, _needed(p)) for p in found]
        parts.append(f"parameters:\n{table(rows)}")
    return "\n\n".join(part for part in parts if part)


def _needed(parameter: catalogue.Parameter) -> str:
    return f"default {parameter.default}" if parameter.default else "required"


def _facts(model: Any) -> list[str]:
    facts = []
    if hasattr(model, "target"):
        facts.append(f"target: {model.target}")
    if hasattr(model, "engines") and isinstance(model.engines, tuple):
        facts.append(f"engines: {', '.join(model.engines)}")
    if getattr(model, "permanent", False):
        facts.append("permanent: cannot be undone, takes no for:")
    if not getattr(model, "available", True):
        facts.append("not yet: the language knows it, no engine of this version runs it")
    return facts


def registry(what: str) -> Registry[Any]:
    from x0mesh.scenarios.checks import CHECKS
    from x0mesh.scenarios.faults import FAULTS
    from x0mesh.scenarios.generators import GENERATORS
    from x0mesh.scenarios.imports import FORMATS
    from x0mesh.scenarios.traffic import TRAFFIC

    registries: dict[str, Registry[Any]] = {
        "faults": FAULTS,
        "checks": CHECKS,
        "topologies": GENERATORS,
        "imports": FORMATS,
        "traffic": TRAFFIC,
    }
    return registries[what]


def _models(what: str) -> dict[str, type[BaseModel]]:
    return dict(registry(what).items())


def _described(what: str) -> Callable[[], Rows]:
    return lambda: [(kind, catalogue.summary(cls)) for kind, cls in registry(what).items()]


def _faults() -> Rows:
    return [
        (kind, cls.target, "" if cls.available else "not yet", catalogue.summary(cls))
        for kind, cls in registry("faults").items()
    ]


def _scenarios() -> Rows:
    from x0mesh.scenarios.loader import load

    return [(name, load(library.find(name)).title) for name in library.names()]


def _metrics() -> Rows:
    from x0mesh.scenarios.metrics import METRICS

    return [(name, m.unit, f"per {m.per}", m.description) for name, m in METRICS.items()]


def _live() -> Rows:
    from x0mesh.scenarios import live

    return [(name, live.UNITS[name], text) for name, text in live.METRICS.items()]


def _events() -> Rows:
    from x0mesh.scenarios.events import KINDS

    return list(KINDS.items())


def _runs() -> Rows:
    return [(str(folder),) for folder in run_folder.runs()]


_ROWS: Final[dict[str, Callable[[], Rows]]] = {
    "scenarios": _scenarios,
    "faults": _faults,
    "checks": _described("checks"),
    "metrics": _metrics,
    "live-metrics": _live,
    "events": _events,
    "topologies": _described("topologies"),
    "imports": _described("imports"),
    "traffic": _described("traffic"),
    "runs": _runs,
}
_MODELS: Final = ("faults", "checks", "topologies", "traffic")
_COMMON: Final = {"topologies": (), "traffic": ("id", "kind"), "checks": ("id", "kind")}
