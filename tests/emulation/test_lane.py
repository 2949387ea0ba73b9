"""What a direction does to frames, on a made-up clock."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x0mesh.emulation.impairments.frame import (
    VNET_BYTES,
    damaged,
    largest_packet_bytes,
    packet_bytes,
)
from x0mesh.emulation.impairments.lane import Lane
from x0mesh.emulation.impairments.lateness import LatenessHistogram
from x0mesh.scenarios.impairment import GilbertElliott, Impairment

MS = 1_000_000
S = 1000 * MS


def _fates(lane: Lane, count: int, gap_ns: int = MS, size: int = 100) -> list[bool]:
    return [lane.admit(n * gap_ns, size, size) is not None for n in range(count)]


def test_bursts_lose_their_mean_share_whatever_the_packet_rate() -> None:
    burst = GilbertElliott(good_ns=90 * MS, bad_ns=10 * MS)
    for gap_ns in (MS, 10 * MS):
        fates = _fates(Lane(3, "l:forward", Impairment(burst=burst), 0), 20_000, gap_ns)
        assert fates.count(False) / 20_000 == pytest.approx(burst.mean_loss, rel=0.25)
        changes = sum(before != after for before, after in pairwise(fates))
        independent = 2 * 0.1 * 0.9 * 20_000
        assert changes < 0.9 * independent  # losses come together


def test_luck_is_the_nth_frames_after_the_kth_change() -> None:
    lossy = Impairment(loss=0.5)
    first, second = Lane(1, "l:forward", lossy, 0), Lane(1, "l:forward", lossy, 0)
    before = _fates(first, 100)
    _fates(second, 7)
    first.set(lossy, 0)
    second.set(lossy, 0)
    assert _fates(first, 100) == _fates(second, 100) != before


def test_another_impairment_does_not_change_who_is_lost() -> None:
    lossy = Impairment(loss=0.5)
    more = replace(lossy, jitter_ns=5, duplicate=0.5, reorder=0.5, corrupt=0.5)
    assert _fates(Lane(1, "l", lossy, 0), 200) == _fates(Lane(1, "l", more, 0), 200)


def test_directions_and_seeds_have_luck_of_their_own() -> None:
    lossy = Impairment(loss=0.5)
    fates = [_fates(Lane(seed, name, lossy, 0), 64) for seed in (1, 2) for name in ("f", "b")]
    assert len({tuple(one) for one in fates}) == 4


def test_a_rate_spaces_frames_by_their_size_and_then_delays_them() -> None:
    lane = Lane(1, "l", Impairment(rate_bps=8_000_000, delay_ns=S, queue=2), 0)
    assert [lane.admit(0, 1000, 1000) for _ in range(4)] == [
        (S + MS, 1, None),
        (S + 2 * MS, 1, None),
        (S + 3 * MS, 1, None),
        None,
    ]
    assert lane.overflowed == 1
    assert lane.admit(MS, 500, 500) == (S + 3 * MS + MS // 2, 1, None)


@given(
    jitter_ns=st.integers(0, 50 * MS),
    delay_ns=st.integers(0, 50 * MS),
    times=st.lists(st.integers(0, S), max_size=30),
)
def test_no_frame_leaves_before_it_came(jitter_ns: int, delay_ns: int, times: list[int]) -> None:
    lane = Lane(1, "l", Impairment(delay_ns=delay_ns, jitter_ns=jitter_ns), 0)
    for now_ns in sorted(times):
        admitted = lane.admit(now_ns, 100, 100)
        assert admitted is not None
        assert max(now_ns, now_ns + delay_ns - jitter_ns) <= admitted[0]
        assert admitted[0] <= now_ns + delay_ns + jitter_ns


def _sum16(part: bytes) -> int:
    total = sum(int.from_bytes(part[at : at + 2], "big") for at in range(0, len(part), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(draw=st.floats(0, 1, exclude_max=True), payload=st.binary(max_size=40))
def test_damage_is_one_bit_against_the_checksum_left_to_offloading(
    draw: float, payload: bytes
) -> None:
    payload += b"x" * (len(payload) % 2)
    length = 8 + len(payload)
    addresses = bytes.fromhex("0a0000000a000001")
    pseudo = _sum16(addresses + struct.pack("!HH", 17, length))
    ip = bytes.fromhex("4500") + struct.pack("!H", 20 + length) + bytes(4) + b"\x40\x11\0\0"
    ethernet = bytes(12) + b"\x08\x00" + ip + addresses
    udp = struct.pack("!HHHH", 1, 2, length, pseudo) + payload
    frame = struct.pack("=BBHHHH", 1, 0, 0, 0, 34, 6) + ethernet + udp
    out = damaged(frame, draw)
    assert out[:VNET_BYTES] == bytes(VNET_BYTES)  # nothing is left to offloading
    assert out[VNET_BYTES : VNET_BYTES + 34] == ethernet
    covered = addresses + struct.pack("!HH", 17, length) + out[VNET_BYTES + 34 :]
    assert _sum16(covered) != 0xFFFF
    complete = bytearray(out)
    changed = []
    for bit in range(8 * length):
        complete[VNET_BYTES + 34 + bit // 8] ^= 1 << bit % 8
        if _sum16(covered[:12] + bytes(complete[VNET_BYTES + 34 :])) == 0xFFFF:
            changed.append(bit)
        complete[VNET_BYTES + 34 + bit // 8] ^= 1 << bit % 8
    assert changed  # inverting one bit again mends it


def test_a_frame_of_many_segments_is_as_large_as_one_of_them() -> None:
    tcp = bytes(12) + b"\x50" + bytes(7)
    header = struct.pack("=BBHHHH", 1, 1, 54, 1448, 34, 16)
    frame = header + bytes(12) + b"\x08\x00" + bytes(20) + tcp + bytes(10_000)
    assert packet_bytes(frame) == 10_040
    assert largest_packet_bytes(frame) == 20 + 20 + 1448
    out = damaged(frame, 0.5)
    assert out[VNET_BYTES:] != frame[VNET_BYTES:]
    assert out[:VNET_BYTES] == header
    assert out[VNET_BYTES + 6 :] == frame[VNET_BYTES + 6 :]  # only where it is addressed to


@given(st.lists(st.integers(-5, 10**12), min_size=1, max_size=200))
def test_quantiles_are_near_the_true_ones(late: list[int]) -> None:
    histogram = LatenessHistogram()
    for late_ns in late:
        histogram.add(late_ns)
    summary = histogram.summary()
    exact = sorted(max(0, late_ns) for late_ns in late)
    assert summary.count == len(late)
    assert summary.max_ns == exact[-1]
    for share, found in ((50, summary.p50_ns), (99, summary.p99_ns)):
        true = exact[-(-share * len(exact) // 100) - 1]
        assert true <= found <= true * 1.07
