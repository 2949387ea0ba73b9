import math

import numpy as np
import pytest

from x0mesh.scenarios.impairment import GilbertElliott, Impairment
from x0mesh.scenarios.plan import LinkPlan
from x0mesh.sim.link import DROPPED, HELD, Bursts, Direction, Link, PacketDraws
from x0mesh.sim.randomness import Streams

MS = 1_000_000
S = 1_000_000_000


def direction(impairment: Impairment, seed: int = 1) -> tuple[Direction, PacketDraws]:
    streams = Streams(seed)
    return Direction("l:forward", impairment, streams), PacketDraws(streams, "l:forward", "test")


def link(base: Impairment | None = None) -> Link:
    base = base or Impairment(delay_ns=MS)
    return Link(LinkPlan("l", "a", "b", base, base), 0, Streams(1))


def test_an_unimpaired_link_only_delays() -> None:
    d, draws = direction(Impairment(delay_ns=5 * MS))
    assert d.plain
    assert d.transit(100, 1500, draws, 0) == 100 + 5 * MS


def test_jitter_is_uniform_around_the_delay_and_never_negative() -> None:
    d, draws = direction(Impairment(delay_ns=10 * MS, jitter_ns=2 * MS))
    delays = np.array([d.transit(0, 100, draws, n) for n in range(5000)])
    assert delays.min() >= 8 * MS
    assert delays.max() <= 12 * MS
    assert delays.mean() == pytest.approx(10 * MS, rel=0.01)
    short, draws = direction(Impairment(delay_ns=MS, jitter_ns=5 * MS))
    assert min(short.transit(0, 100, draws, n) for n in range(500)) == 0


@pytest.mark.parametrize(
    ("impairment", "counter"),
    [(Impairment(loss=0.1), "lost"), (Impairment(corrupt=0.1), "corrupted")],
)
def test_loss_and_corruption_take_their_share_and_are_counted_apart(
    impairment: Impairment, counter: str
) -> None:
    d, draws = direction(impairment)
    gone = sum(d.transit(n, 100, draws, n) == DROPPED for n in range(20_000))
    assert gone == getattr(d, counter)
    assert gone / 20_000 == pytest.approx(0.1, abs=0.01)


def test_packets_larger_than_the_mtu_vanish_and_reordered_ones_overtake() -> None:
    d, draws = direction(Impairment(delay_ns=MS, mtu=1280))
    assert d.transit(0, 1281, draws, 0) == DROPPED
    assert d.transit(0, 1280, draws, 1) == MS
    d, draws = direction(Impairment(delay_ns=MS, reorder=1.0))
    assert d.transit(7, 100, draws, 0) == 7


def test_a_full_queue_drops_the_tail() -> None:
    d, draws = direction(Impairment(rate_bps=8_000_000, queue=2))  # 1000 B take 1 ms
    times = [d.transit(0, 1000, draws, n) for n in range(5)]
    assert times == [MS, 2 * MS, 3 * MS, DROPPED, DROPPED]
    assert d.overflowed == 2
    assert d.transit(1 * MS, 1000, draws, 5) == 4 * MS


@pytest.mark.parametrize(("service", "factor"), [("exponential", 1.0), ("constant", 0.5)])
def test_v13_mean_wait_is_that_of_the_queue(service: str, factor: float) -> None:
    """M/M/1 waits rho/(1-rho) service times, M/D/1 half of it (Kleinrock 1975)."""
    random = np.random.default_rng(11)
    n, load, mean_bytes = 200_000, 0.7, 10_000
    rate_bps = mean_bytes * 8 * 1000  # 1 ms mean service time
    d, draws = direction(Impairment(rate_bps=rate_bps, queue=10**9))
    arrivals = np.cumsum(random.exponential(MS / load, n)).astype(np.int64)
    sizes = np.full(n, mean_bytes)
    if service == "exponential":
        sizes = np.maximum(1, random.exponential(mean_bytes, n).astype(np.int64))
    waits = [
        d.transit(int(t), int(size), draws, k) - int(t) - int(size) * 8 * S / rate_bps
        for k, (t, size) in enumerate(zip(arrivals, sizes, strict=True))
    ]
    expected = factor * load / (1 - load) * MS
    # Standard error of the mean wait of a correlated M/M/1 sample: about 2/(1-rho)^2 / sqrt(n).
    tolerance = 4 * 2 / (1 - load) ** 2 / math.sqrt(n) * MS * factor
    assert np.mean(waits) == pytest.approx(expected, abs=tolerance)
    assert tolerance < 0.15 * expected


