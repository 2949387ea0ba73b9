"""x0mesh: simulation and chaos testing for self-healing, zero-trust mesh networks.

The public API, loaded when it is used: `load` a scenario, `make_plan` for a replication, `run`
it on the simulator, `judge` the records.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from x0mesh.reports import Judgement, judge, load_run, write_run
    from x0mesh.scenarios.loader import load, loads
    from x0mesh.scenarios.model import Scenario
    from x0mesh.scenarios.plan import Plan
    from x0mesh.scenarios.planner import make_plan
    from x0mesh.scenarios.problems import ScenarioError
    from x0mesh.scenarios.record import Record
    from x0mesh.sim import run

__version__ = "0.1.0"

__all__ = [
    "Judgement",
    "Plan",
    "Record",
    "Scenario",
    "ScenarioError",
    "__version__",
    "judge",
    "load",
    "load_run",
    "loads",
    "make_plan",
    "run",
    "write_run",
]

_HOME = {
    "Judgement": "x0mesh.reports",
    "Plan": "x0mesh.scenarios.plan",
    "Record": "x0mesh.scenarios.record",
    "Scenario": "x0mesh.scenarios.model",
    "ScenarioError": "x0mesh.scenarios.problems",
    "judge": "x0mesh.reports",
    "load": "x0mesh.scenarios.loader",
    "load_run": "x0mesh.reports",
    "loads": "x0mesh.scenarios.loader",
    "make_plan": "x0mesh.scenarios.planner",
    "run": "x0mesh.sim",
    "write_run": "x0mesh.reports",
}


def __getattr__(name: str) -> Any:
    # Reports pull in SciPy and Arrow; `x0mesh --help` should not wait for them.
    if name not in _HOME:
        raise AttributeError(f"module 'x0mesh' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
