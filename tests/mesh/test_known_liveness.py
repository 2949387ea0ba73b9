"""Known results the liveness protocol must reproduce: the detection law and the false-alarm law.

Each tolerance is four standard errors of the mean over the runs made, with a fixed seed.
"""

from __future__ import annotations

import math
import random

import pytest

from x0mesh.mesh.adaptation import mean_false_alarm_time_ns
from x0mesh.mesh.config import LivenessConfig
from x0mesh.mesh.effects import Lease, LeaseChange
from x0mesh.mesh.lease_monitor import LeaseMonitor
from x0mesh.mesh.liveness import TIME_EXPIRED, Session, steady_content, transmit_gap_ns

MS = 1_000_000
TAU_NS = 50 * MS
DELAY_NS = 5 * MS


class End:
    """A session that is Up and its receiving half; `alarm_ns` is when it gave its peer up."""

    def __init__(self, config: LivenessConfig) -> None:
        self.monitor = LeaseMonitor()
        self.alarm_ns: int | None = None
        self.heard = steady_content(config)
        self.session = Session(config, self)
        self.session.resume(0, self.heard)

    def keep_alive(self, lease: Lease | None) -> None:
        self.monitor.monitor(0, lease.detection_time_ns if lease else 0)

    def session_up(self, now: int) -> None:
        pass

    def session_down(self, now: int, diagnostic: str) -> None:
        assert diagnostic == TIME_EXPIRED
        self.alarm_ns = now

    def session_adapted(self, now: int, detection_time_ns: int) -> None:
        raise AssertionError("a link without reports does not adapt")

    def wait_until(self, now: int) -> bool:
        """True if silence became an expiry before `now`."""
        expiry_ns = self.monitor.expiry_ns
        if expiry_ns is None or expiry_ns >= now or not self.monitor.expire(expiry_ns):
            return False
        self.session.lease_changed(expiry_ns, self.heard, LeaseChange.EXPIRED, expiry_ns)
        return True

    def arrive(self, now: int, sequence: int) -> None:
        if self.monitor.arrive(now, sequence, self.heard).news:
            self.session.lease_changed(now, self.heard, LeaseChange.UP, now)


def cut_a_link(rng: random.Random, config: LivenessConfig) -> tuple[int, int]:
    """Detection time at both ends of a link cut both ways, as the cut reaches each end."""
    cut_ns = rng.randrange(10 * TAU_NS, 60 * TAU_NS)
    times_ns = []
    for end in (End(config), End(config)):
        sent_ns = rng.randrange(TAU_NS)
        sequence = 1
        while sent_ns < cut_ns:
            assert not end.wait_until(sent_ns + DELAY_NS)
            end.arrive(sent_ns + DELAY_NS, sequence)
            sequence += 1
            sent_ns += transmit_gap_ns(TAU_NS, config.multiplier, rng.random())
        assert end.wait_until(cut_ns + 100 * TAU_NS)
        assert end.alarm_ns is not None
        times_ns.append(end.alarm_ns - (cut_ns + DELAY_NS))
    return times_ns[0], times_ns[1]


@pytest.mark.parametrize("multiplier", [2, 3, 5])
def test_v1_detection_law(multiplier: int) -> None:
    """Each end detects within ((m-1) tau, m tau], on average after (m - 0.44048) tau."""
    runs = 1500
    rng = random.Random(f"V1 {multiplier}")
    config = LivenessConfig(interval_ns=TAU_NS, multiplier=multiplier)
    cuts = [cut_a_link(rng, config) for _ in range(runs)]

    # Age of a renewal process with gaps X ~ U(.75, 1): moments E[X^(k+1)] / ((k+1) E[X]).
    mean_age, square_age = 0.44048, 0.26042
    error = math.sqrt((square_age - mean_age**2) / runs)
    for times_ns in zip(*cuts, strict=True):
        taus = [time_ns / TAU_NS for time_ns in times_ns]
        assert min(taus) > multiplier - 1
        assert max(taus) <= multiplier
        assert sum(taus) / runs == pytest.approx(multiplier - mean_age, abs=4 * error)
    # The ends' phases are independent, so the first of two is earlier than the law's mean.
    first = sum(min(cut) for cut in cuts) / runs / TAU_NS
    assert first < multiplier - mean_age - 4 * error


def test_v1_multiplier_one_survives_because_its_gaps_are_shorter() -> None:
    """With m = 1 gaps end at 90 %, so a loss-free link never alarms (RFC 5880 s.6.8.7)."""
    rng = random.Random(1)
    config = LivenessConfig(interval_ns=TAU_NS, multiplier=1)
    gaps = [transmit_gap_ns(TAU_NS, 1, rng.random()) for _ in range(1000)]
    assert 0.75 * TAU_NS <= min(gaps) <= max(gaps) <= 0.9 * TAU_NS
    assert 0 < max(cut_a_link(rng, config)) <= TAU_NS


def keep_alives_to_false_alarm(
    rng: random.Random, config: LivenessConfig, loss_ratio: float
) -> tuple[int, int]:
    """(keep-alives sent, time) until a live peer is declared down."""
    end = End(config)
    now, sent = 0, 0
    end.arrive(0, 1)
    while True:
        now += transmit_gap_ns(TAU_NS, config.multiplier, rng.random())
        if end.wait_until(now):
            assert end.alarm_ns is not None
            return sent, end.alarm_ns
        sent += 1
        if rng.random() >= loss_ratio:
            end.arrive(now, sent + 1)


@pytest.mark.parametrize(
    ("loss_ratio", "runs"),
    [
        (0.2, 4000),
        (0.1, 2000),
        pytest.param(0.2, 100_000, marks=pytest.mark.slow),
        pytest.param(0.1, 20_000, marks=pytest.mark.slow),
    ],
)
def test_v2_false_alarm_law(loss_ratio: float, runs: int) -> None:
    """Three losses in a row take (1-p^m)/(p^m (1-p)) keep-alives on average: 155 and 1110."""
    multiplier = 3
    rng = random.Random(f"V2 {loss_ratio}")
    config = LivenessConfig(interval_ns=TAU_NS, multiplier=multiplier, adaptive=False)
    results = [keep_alives_to_false_alarm(rng, config, loss_ratio) for _ in range(runs)]

    law = mean_false_alarm_time_ns(1.0, multiplier, loss_ratio)
    assert law == pytest.approx({0.2: 155.0, 0.1: 1110.0}[loss_ratio])
    # The waiting time is nearly geometric: its standard deviation is about its mean.
    tolerance = 4 / math.sqrt(runs)
    assert sum(sent for sent, _ in results) / runs == pytest.approx(law, rel=tolerance)
    # In time, keep-alives come every 0.875 tau, and the last m gaps are waited in full (Wald).
    expected_ns = TAU_NS * (0.875 * (law - multiplier) + multiplier)
    assert sum(took for _, took in results) / runs == pytest.approx(expected_ns, rel=tolerance)
