"""Pages of docs/ that are made from the registries, so that they cannot go stale."""

from __future__ import annotations

from typing import Any

from x0mesh import catalogue
from x0mesh.listing import registry, rows_of
from x0mesh.refusal import RefusedError


def markdown(what: str) -> str:
    """docs/faults.md or docs/metrics.md. Raises RefusedError for other lists."""
    if what == "faults":
        return _faults_page()
    if what == "metrics":
        return _metrics_page()
    raise RefusedError("--markdown makes the pages of faults and metrics")


_MADE = "<!-- made by `x0mesh list {what} --markdown`; do not edit -->"


def _faults_page() -> str:
    faults = registry("faults")
    rows = [
        (f"[`{kind}`](#{kind.replace('.', '')})", cls.target, catalogue.summary(cls))
        for kind, cls in faults.items()
        if cls.available
    ]
    parts = [
        _MADE.format(what="faults"),
        "# Faults",
        "What can go wrong, by the name a scenario's `timeline` gives it. A fault acts on its "
        "`target` from its start to its end (`for:`, or the end of chaos), takes its parameters "
        "under `with:`, and records evidence that it took effect: without evidence the run is "
        "inconclusive. `x0mesh list faults NAME` prints one.",
        catalogue.markdown_table(("fault", "target", "what happens"), rows),
    ]
    for kind, cls in faults.items():
        if cls.available:
            parts += _fault_section(kind, cls)
    parts += [
        "## Known to the language, not run yet",
        "`validate` and `plan` accept these; `run` ends with exit code 4 and their name.",
        catalogue.markdown_table(
            ("fault", "target", "what will happen"),
            [
                (f"`{kind}`", cls.target, catalogue.summary(cls))
                for kind, cls in faults.items()
                if not cls.available
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _fault_section(kind: str, cls: Any) -> list[str]:
    parts = [f"## {kind}", catalogue.page(cls), f"Target: {cls.target}."]
    if cls.permanent:
        parts[-1] += " Cannot be undone, so it takes no `for:`."
    if found := catalogue.parameters(cls):
        rows = [(f"`{p.name}`", p.form, p.default or "required") for p in found]
        parts.append(catalogue.markdown_table(("parameter", "form", "default"), rows))
    return parts


def _metrics_page() -> str:
    from x0mesh.scenarios.events import FIELDS

    rows = [(f"`{name}`", unit, per, text) for name, unit, per, text in rows_of("metrics")]
    live_rows = [(f"`{name}`", unit, text) for name, unit, text in rows_of("live-metrics")]
    events = [(f"`{kind}`", text) for kind, text in rows_of("events")]
    fields = [(f"`{name}`", text) for name, text in FIELDS.items()]
    return (
        "\n\n".join(
            [
                _MADE.format(what="metrics"),
                "# Metrics and events",
                "## Metrics of a finished run",
                "What `within`, `slo`, `never`, `always` and `sometimes` may ask. A metric yields "
                "samples per replication; the third column says what one sample stands for. "
                "A sample whose end was not seen (never healed) is censored: known to be at least "
                "its value, never dropped.",
                catalogue.markdown_table(("metric", "unit", "a sample", "meaning"), rows),
                "## Live metrics",
                "What an engine can answer while it runs, for `when`, `steady_state` and "
                "`abort_if`.",
                catalogue.markdown_table(("metric", "unit", "meaning"), live_rows),
                "## Events",
                "Rows of `events.parquet`, and what a check may name with `event:`.",
                catalogue.markdown_table(("event", "meaning"), events),
                "Under `where:` a check may compare these fields with a value or `{not: value}`.",
                catalogue.markdown_table(("field", "meaning"), fields),
            ]
        )
        + "\n"
    )
