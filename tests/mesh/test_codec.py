"""Bytes on the wire: round trips, and a decoder that nothing surprises."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from x0mesh.mesh import limits
from x0mesh.mesh.codec import (
    KEEP_ALIVE_BYTES,
    VERSION,
    CodecError,
    decode,
    decode_keep_alive,
    encode,
    encode_keep_alive,
    signed_content,
)
from x0mesh.mesh.effects import BfdState, KeepAlive
from x0mesh.mesh.messages import (
    Credential,
    DatabaseDescription,
    Header,
    Lsa,
    Message,
    Neighbour,
    Request,
    Update,
)

KEY = b"k" * 32
# Names without the origin's prefix, so that no generated node is its own neighbour.
names = st.text("abcé-./0", min_size=1, max_size=12).map(lambda text: "n" + text)
origins = names.map(lambda text: "o" + text)
fingerprints = st.text("0123456789abcdef", min_size=1, max_size=16)
uint64 = st.integers(0, limits.MAX_UINT64)
times = st.integers(0, limits.MAX_TIME_NS)
neighbours = st.lists(
    st.builds(Neighbour, names, names, st.integers(1, limits.MAX_COST)),
    max_size=4,
    unique_by=lambda n: (n.node, n.link),
).map(tuple)
lsas = st.builds(
    Lsa,
    origins,
    uint64,
    uint64,
    neighbours,
    fingerprints,
    times,
    st.booleans(),
    st.binary(max_size=64),
)
credentials = st.builds(
    Credential, origins, fingerprints, st.binary(min_size=1, max_size=64), times
)
headers = st.builds(Header, origins, uint64, uint64)
fingerprint_lists = st.lists(fingerprints, max_size=4).map(tuple)
messages = st.one_of(
    st.builds(
        DatabaseDescription,
        st.lists(headers, max_size=4).map(tuple),
        fingerprint_lists,
        st.booleans(),
    ),
    st.builds(Request, st.lists(origins, max_size=4).map(tuple), fingerprint_lists),
    st.builds(
        Update,
        st.lists(lsas, max_size=3).map(tuple),
        st.lists(credentials, max_size=3).map(tuple),
        st.booleans(),
    ),
)

LSA = Lsa("a", 1, 1, (Neighbour("b", "l0", 10),), "fp", 10**12)


def with_lsa(**changes: object) -> bytes:
    update = Update((msgspec.structs.replace(LSA, **changes),))
    return bytes((VERSION,)) + msgspec.msgpack.encode(update)


@settings(derandomize=True, max_examples=150)
@given(messages)
def test_what_is_encoded_is_decoded(message: Message):
    assert decode(encode(message)) == message


@settings(derandomize=True, max_examples=400)
@given(st.binary(max_size=200))
@example(b"")
@example(bytes((VERSION,)))
@example(bytes((VERSION,)) + b"\x94\xa3req\x90\x90" + b"\x91" * 100_000)
@example(bytes((VERSION,)) + b"\x93\xa3req\xdd\xff\xff\xff\xff\xa1a")
@example(bytes((VERSION,)) + b"\x93\xa3req\x90\x91\xa1\xff")
def test_any_bytes_give_a_message_or_one_error(noise: bytes):
    with contextlib.suppress(CodecError):
        decode(noise)


@settings(derandomize=True, max_examples=300)
@given(messages, st.data())
def test_damaged_messages_give_a_message_or_one_error(message: Message, data: st.DataObject):
    encoded = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    for damaged in (bytes(encoded), bytes(encoded[:cut]), bytes(encoded) + b"\x00"):
        try:
            decoded = decode(damaged)
        except CodecError:
            continue
        assert decode(encode(decoded)) == decoded


@pytest.mark.parametrize(
    "nonsense",
    [
        with_lsa(origin=""),
        with_lsa(origin="x" * 256),
        with_lsa(origin="é" * 128),
        with_lsa(sequence=-1),
        with_lsa(boot_epoch=-1),
        with_lsa(expires_ns=-1),
        with_lsa(fingerprint=""),
        with_lsa(signature=b"s" * 513),
        with_lsa(neighbours=(Neighbour("b", "l0", 0),)),
        with_lsa(neighbours=(Neighbour("b", "l0", -5),)),
        with_lsa(neighbours=(Neighbour("b", "l0", limits.MAX_COST + 1),)),
        with_lsa(neighbours=(Neighbour("", "l0", 1),)),
        with_lsa(neighbours=(Neighbour("b", "", 1),)),
        with_lsa(neighbours=(Neighbour("a", "l0", 1),)),
        with_lsa(neighbours=(Neighbour("b", "l0", 1), Neighbour("b", "l0", 2))),
        with_lsa(neighbours=tuple(Neighbour(f"n{i}", "l", 1) for i in range(4097))),
    ],
)
def test_advertisements_that_make_no_sense_are_refused(nonsense: bytes):
    with pytest.raises(CodecError):
        decode(nonsense)


@pytest.mark.parametrize(
    "too_much",
    [
        Update((LSA,) * 65),
        Update((), (Credential("a", "fp", b"c", 1),) * 65),
        Update((), (Credential("a", "fp", b"c" * 16385, 1),)),
        Update((), (Credential("a", "fp", b"", 1),)),
        Request(("a",) * 1025, ()),
        Request((), ("f",) * 1025),
        DatabaseDescription((Header("a", 1, 1),) * 1025, (), True),
    ],
)
def test_lists_beyond_their_bounds_are_refused(too_much: Message):
    with pytest.raises(CodecError):
        decode(encode(too_much))


def test_the_largest_legal_advertisement_fits_a_message():
    longest = tuple(
        Neighbour(f"{i:04d}" + "n" * 251, "l" * 255, limits.MAX_COST) for i in range(4096)
    )
    lsa = msgspec.structs.replace(LSA, neighbours=longest, signature=b"s" * 512)
    credential = Credential("a", "f" * 128, b"c" * limits.MAX_CHAIN_BYTES, 1)
    message = Update((lsa,), (credential,) * limits.MAX_CREDENTIALS, answers=True)
    assert decode(encode(message)) == message


def test_messages_beyond_the_size_limit_are_refused_unread():
    with pytest.raises(CodecError, match="limit"):
        decode(bytes((VERSION,)) + b"\xc0" * limits.MAX_MESSAGE_BYTES)


def test_another_version_is_refused():
    encoded = encode(Request(("a",), ()))
    with pytest.raises(CodecError, match="version"):
        decode(bytes((VERSION + 1,)) + encoded[1:])


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "z"},
        {"boot_epoch": 2},
        {"sequence": 2},
        {"neighbours": ()},
        {"neighbours": (Neighbour("b", "l0", 11),)},
        {"fingerprint": "other"},
        {"expires_ns": 1},
        {"overload": True},
    ],
)
def test_the_signature_covers_every_field(change: dict[str, object]):
    assert signed_content(msgspec.structs.replace(LSA, **change)) != signed_content(LSA)


def test_the_signature_does_not_cover_itself():
    assert signed_content(msgspec.structs.replace(LSA, signature=b"s")) == signed_content(LSA)


uint32 = st.integers(0, 2**32 - 1)
keep_alives = st.builds(
    KeepAlive,
    uint64,
    st.sampled_from(BfdState),
    st.integers(1, limits.MAX_UINT64),
    uint64,
    st.integers(1, 255),
    st.booleans(),
    uint64,
)


@settings(derandomize=True, max_examples=100)
@given(uint32, uint64, keep_alives)
def test_keep_alives_round_trip(link_id: int, sequence: int, content: KeepAlive):
    datagram = encode_keep_alive(link_id, sequence, content, KEY)
    assert len(datagram) == KEEP_ALIVE_BYTES
    assert decode_keep_alive(datagram, KEY) == (link_id, sequence, content)


@settings(derandomize=True, max_examples=100)
@given(keep_alives, st.integers(0, KEEP_ALIVE_BYTES - 1), st.integers(1, 255))
def test_a_changed_keep_alive_is_refused(content: KeepAlive, position: int, flip: int):
    datagram = bytearray(encode_keep_alive(7, 1, content, KEY))
    datagram[position] ^= flip
    with pytest.raises(CodecError):
        decode_keep_alive(bytes(datagram), KEY)


@settings(derandomize=True, max_examples=100)
@given(st.binary(max_size=2 * KEEP_ALIVE_BYTES))
def test_any_datagram_gives_a_keep_alive_or_one_error(noise: bytes):
    with pytest.raises(CodecError):
        decode_keep_alive(noise, KEY)


def test_a_keep_alive_under_another_key_is_refused():
    content = KeepAlive(1, BfdState.UP, 1, 1, 3)
    with pytest.raises(CodecError, match="MAC"):
        decode_keep_alive(encode_keep_alive(7, 1, content, KEY), b"x" * 32)
