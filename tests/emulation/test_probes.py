"""Probes in real namespaces: an outage costs exactly the probes sent while it lasted."""

import os
import signal
import time
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import numpy as np
import pytest

from x0mesh.emulation import rtnetlink as rt
from x0mesh.emulation.probes import ProbeEnd, ProbeError, Probes
from x0mesh.scenarios.flows import probe_instants
from x0mesh.scenarios.plan import FlowPlan
from x0mesh.scenarios.record import LOST

MS = 1_000_000
NEXTHOP = 10


@pytest.fixture
def line(make_ring: Callable[[int], Any]) -> Any:
    """n0 - n1 - n2 of a ring of four, with routes both ways over n1."""
    ring = make_ring(4)
    for node, ways in (
        ("n0", {"l0": ("n1", "n2")}),
        ("n1", {"l0": ("n0",), "l1": ("n2",)}),
        ("n2", {"l1": ("n0", "n1")}),
    ):
        member = ring.nodes[node]
        for link, others in ways.items():
            index, _, _, gateway = member.links[link]
            member.netlink.batch([rt.add_nexthop(index, index, gateway)])
            member.netlink.batch(
                [rt.add_route(IPv6Network(ring.nodes[o].address), 10, index) for o in others]
            )
    return ring


@pytest.fixture
def ends(line: Any) -> dict[str, ProbeEnd]:
    return {name: ProbeEnd(node.namespace, node.address) for name, node in line.nodes.items()}


def flow(name: str = "f", **changes: Any) -> FlowPlan:
    given: dict[str, Any] = {
        "name": name,
        "traffic": "probes",
        "source": "n0",
        "destination": "n2",
        "kind": "cbr",
        "interval_ns": 2 * MS,
        "size_bytes": 200,
    }
    return FlowPlan(**(given | changes))


@pytest.fixture
def until() -> Callable[[int, int], None]:
    """Waits for an instant of the replication; a late return is no harm."""

    def wait(zero_ns: int, t_ns: int) -> None:
        while (left := zero_ns + t_ns - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)

    return wait


def test_probes_leave_at_the_plans_instants_and_arrive(
    ends: dict[str, ProbeEnd], until: Callable[[int, int], None]
) -> None:
    flows = [flow("a"), flow("b", source="n2", destination="n0", kind="poisson")]
    with Probes(flows, 7, 300 * MS, ends) as probes:
        zero = time.monotonic_ns()
        probes.begin(zero)
        until(zero, 400 * MS)
        result = probes.finish()
    for planned, measured in zip(flows, result.flows, strict=True):
        instants = probe_instants(planned, 7, 300 * MS)
        assert len(measured.sent_ns) == len(instants)
        late = measured.sent_ns - instants
        assert late.min() >= 0
        assert late.max() <= result.largest_lateness_ns
        assert (measured.latency_ns > 0).all()
        assert measured.largest_gap_ns == int(np.diff(measured.sent_ns).max())
        assert measured.record([(0, 300 * MS)]).size_bytes == 200
    assert result.largest_gap_ns >= 2 * MS
    assert result.duplicates == result.foreign == 0
    assert result.send_errors == {}


def test_a_forced_outage_loses_exactly_the_probes_sent_while_it_lasted(
    line: Any, ends: dict[str, ProbeEnd], until: Callable[[int, int], None]
) -> None:
    middle = line.nodes["n1"]
    index, _, _, gateway = middle.links["l1"]
    target = line.nodes["n2"].address
    with Probes([flow()], 3, 900 * MS, ends) as probes:
        zero = time.monotonic_ns()
        probes.begin(zero)
        until(zero, 300 * MS)
        cut_from = time.monotonic_ns() - zero
        middle.netlink.batch([rt.delete_nexthop(index)])
        cut = time.monotonic_ns() - zero
        until(zero, 600 * MS)
        mend_from = time.monotonic_ns() - zero
        middle.netlink.batch(
            [rt.add_nexthop(index, index, gateway), rt.add_route(_host(target), 10, index)]
        )
        mended = time.monotonic_ns() - zero
        until(zero, 1000 * MS)
        result = probes.finish()
    measured = result.flows[0]
    lost = measured.latency_ns == LOST
    sent = measured.sent_ns
    # A probe is under way for a moment: it may meet a change that came after it was sent.
    slack = 100 * MS
    assert lost[(sent > cut) & (sent < mend_from - slack)].all()
    assert not lost[(sent < cut_from - slack) | (sent > mended)].any()
    numbers = np.flatnonzero(lost)
    assert (np.diff(numbers) == 1).all(), "one outage, without holes"


