"""Small meshes for the simulator's tests."""

from collections.abc import Callable, Sequence

import pytest

from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import FaultPlan, FlowPlan, LinkPlan, NodePlan, Plan, ProtocolPlan

MS = 1_000_000
S = 1_000_000_000

Edge = tuple[str, str]


def _plan(
    edges: Sequence[Edge],
    faults: Sequence[FaultPlan] = (),
    *,
    start: str = "converged",
    seed: int = 1,
    warmup_ns: int = 2 * S,
    chaos_ns: int = 6 * S,
    settle_ns: int = 2 * S,
    impairment: Impairment | None = None,
    flows: Sequence[FlowPlan] = (),
    routes: str = "all",
    **rest: object,
) -> Plan:
    """A plan over links named after their ends, 'a-b'; other Plan fields as keywords."""
    impairment = impairment or Impairment(delay_ns=2 * MS)
    names = dict.fromkeys(name for edge in edges for name in edge)
    links = (LinkPlan(f"{a}-{b}", a, b, impairment, impairment) for a, b in edges)
    return Plan(
        scenario="test",
        scenario_sha256="",
        seed=seed,
        replication=0,
        nodes=tuple(map(NodePlan, names)),
        links=tuple(links),
        flows=tuple(flows),
        faults=tuple(faults),
        warmup_ns=warmup_ns,
        chaos_ns=chaos_ns,
        settle_ns=settle_ns,
        start=start,  # type: ignore[arg-type]
        routes=routes,  # type: ignore[arg-type]
        **{"protocol": ProtocolPlan(), **rest},  # type: ignore[arg-type]
    )


def _ring(n: int) -> list[Edge]:
    return [(f"n{i}", f"n{(i + 1) % n}") for i in range(n)]


def _grid(side: int) -> list[Edge]:
    across = [(f"n{r}.{c}", f"n{r}.{c + 1}") for r in range(side) for c in range(side - 1)]
    down = [(f"n{r}.{c}", f"n{r + 1}.{c}") for r in range(side - 1) for c in range(side)]
    return across + down


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """`plan(edges, faults, **fields)`."""
    return _plan


@pytest.fixture
def ring() -> Callable[[int], list[Edge]]:
    """Edges of a ring n0..n(k-1)."""
    return _ring


@pytest.fixture
def grid() -> Callable[[int], list[Edge]]:
    """Edges of a square grid."""
    return _grid
