"""One end of a link in a peer: its listener, its dials, its channel and its keep-alives.

The link has one channel at a time; a newer one, once ready, replaces it. Who dials, when again
and whom to believe about the neighbour's name is the protocol's business.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from x0mesh.emulation.channel import Channel
from x0mesh.emulation.control import Interface, LinkCounters
from x0mesh.emulation.frames import VERSION, Hello
from x0mesh.emulation.keep_alive import KEY_BYTES, Hearing, KeepAlives, stamp_arrivals
from x0mesh.emulation.loop_clock import LoopClock
from x0mesh.identity.tls import Refused, TlsPump
from x0mesh.mesh.effects import KeepAlive, Lease, LeaseChange
from x0mesh.mesh.messages import Message

CONNECT_TIMEOUT_NS: Final = 5_000_000_000
USER_TIMEOUT_MS: Final = 10_000
MAX_UNREADY: Final = 8
"""Accepted connections that are not yet channels, per link; more are reset."""
CONGESTION_CONTROL: Final = ("cubic", "reno")
"""Set by the peers themselves: hosts differ in their default, and then so would recovery."""

NO_CARRIER: Final = "no carrier"
TIMED_OUT: Final = "connect timed out"
REPLACED: Final = "replaced by a new channel"


class PeerLinkUser(Protocol):
    """The peer: hears what is an input of the protocol."""

    def pump(self, link: str, is_server: bool) -> TlsPump:
        """One end of TLS with the identity in force now."""

    def has_carrier(self, link: str) -> bool: ...

    def channel_opened(self, link: str) -> None:
        """Both ends believe each other, and both said so."""

    def channel_failed(self, link: str, reason: str) -> None: ...

    def message_arrived(self, link: str, message: Message) -> None: ...

    def neighbour_refused(self, link: str, reason: str) -> None:
        """We did not believe who answered or called."""

    def lease_changed(
        self, link: str, heard: KeepAlive, change: LeaseChange, at_ns: int
    ) -> None: ...

    def lease_report(self, link: str, received: int, expected: int) -> None: ...


class PeerLink:
    """Opens its sockets on `interface` at once; raises OSError."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: LoopClock,
        interface: Interface,
        port: int,
        draw: Callable[[], float],
        user: PeerLinkUser,
    ) -> None:
        self.name = interface.link
        self.interface = interface
        self.counters = LinkCounters()
        self.handshake_ns: list[int] = []
        self.congestion_control = ""
        self._loop = loop
        self._clock = clock
        self._port = port
        self._user = user
        self._channel: Channel | None = None
        self._unready: dict[Channel, asyncio.TimerHandle] = {}
        self._hearings: dict[Channel, Hearing] = {}
        self._dial: Channel | None = None
        self._dialled_ns = 0
        self._connecting: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._listener = self._tcp_socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((interface.address, port, 0, interface.index))
        self._udp = _udp_socket()
        self._udp.bind((interface.address, port, 0, interface.index))
        destination = (interface.peer_address, port, 0, interface.index)
        self._keep_alives = KeepAlives(
            clock, self._udp, destination, self.name, draw, self, self.counters
        )

    async def open(self) -> None:
        """Listen for the neighbour."""
        self._server = await self._loop.create_server(self._accepted, sock=self._listener)
        self._loop.add_reader(self._udp.fileno(), self._keep_alives.read)

    def shut(self) -> None:
        """The process is about to end: no word to anybody."""
        self._loop.remove_reader(self._udp.fileno())
        self._keep_alives.close()
        self._udp.close()
        if self._server is not None:
            self._server.close()
        for channel in [*self._unready, self._channel]:
            if channel is not None:
                channel.abort()

    # Effects on this link

    def dial(self) -> None:
        """Open a channel; answered by `channel_opened` or `channel_failed`."""
        assert self._dial is None, f"a second dial on {self.name}"
        self.counters.dials += 1
        self._dialled_ns = self._clock.now_ns()
        channel = Channel(self._loop, self._user.pump(self.name, False), self.name, True, self)
        self._dial = channel
        if not self._user.has_carrier(self.name):
            self._loop.call_soon(self._dial_failed, channel, NO_CARRIER)
            return
        deadline_ns = self._dialled_ns + CONNECT_TIMEOUT_NS
        self._unready[channel] = self._clock.call_at(
            deadline_ns, lambda: self._dial_failed(channel, TIMED_OUT)
        )
        self._connecting = self._loop.create_task(self._connect(channel))

    def send(self, encoded: bytes) -> None:
        """Append to the stream; dropped, and counted, if no channel is open."""
        if self._channel is not None and self._channel.send(encoded):
            self.counters.messages_sent += 1
            self.counters.bytes_sent += len(encoded)
        else:
            self.counters.messages_dropped += 1

    def keep_alive(self, lease: Lease | None) -> None:
        """See `Effects.keep_alive`."""
        self._keep_alives.keep_alive(lease)

    def close(self, reason: str) -> None:
        """Close the open channel; a dial under way goes on."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._keep_alives.close()
            self._hearings.pop(channel)
            channel.close(reason)

    def carrier_lost(self) -> None:
        """A dial under way fails at once; an open channel waits for its user's decision."""
        if self._dial is not None:
            self._dial_failed(self._dial, NO_CARRIER)

    def count(self) -> LinkCounters:
        """The counters, up to date."""
        self._keep_alives.count()
        return self.counters

    # Connection set-up

    async def _connect(self, channel: Channel) -> None:
        interface = self.interface
        sock = self._tcp_socket()
        try:
            sock.bind((interface.address, 0, 0, interface.index))
            peer = (interface.peer_address, self._port, 0, interface.index)
            await self._loop.sock_connect(sock, peer)
            await self._loop.create_connection(lambda: channel, sock=sock)
        except OSError as error:
            sock.close()
            self._dial_failed(channel, (error.strerror or str(error)).lower())
        except asyncio.CancelledError:
            sock.close()
            raise

    def _dial_failed(self, channel: Channel, reason: str) -> None:
        if channel is not self._dial:
            return
        self._drop(channel)
        channel.abort()
        self._user.channel_failed(self.name, reason)

    def _accepted(self) -> Channel:
        channel = Channel(self._loop, self._user.pump(self.name, True), self.name, False, self)
        if len(self._unready) >= MAX_UNREADY:
            self.counters.channels_refused += 1
            channel.abort()
            return channel
        deadline_ns = self._clock.now_ns() + CONNECT_TIMEOUT_NS
        self._unready[channel] = self._clock.call_at(
            deadline_ns, lambda: self._accept_timed_out(channel)
        )
        return channel

    def _accept_timed_out(self, channel: Channel) -> None:
        self._drop(channel)
        channel.abort()

    def _drop(self, channel: Channel) -> None:
        """Forget a channel that was not, or is no longer, under way."""
        timer = self._unready.pop(channel, None)
        if timer is not None:
            timer.cancel()
        hearing = self._hearings.pop(channel, None)
        if hearing is not None:
            self._keep_alives.forget(hearing)
        if channel is self._dial:
            self._dial = None
            if self._connecting is not None:
                self._connecting.cancel()
                self._connecting = None

    def _tcp_socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        for name in CONGESTION_CONTROL:
            with suppress(OSError):  # not in this kernel: the next one; reno always is
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
                self.congestion_control = name
                break
        return sock

    # ChannelUser

    def channel_greeting(self, channel: Channel) -> Hello:
        key = secrets.token_bytes(KEY_BYTES)
        self._hearings[channel] = self._keep_alives.expect(key)
        return Hello(VERSION, self.name, key)

    def channel_ready(self, channel: Channel, hello: Hello) -> None:
        self._unready.pop(channel).cancel()
        if channel.is_dialler:
            assert channel is self._dial
            self._dial = self._connecting = None
            self.handshake_ns.append(self._clock.now_ns() - self._dialled_ns)
        before, self._channel = self._channel, channel
        if before is not None:
            self._keep_alives.close()
            self._hearings.pop(before)
            before.close(REPLACED)
        self.counters.channels += 1
        self._keep_alives.speak(self._hearings[channel], hello.keep_alive_key)
        self._user.channel_opened(self.name)
        self._keep_alives.catch_up()

    def channel_message(self, channel: Channel, message: Message, size_bytes: int) -> None:
        assert channel is self._channel
        self.counters.messages_received += 1
        self.counters.bytes_received += size_bytes
        self._user.message_arrived(self.name, message)

    def channel_refused(self, channel: Channel, refused: Refused) -> None:
        refusal = refused.refusal.value
        if not refused.by_peer:
            self.counters.channels_refused += 1
            self._user.neighbour_refused(self.name, refusal)
        word = "refused by neighbour" if refused.by_peer else "neighbour not believed"
        self.channel_over(channel, f"{word}: {refusal}")

    def channel_over(self, channel: Channel, reason: str) -> None:
        concerns_us = channel in (self._dial, self._channel)
        if channel is self._channel:
            self._channel = None
        self._drop(channel)
        if concerns_us:
            self._user.channel_failed(self.name, reason)

    # LeaseUser

    def lease_changed(self, heard: KeepAlive, change: LeaseChange, at_ns: int) -> None:
        self._user.lease_changed(self.name, heard, change, at_ns)

    def lease_report(self, received: int, expected: int) -> None:
        self._user.lease_report(self.name, received, expected)


def _udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    stamp_arrivals(sock)
    return sock
