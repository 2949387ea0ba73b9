"""Metrics an engine can answer while it runs, for `when`, `steady_state` and `abort_if`."""

from __future__ import annotations

from typing import Final

METRICS: Final[dict[str, str]] = {
    "reachability.ratio": "node pairs reached over pairs the surviving graph connects, 0..1",
    "adjacency.full_ratio": "Full adjacencies over links that are physically up, 0..1",
    "routes.converged": "1 when no node has pending SPF or flooding work, else 0",
    "host.free_memory": "bytes of memory the host has left",
    "engine.event_backlog": "entries in the engine's queue",
}

UNITS: Final[dict[str, str]] = {
    "reachability.ratio": "ratio",
    "adjacency.full_ratio": "ratio",
    "routes.converged": "count",
    "host.free_memory": "B",
    "engine.event_backlog": "count",
}
