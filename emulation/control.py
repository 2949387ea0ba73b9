"""What the engine and a peer process say to each other, and how it fits into datagrams.

Messages are msgspec structs in MessagePack over a SEQPACKET socket pair: control never crosses
the emulated network. Every time is CLOCK_MONOTONIC in nanoseconds, one clock for all namespaces.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from x0mesh.mesh.config import NodeConfig
from x0mesh.mesh.link_state import Snapshot

DEFAULT_PORT: Final = 7146
PART_BYTES: Final = 60_000
MAX_MESSAGE_BYTES: Final = 64 << 20

_MORE, _LAST = b"\x00", b"\x01"


class ControlError(ValueError):
    """A datagram that is no control message of ours, or a message too large to be one."""


class Interface(msgspec.Struct, frozen=True):
    """One end of a link inside the peer's namespace; link-local IPv6 addresses without scope."""

    link: str
    index: int
    address: str
    peer_address: str


class Identity(msgspec.Struct, frozen=True):
    """A node's SVID and whom it trusts, all in DER; `revocation_list` may be empty.

    `realtime_offset_ns` is CLOCK_REALTIME minus CLOCK_MONOTONIC, measured once for the whole run:
    every peer turns a certificate's dates into the same instants of the mesh's clock.
    """

    trust_domain: str
    chain: bytes
    key: bytes
    bundle: bytes
    realtime_offset_ns: int
    revocation_list: bytes = b""


class DataPlane(msgspec.Struct, frozen=True):
    """What a node must know of the whole mesh to forward: addresses by node, links in the plan's
    order. Without `gate` every neighbour's packets are taken."""

    addresses: dict[str, str]
    addresses_4: dict[str, str]
    links: tuple[str, ...]
    gate: bool = True


# Engine to peer


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """First message: everything a peer knows before it starts.

    `snapshot` makes the start a warm one, and `inherited_routes` are then the destinations that
    the life before left routes to; those not installed anew in time are withdrawn. `overload`
    starts the node drained. Without `data_plane` the node forwards nothing.
    """

    node: NodeConfig
    interfaces: tuple[Interface, ...]
    identity: Identity
    seed: int = 0
    port: int = DEFAULT_PORT
    snapshot: Snapshot | None = None
    inherited_routes: tuple[str, ...] = ()
    overload: bool = False
    data_plane: DataPlane | None = None


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Start the node at this instant; at once if it has passed."""

    at_ns: int


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Ask others not to transit this node, or welcome them again."""

    on: bool


class Renew(msgspec.Struct, frozen=True, tag="renew"):
    """A new SVID, bundle or revocation list, from now on."""

    identity: Identity


class AskState(msgspec.Struct, frozen=True, tag="ask-state"):
    """Answered by `State` with the same `request`."""

    request: int


class AskSnapshot(msgspec.Struct, frozen=True, tag="ask-snapshot"):
    """Answered by `SnapshotTaken` with the same `request`: what a warm restart begins with."""

    request: int


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End the process without a word to its neighbours; answered by `Stopped`."""


ToPeer = Configure | Start | Drain | Renew | AskState | AskSnapshot | Stop


# Peer to engine


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Configured, and listening on every link."""

    t_ns: int


class Happened(msgspec.Struct, frozen=True, tag="happened"):
    """An event of the protocol; fields as in `mesh.effects.ProtocolEvent`."""

    t_ns: int
    kind: str
    link: str = ""
    peer: str = ""
    value: float | None = None
    reason: str = ""


class LinkCounters(msgspec.Struct):
    """Totals of one link end since the process began.

    `keep_alives_spoofed`: wrong MAC, or content that is none. `keep_alives_unexpected`: no
    channel was open. `keep_alives_unsent`: the kernel refused to send.
    """

    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    keep_alives_sent: int = 0
    keep_alives_received: int = 0
    keep_alives_spoofed: int = 0
    keep_alives_replayed: int = 0
    keep_alives_overtaken: int = 0
    keep_alives_unexpected: int = 0
    keep_alives_unsent: int = 0
    dials: int = 0
    channels: int = 0
    channels_refused: int = 0
    messages_dropped: int = 0


class State(msgspec.Struct, frozen=True, tag="state"):
    """A peer's answer to `AskState`. `canonical` is `Node.canonical_state` as JSON.

    `handshake_ns` lists the newest dials from their start to confirmation by both sides.
    `worst_lateness_ns` is the latest a timer fired since the last report. `gate_refused`:
    packets by link. `routes_missing` lack carrier, `repairs_left_out` segment routing.
    """

    request: int
    t_ns: int
    quiet: bool
    canonical: str
    counters: dict[str, LinkCounters]
    handshake_ns: tuple[int, ...]
    worst_lateness_ns: int
    congestion_control: str
    gate_refused: dict[str, int]
    routes_missing: int
    repairs_left_out: int


class SnapshotTaken(msgspec.Struct, frozen=True, tag="snapshot"):
    """A peer's answer to `AskSnapshot`; `routes` are the destinations it has routes to."""

    request: int
    snapshot: Snapshot
    routes: tuple[str, ...]


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """Last message of a peer that was asked to stop."""

    t_ns: int


FromPeer = Ready | Happened | State | SnapshotTaken | Stopped


_encoder = msgspec.msgpack.Encoder()
_to_peer: msgspec.msgpack.Decoder[ToPeer] = msgspec.msgpack.Decoder(ToPeer)
_from_peer: msgspec.msgpack.Decoder[FromPeer] = msgspec.msgpack.Decoder(FromPeer)


def datagrams(message: msgspec.Struct) -> Iterator[bytes]:
    """The message in parts that each fit a SEQPACKET datagram; raises ControlError if too big."""
    encoded = _encoder.encode(message)
    if len(encoded) > MAX_MESSAGE_BYTES:
        raise ControlError(f"control message of {len(encoded)} bytes, limit {MAX_MESSAGE_BYTES}")
    for start in range(0, len(encoded), PART_BYTES):
        part = encoded[start : start + PART_BYTES]
        yield (_LAST if start + PART_BYTES >= len(encoded) else _MORE) + part


def send(sock: socket.socket, message: msgspec.Struct) -> None:
    """Send a whole message over a blocking socket."""
    for datagram in datagrams(message):
        sock.send(datagram)


class Assembler:
    """Puts a message's datagrams together again; one per direction of a control socket."""

    def __init__(self) -> None:
        self._parts = bytearray()

    def take(self, datagram: bytes) -> bytes | None:
        """The encoded message that `datagram` completes, or None; raises ControlError."""
        if len(self._parts) + len(datagram) > MAX_MESSAGE_BYTES + 1:
            raise ControlError("control message too large")
        self._parts += datagram[1:]
        match datagram[:1]:
            case b"\x00":
                return None
            case b"\x01":
                encoded = bytes(self._parts)
                self._parts.clear()
                return encoded
        raise ControlError("datagram that says neither more nor last")


def decode_to_peer(encoded: bytes) -> ToPeer:
    """What the engine said; raises ControlError."""
    message: ToPeer = _decoded(_to_peer, encoded)
    return message


def decode_from_peer(encoded: bytes) -> FromPeer:
    """What a peer said; raises ControlError."""
    message: FromPeer = _decoded(_from_peer, encoded)
    return message


def _decoded(decoder: msgspec.msgpack.Decoder[Any], encoded: bytes) -> Any:
    try:
        return decoder.decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ControlError(str(error)) from None
