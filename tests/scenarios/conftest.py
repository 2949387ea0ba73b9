"""A small mesh, and a fault brought to its steps on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from x0mesh.scenarios.draws import stream
from x0mesh.scenarios.faults import FAULTS, FaultContext
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import LinkPlan, NodePlan, Step
from x0mesh.scenarios.topology import Topology

MS = 1_000_000
S = 1_000 * MS

Steps = Callable[..., tuple[Step, ...]]


@pytest.fixture
def ring() -> Topology:
    """Six nodes n0..n5 in a ring, links n0-n1 .. n5-n0; n0..n2 in eu, n3..n5 in us; 1 ms."""
    topology = Topology()
    for i in range(6):
        name = f"n{i}"
        topology.nodes[name] = NodePlan(name, region="eu" if i < 3 else "us", role="leaf")
    for i in range(6):
        a, b = f"n{i}", f"n{(i + 1) % 6}"
        topology.links[f"{a}-{b}"] = LinkPlan(
            f"{a}-{b}", a, b, Impairment(delay_ns=MS), Impairment(delay_ns=MS)
        )
    return topology


@pytest.fixture
def steps_of(ring: Topology, tmp_path: Path) -> Steps:
    """`steps_of(kind, {parameters}, nodes=, links=, groups=, duration_ns=, seed=, on=)`."""

    def steps_of(
        kind: str,
        parameters: dict[str, Any] | None = None,
        *,
        nodes: tuple[str, ...] = (),
        links: tuple[str, ...] = (),
        groups: tuple[tuple[str, ...], ...] = (),
        duration_ns: int = 10 * S,
        seed: int = 1,
        on: Topology | None = None,
    ) -> tuple[Step, ...]:
        context = FaultContext(
            topology=on or ring,
            nodes=nodes,
            links=links,
            groups=groups,
            duration_ns=duration_ns,
            random=stream(seed, "fault under test", "steps"),
            base_dir=str(tmp_path),
        )
        return FAULTS[kind].model_validate(parameters or {}).steps(context)

    return steps_of
