"""Requests to the delay line's process and its answers: one MessagePack message per datagram.

An `AddLink` brings the middle namespace's descriptor along (SCM_RIGHTS).
"""

from __future__ import annotations

import msgspec

from x0mesh.emulation.impairment import BlockMode, Counters, Lateness, LinkDirection, Release
from x0mesh.scenarios.impairment import Impairment

MAX_MESSAGE_BYTES = 16_384


class AddLink(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Done` once frames pass."""

    link: str
    index_a: int
    index_b: int
    forward: Impairment
    backward: Impairment


class SetImpairment(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Done`."""

    link: str
    direction: LinkDirection
    impairment: Impairment


class Block(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Done`."""

    link: str
    direction: LinkDirection
    mode: BlockMode
    release: Release


class Unblock(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Done`."""

    link: str
    direction: LinkDirection
    mode: BlockMode | None


class AskCounters(msgspec.Struct, frozen=True, tag=True):
    """Answered by `TheCounters`."""

    link: str
    direction: LinkDirection


class AskLateness(msgspec.Struct, frozen=True, tag=True):
    """Answered by `TheLateness`."""

    restart: bool


class Done(msgspec.Struct, frozen=True, tag=True):
    """`realtime`: the process runs under SCHED_FIFO."""

    realtime: bool


class TheCounters(msgspec.Struct, frozen=True, tag=True):
    """Of one direction."""

    counters: Counters


class TheLateness(msgspec.Struct, frozen=True, tag=True):
    """Of all links."""

    lateness: Lateness


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """The request was not carried out."""

    reason: str


Request = AddLink | SetImpairment | Block | Unblock | AskCounters | AskLateness
Answer = Done | TheCounters | TheLateness | Refusal

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder[Request](Request).decode
decode_answer = msgspec.msgpack.Decoder[Answer](Answer).decode
