"""`routes: in-use` keeps fewer routes and changes nothing for the destinations in use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from x0mesh import sim
from x0mesh.scenarios.loader import loads
from x0mesh.scenarios.planner import make_plan
from x0mesh.scenarios.record import LOST

SCENARIO = """
schema: x0mesh.scenario/1
name: in-use
run: {{warmup: 4s, chaos: 8s, settle: 4s}}
topology: {{generator: {{kind: {kind}}}}}
traffic:
  - {{id: a, from: n0, to: n3, kind: cbr, rate: 200/s, size: 128B}}
  - {{id: b, from: n1, to: n4, kind: cbr, rate: 200/s, size: 128B}}
timeline:
  - {{id: cut, at: 1s, for: 2s, fault: link.blackhole, target: {{links: {{between: [n0, n1]}}}}}}
  - {{id: crash, at: 4s, for: 3s, fault: node.crash, target: {{nodes: n2}}}}
"""


@pytest.mark.parametrize("kind", ["ring, nodes: 9", "grid, rows: 3, columns: 4"])
@pytest.mark.parametrize("start", ["cold", "converged"])
def test_flows_fare_alike(kind: str, start: str) -> None:
    plan = make_plan(loads(SCENARIO.format(kind=kind)), 0)
    plan = replace(plan, start=start)  # type: ignore[arg-type]
    everything, some = (sim.run(replace(plan, routes=r)) for r in ("all", "in-use"))  # type: ignore[arg-type]
    assert some.backend["routes"] == "in-use"
    assert any(
        (flow.latency_ns[flow.sent_ns > plan.warmup_ns] == LOST).any() for flow in some.flows
    )
    for one, other in zip(everything.flows, some.flows, strict=True):
        assert np.array_equal(one.sent_ns, other.sent_ns)
        assert np.array_equal(one.latency_ns, other.latency_ns)