def _host(address: IPv6Address) -> IPv6Network:
    return IPv6Network(address)


def test_request_flows_measure_the_round_trip(
    line: Any, ends: dict[str, ProbeEnd], until: Callable[[int, int], None]
) -> None:
    """With the way back cut, requests arrive and still count as lost."""
    both = [flow("there"), flow("and-back", kind="request", reply_bytes=400)]
    back = line.nodes["n2"]
    with Probes(both, 5, 200 * MS, ends) as probes:
        zero = time.monotonic_ns()
        probes.begin(zero)
        until(zero, 400 * MS)
        result = probes.finish()
    assert all((measured.latency_ns > 0).all() for measured in result.flows)
    back.netlink.batch([rt.delete_nexthop(back.links["l1"][0])])
    with Probes(both, 5, 100 * MS, ends, grace_ns=200 * MS) as probes:
        zero = time.monotonic_ns()
        probes.begin(zero)
        until(zero, 200 * MS)
        result = probes.finish()
    there, around = result.flows
    assert (there.latency_ns > 0).all()
    assert (around.latency_ns == LOST).all()
    assert result.send_errors == {"ENETUNREACH": len(around.sent_ns)}


def test_a_source_that_is_off_sends_nothing_and_a_destination_takes_nothing(
    ends: dict[str, ProbeEnd], until: Callable[[int, int], None]
) -> None:
    flows = [flow("from"), flow("to", source="n2", destination="n0")]
    with Probes(flows, 1, 100 * MS, ends, grace_ns=200 * MS) as probes:
        probes.set_node("n0", False)
        zero = time.monotonic_ns()
        probes.begin(zero)
        until(zero, 200 * MS)
        result = probes.finish()
    silent, unheard = result.flows
    assert len(silent.sent_ns) == 0
    assert len(unheard.sent_ns) == 50
    assert (unheard.latency_ns == LOST).all()


def test_what_is_larger_than_the_link_is_lost_not_cut_up(
    ends: dict[str, ProbeEnd], until: Callable[[int, int], None]
) -> None:
    with Probes([flow(size_bytes=2001), flow("fits", size_bytes=2000)], 1, 50 * MS, ends) as probes:
        zero = time.monotonic_ns()
        probes.begin(zero)
        until(zero, 200 * MS)
        too_big, fits = probes.finish().flows
    assert (too_big.latency_ns == LOST).all()
    assert (fits.latency_ns > 0).all()


def test_finishing_early_keeps_what_was_measured(
    ends: dict[str, ProbeEnd], until: Callable[[int, int], None]
) -> None:
    with Probes([flow()], 1, 3_600_000 * MS, ends) as probes:
        zero = time.monotonic_ns()
        probes.begin(zero)
        until(zero, 100 * MS)
        measured = probes.finish().flows[0]
    assert len(measured.sent_ns) > 0
    assert (measured.latency_ns > 0).all()


def test_what_cannot_be_carried_is_an_error(ends: dict[str, ProbeEnd]) -> None:
    with pytest.raises(ProbeError, match="bulk"):
        Probes([flow(kind="bulk")], 1, MS, ends)
    with pytest.raises(ProbeError, match="no address"):
        Probes([flow(source="nobody")], 1, MS, ends)
    elsewhere = ProbeEnd(ends["n0"].namespace, IPv6Address("fd00::dead"))
    with pytest.raises(ProbeError, match="assign requested address"):
        Probes([flow()], 1, MS, ends | {"n0": elsewhere})


def test_a_process_that_dies_is_an_error_and_closing_leaves_none(
    ends: dict[str, ProbeEnd],
) -> None:
    with Probes([flow()], 1, MS, ends) as probes:
        os.kill(probes.pid, signal.SIGKILL)
        with pytest.raises(ProbeError, match="ended with -9"):
            probes.finish()
    with Probes([flow()], 1, MS, ends) as probes:
        pid = probes.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_flows_is_no_trouble(ends: dict[str, ProbeEnd]) -> None:
    with Probes([], 1, MS, ends) as probes:
        probes.begin(time.monotonic_ns())
        result = probes.finish()
    assert result.flows == ()
    assert result.largest_gap_ns == 0
