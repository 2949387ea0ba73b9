import dataclasses
import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

from x0mesh.scenarios.actions import LinkBlock, LinkDown, NodeDrain, NodeStop
from x0mesh.scenarios.events import KINDS
from x0mesh.scenarios.impairment import GilbertElliott, Impairment
from x0mesh.scenarios.plan import At, FaultPlan, FlowPlan, IdentityPlan, Plan, Step
from x0mesh.scenarios.record import Record
from x0mesh.sim import engine as engine_module
from x0mesh.sim import run
from x0mesh.sim.engine import Engine
from x0mesh.sim.observer import NoDataPlane
from x0mesh.sim.stream import StreamModel

MS = 1_000_000
S = 1_000_000_000

MakePlan = Callable[..., Plan]
Edges = Callable[[int], list[tuple[str, str]]]

LOSSY = Impairment(
    delay_ns=2 * MS,
    jitter_ns=MS,
    loss=0.02,
    burst=GilbertElliott(good_ns=2 * S, bad_ns=50 * MS),
    rate_bps=10_000_000,
)


def busy(plan: MakePlan, ring: Edges, seed: int = 1, **rest: object) -> Plan:
    """A ring with a chord, a lossy network, a cut, a crash and a flow."""
    edges = [*ring(6), ("n1", "n4")]
    faults = [
        FaultPlan("cut", "t", At(3 * S), 2 * S, (Step(0, LinkDown("n0-n1")),)),
        FaultPlan("crash", "t", At(4 * S), 2 * S, (Step(0, NodeStop("n3", "cold")),)),
    ]
    flow = FlowPlan("f", "f", "n0", "n3", "poisson", 20 * MS, 200)
    fields = {"impairment": LOSSY, "flows": [flow], "start": "cold", "seed": seed, **rest}
    return plan(edges, faults, **fields)


def test_the_same_plan_twice_gives_the_same_record(plan: MakePlan, ring: Edges) -> None:
    first, second = run(busy(plan, ring)), run(busy(plan, ring))
    assert first.fingerprint == second.fingerprint
    assert first.events == second.events
    assert first.counters == second.counters
    assert first.final_state == second.final_state


def test_another_seed_gives_another_record(plan: MakePlan, ring: Edges) -> None:
    assert run(busy(plan, ring, 1)).fingerprint != run(busy(plan, ring, 2)).fingerprint


def test_the_fingerprint_does_not_depend_on_the_hash_seed(plan: MakePlan, ring: Edges) -> None:
    pickled = pickle.dumps(busy(plan, ring))
    code = (
        "import pickle, sys; from x0mesh.sim import run; "
        "print(run(pickle.loads(sys.stdin.buffer.read())).fingerprint)"
    )
    prints = [
        subprocess.run(
            [sys.executable, "-c", code],
            input=pickled,
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "77")
    ]
    assert prints[0] == prints[1]
    assert prints[0].decode().strip() == run(busy(plan, ring)).fingerprint


def test_a_node_elsewhere_changes_nobody_else_s_luck(plan: MakePlan, ring: Edges) -> None:
    """The keep-alives between n0 and n1 are sent at the same instants with a node more."""

    def sent(edges: list[tuple[str, str]]) -> list[tuple[int, int]]:
        engine = Engine(plan(edges, impairment=LOSSY), NoDataPlane())
        engine.start()
        lease = engine.hosts["n0"].interfaces["n0-n1"].lease
        seen = []
        for t_ns in range(0, 2 * S, 10 * MS):
            engine.clock.run_until(t_ns)
            seen.append((lease.sent, engine.links["n0-n1"].forward.lost))
        return seen

    assert sent(ring(4)) == sent([*ring(4), ("n2", "extra")])


def test_events_are_of_the_registry_and_in_canonical_order(plan: MakePlan, ring: Edges) -> None:
    record = run(busy(plan, ring))
    assert {event.kind for event in record.events} <= set(KINDS)
    assert [e.t_ns for e in record.events] == sorted(e.t_ns for e in record.events)
    phases = [(e.t_ns, e.reason) for e in record.events if e.kind == "phase.started"]
    assert phases == [(0, "warmup"), (2 * S, "chaos"), (8 * S, "settle")]


