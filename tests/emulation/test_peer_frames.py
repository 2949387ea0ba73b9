"""Bytes between peers, and between a peer and the engine: total decoders, nothing unbounded."""

import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.emulation.carrier import CarrierWatch, link_states
from x0mesh.emulation.control import (
    PART_BYTES,
    Assembler,
    ControlError,
    Drain,
    Happened,
    Start,
    datagrams,
    decode_from_peer,
    decode_to_peer,
)
from x0mesh.emulation.frames import (
    MAX_RECORD_BYTES,
    FrameError,
    FrameReader,
    Goodbye,
    Hello,
    Kind,
    decode_record,
    message_frame,
    record_frame,
)
from x0mesh.mesh.limits import MAX_MESSAGE_BYTES

BOUNDED = settings(derandomize=True, max_examples=200, deadline=None)


@BOUNDED
@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(payloads, size):
    stream = b"".join(message_frame(payload) for payload in payloads)
    stream += record_frame(Goodbye("end"))
    reader = FrameReader()
    found = []
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
        while (frame := reader.next()) is not None:
            found.append(frame)
    assert found[:-1] == [(Kind.MESSAGE, payload) for payload in payloads]
    assert decode_record(found[-1][1]) == Goodbye("end")


@BOUNDED
@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_an_error(content):
    reader = FrameReader()
    reader.feed(content)
    try:
        while (frame := reader.next()) is not None:
            if frame[0] is Kind.RECORD:
                assert isinstance(decode_record(frame[1]), Hello | Goodbye)
    except FrameError:
        pass


@pytest.mark.parametrize(("kind", "limit"), [(0, MAX_RECORD_BYTES), (1, MAX_MESSAGE_BYTES)])
def test_a_frame_beyond_its_limit_is_refused_before_it_is_stored(kind, limit):
    reader = FrameReader()
    reader.feed(struct.pack("!IB", limit + 1, kind))
    with pytest.raises(FrameError, match="limit"):
        reader.next()


def test_a_control_message_larger_than_a_datagram_arrives_whole():
    message = Happened(1, "x", reason="r" * (3 * PART_BYTES))
    parts = list(datagrams(message))
    assert len(parts) == 4
    assembler = Assembler()
    assert [assembler.take(part) is None for part in parts[:-1]] == [True] * 3
    assert decode_from_peer(assembler.take(parts[-1]) or b"") == message


@BOUNDED
@given(st.binary(max_size=100))
def test_any_datagrams_are_control_messages_or_an_error(content):
    try:
        encoded = Assembler().take(content)
        if encoded is not None:
            decode_to_peer(encoded)
    except ControlError:
        pass


def test_each_side_understands_its_own_messages_only():
    (start,) = datagrams(Start(5))
    encoded = Assembler().take(start) or b""
    assert decode_to_peer(encoded) == Start(5)
    with pytest.raises(ControlError):
        decode_from_peer(encoded)
    (drain,) = datagrams(Drain(True))
    assert decode_to_peer(Assembler().take(drain) or b"") == Drain(True)


@BOUNDED
@given(st.binary(max_size=120))
def test_any_netlink_packet_is_read_to_its_end(content):
    for index, carrier in link_states(content):
        assert isinstance(index, int)
        assert isinstance(carrier, bool)


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="needs Linux")
def test_an_interface_without_carrier_is_reported_by_the_first_reading():
    changes: list[tuple[int, bool]] = []
    watch = CarrierWatch((1,), lambda index, carrier: changes.append((index, carrier)))
    try:
        watch.socket.setblocking(True)
        watch.socket.settimeout(30)
        states = dict(link_states(watch.socket.recv(1 << 16)))
        assert 1 in states  # loopback is there in every namespace
        assert watch.has_carrier(1)
    finally:
        watch.close()