def test_burst_loss_has_the_mean_durations_asked_for_at_any_packet_rate() -> None:
    burst = GilbertElliott(good_ns=900 * MS, bad_ns=100 * MS)
    losses = {}
    for gap_ns in (MS, 10 * MS):
        d, draws = direction(Impairment(burst=burst), seed=5)
        packets = 1000 * S // gap_ns
        dropped = [d.transit(n * gap_ns, 100, draws, n) == DROPPED for n in range(packets)]
        losses[gap_ns] = np.mean(dropped)
        changes = np.flatnonzero(np.diff(np.array(dropped, dtype=int)))
        assert len(changes) == pytest.approx(2 * 1000, rel=0.12)
    assert losses[MS] == pytest.approx(burst.mean_loss, abs=0.015)
    assert losses[10 * MS] == pytest.approx(losses[MS], abs=0.005)


def test_realised_bursts_can_be_asked_afterwards() -> None:
    burst = GilbertElliott(good_ns=50 * MS, bad_ns=50 * MS)
    whole = link()
    whole.forward.impair(10 * MS, (0, 0), Impairment(burst=burst))
    draws = PacketDraws(Streams(1), "l:forward", "test")
    seen = {t: whole.forward.transit(t, 1, draws, t) == DROPPED for t in range(S, 2 * S, MS)}
    whole.forward.relieve(3 * S, (0, 0))
    bursts = Bursts([whole])
    assert {t: bursts.loss_at("l:forward", t) == 1.0 for t in seen} == seen
    assert set(seen.values()) == {True, False}
    assert bursts.loss_at("l:forward", 0) == 0.0
    assert bursts.loss_at("l:forward", 4 * S) == 0.0
    assert bursts.loss_at("l:backward", 2 * S) == 0.0


def test_impairments_of_several_faults_add_and_each_takes_back_its_own() -> None:
    d = link().forward
    d.impair(0, (0, 0), Impairment(delay_ns=MS, loss=0.5))
    d.impair(0, (1, 0), Impairment(delay_ns=2 * MS, loss=0.5))
    assert (d.impairment.delay_ns, d.impairment.loss) == (4 * MS, 0.75)
    d.relieve(0, (0, 0))
    assert (d.impairment.delay_ns, d.impairment.loss) == (3 * MS, 0.5)
    d.relieve(0, (1, 0))
    assert d.plain


def test_a_link_is_down_while_any_fault_holds_it_down() -> None:
    whole = link()
    assert whole.take_down(0, (0, 0))
    assert not whole.take_down(0, (1, 0))
    assert not whole.bring_up(1, (0, 0))
    assert not whole.forward.passes
    assert whole.bring_up(2, (1, 0))
    assert whole.forward.plain


def test_blocks_are_silent_and_per_direction() -> None:
    whole = link()
    draws = PacketDraws(Streams(1), "l:forward", "test")
    whole.forward.block(0, (0, 0), "drop", "fifo")
    assert whole.carrier
    assert whole.forward.transit(0, 1, draws, 0) == DROPPED
    assert whole.backward.transit(0, 1, draws, 0) == MS
    assert whole.forward.blocked == 1


@pytest.mark.parametrize("release", ["fifo", "lifo", "shuffle"])
def test_held_packets_leave_at_the_undo_in_the_order_asked_for(release: str) -> None:
    d = link().forward
    draws = PacketDraws(Streams(1), "l:forward", "test")
    left: list[int] = []
    d.block(0, (0, 0), "queue", release)  # type: ignore[arg-type]
    for n in range(20):
        assert d.transit(0, 1, draws, n) == HELD
        d.hold(lambda n=n: left.append(n))
    assert left == []
    d.unblock(5, (0, 0))
    assert sorted(left) == list(range(20))
    assert (left == list(range(20))) == (release == "fifo")
    assert (left == list(range(19, -1, -1))) == (release == "lifo")
    assert d.plain