@pytest.mark.parametrize("routes", ["all", "in-use"])
def test_cold_to_quiet_ends_in_the_state_of_the_converged_start(
    plan: MakePlan, grid: Edges, routes: str
) -> None:
    flow = FlowPlan("f", "f", "n0.0", "n3.3", "cbr", 20 * MS, 200)
    states = {
        start: run(
            plan(grid(4), start=start, warmup_ns=10 * S, routes=routes, flows=[flow])
        ).final_state
        for start in ("cold", "converged")
    }
    assert states["cold"] == states["converged"]
    some = json.loads(states["cold"]["n1.1"])
    assert set(some["adjacencies"].values()) == {"full"}
    assert len(some["database"]) == 16


def test_the_digests_of_a_large_mesh_are_those_of_the_full_states(
    plan: MakePlan, ring: Edges, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(busy(plan, ring)).final_state
    monkeypatch.setattr(engine_module, "MAX_STATES_IN_FULL", 1)
    digests = run(busy(plan, ring)).final_state
    for name, state in whole.items():
        expected = {
            part: hashlib.sha256(
                json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
            ).hexdigest()
            for part, value in json.loads(state).items()
        }
        assert json.loads(digests[name]) == expected


def test_a_quiet_mesh_says_nothing_but_keep_alives(plan: MakePlan, grid: Edges) -> None:
    record = run(plan(grid(4)))
    assert record.counters["control.messages"] == 0
    assert record.counters["control.keep_alives"] == pytest.approx(
        48 * 10 / 0.0875, rel=0.02
    )  # 48 link ends, 10 s, every 87.5 ms
    assert {e.kind for e in record.events if e.t_ns > 0} == {"phase.started"}


def test_v1_detection_times_of_a_silent_cut_obey_the_law_at_each_end(plan: MakePlan) -> None:
    """((m-1) tau, m tau] after the last keep-alive could arrive, plus this node's processing."""
    tau_ns, multiplier, delay_ns = 100 * MS, 3, 2 * MS
    times = []
    for seed in range(60):
        at_ns = 3 * S + seed * 7_654_321
        cut = FaultPlan("cut", "t", At(at_ns), 2 * S, (Step(0, LinkBlock("a-b", "both", "drop")),))
        made = plan([("a", "b"), ("b", "c"), ("c", "a")], [cut], seed=seed)
        record = Engine(made, NoDataPlane()).run()
        downs = [e for e in record.events if e.kind == "liveness.down" and e.link == "a-b"]
        assert [e.node for e in sorted(downs, key=lambda e: e.node)] == ["a", "b"]
        times += [e.t_ns - at_ns - delay_ns for e in downs]
    processing_ns = 10_000
    assert (multiplier - 1) * tau_ns < min(times)
    assert max(times) <= multiplier * tau_ns + 2 * processing_ns
    assert sum(times) / len(times) == pytest.approx((multiplier - 0.44048) * tau_ns, rel=0.02)


def test_v5_one_advertisement_costs_exactly_2m_minus_n_plus_1_messages(
    plan: MakePlan, grid: Edges
) -> None:
    edges = grid(6)
    n, m = 36, len(edges)
    drain = FaultPlan("drain", "t", At(3 * S), None, (Step(0, NodeDrain("n2.3")),))
    record = run(plan(edges, [dataclasses.replace(drain, duration_ns=3 * S)], settle_ns=S))
    originated = [e for e in record.events if e.kind == "lsa.originated"]
    assert len(originated) == 2  # overload on, and off again
    assert record.counters["control.messages"] == 2 * (2 * m - (n - 1))


def test_identities_are_renewed_in_time_and_an_expired_one_is_refused(
    plan: MakePlan, ring: Edges
) -> None:
    made = plan(ring(4), identity=IdentityPlan(svid_ttl_ns=4 * S), chaos_ns=20 * S)
    record = run(made)
    assert not [e for e in record.events if e.kind in ("liveness.down", "session.refused")]
    record = run(plan(ring(4), start="cold", identity=IdentityPlan(svid_ttl_ns=1)))
    refused = [e for e in record.events if e.kind == "session.refused"]
    assert refused
    assert {e.reason for e in refused} == {"expired"}
    assert record.counters["session.refused"] == len(refused)


def test_the_stream_model_is_a_parameter(plan: MakePlan, ring: Edges) -> None:
    def first_session_ns(model: StreamModel) -> int:
        record: Record = Engine(
            plan(ring(3), start="cold"), NoDataPlane(), stream_model=model
        ).run()
        return next(e.t_ns for e in record.events if e.kind == "session.established")

    slow = StreamModel(server_handshake_ns=101 * MS)
    assert first_session_ns(slow) - first_session_ns(StreamModel()) == 100 * MS
