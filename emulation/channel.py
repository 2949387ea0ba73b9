"""One authenticated stream between two neighbours: TCP, TLS 1.3, frames.

Driven by asyncio's transport; TLS is `identity.tls.TlsPump`, because asyncio's own drops a
refused handshake without the alert that tells the other end why. A channel is ready once both
ends have accepted the other's identity and said which link this is.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum
from typing import Final, Protocol

from x0mesh.emulation.frames import (
    VERSION,
    FrameError,
    FrameReader,
    Goodbye,
    Hello,
    Kind,
    decode_record,
    message_frame,
    record_frame,
)
from x0mesh.emulation.keep_alive import KEY_BYTES
from x0mesh.identity.tls import Closed, Received, Refused, TlsEvent, TlsPump, Up
from x0mesh.mesh.codec import CodecError, decode
from x0mesh.mesh.limits import MAX_MESSAGE_BYTES
from x0mesh.mesh.messages import Message

LINGER_S: Final = 1.0
"""How long the last words may take to be read before the connection is reset."""
MAX_UNSENT_BYTES: Final = 4 * MAX_MESSAGE_BYTES
MAX_REASON: Final = 500

CLOSED_BY_NEIGHBOUR: Final = "closed by neighbour"
QUEUE_FULL: Final = "send queue full"


class ChannelUser(Protocol):
    """The link end a channel belongs to. No call follows `channel_over` or `Channel.close`."""

    def channel_greeting(self, channel: Channel) -> Hello:
        """Both identities are accepted: what we say first."""

    def channel_ready(self, channel: Channel, hello: Hello) -> None: ...

    def channel_message(self, channel: Channel, message: Message, size_bytes: int) -> None: ...

    def channel_refused(self, channel: Channel, refused: Refused) -> None:
        """One end did not believe the other; in place of `channel_over`."""

    def channel_over(self, channel: Channel, reason: str) -> None: ...


class _State(Enum):
    GREETING = "greeting"  # TLS and Hello
    READY = "ready"
    OVER = "over"


class Channel(asyncio.Protocol):
    """One end. `is_dialler` tells TLS client from server."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pump: TlsPump,
        link: str,
        is_dialler: bool,
        user: ChannelUser,
    ) -> None:
        self.is_dialler = is_dialler
        self._loop = loop
        self._pump = pump
        self._link = link
        self._user = user
        self._state = _State.GREETING
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._is_flush_due = False

    def send(self, encoded: bytes) -> bool:
        """Append an encoded message; False if it was dropped, because the channel is no more."""
        # TLS may be over already while what came before the end is still being read.
        if self._state is not _State.READY or not self._pump.is_up:
            return False
        self._pump.send(message_frame(encoded))
        if not self._is_flush_due:
            # A flood is many messages in one turn of the loop: one write for all of them.
            self._is_flush_due = True
            self._loop.call_soon(self._flush)
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            # Not at once: effects never call back into the protocol before they return.
            self._loop.call_soon(self._overflow)
        return True

    def close(self, reason: str) -> None:
        """Say why and end; bounded in time, and nothing is reported after this."""
        if self._state is _State.OVER:
            return
        self._state = _State.OVER
        if self._pump.is_up:
            self._pump.send(record_frame(Goodbye(reason[:MAX_REASON])))
        self._pump.close()
        self._end()

    def abort(self) -> None:
        """Reset the connection; nothing is reported after this."""
        self._state = _State.OVER
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._state is _State.OVER:
            transport.abort()
        else:
            self._handle(self._pump.start())

    def data_received(self, content: bytes) -> None:
        if self._state is not _State.OVER:
            self._handle(self._pump.receive(content))

    def eof_received(self) -> bool:
        self._handle(self._pump.receive_eof())
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self._state is not _State.OVER:
            reason = CLOSED_BY_NEIGHBOUR
            if isinstance(error, OSError) and error.strerror:
                reason = error.strerror.lower()
            self._over(reason)

    # What TLS and frames say

    def _handle(self, events: list[TlsEvent]) -> None:
        self._flush()
        for event in events:
            match event:
                case Up():
                    if self._pump.is_up:
                        self._pump.send(record_frame(self._user.channel_greeting(self)))
                        self._flush()
                case Received(content):
                    self._read(content)
                case Refused():
                    self._state = _State.OVER
                    self._end()
                    self._user.channel_refused(self, event)
                case Closed():
                    self._over(CLOSED_BY_NEIGHBOUR)
            if self._state is _State.OVER:
                return

    def _read(self, content: bytes) -> None:
        self._reader.feed(content)
        try:
            while self._state is not _State.OVER:
                frame = self._reader.next()
                if frame is None:
                    return
                kind, payload = frame
                if kind is Kind.RECORD:
                    self._record(payload)
                elif self._state is _State.READY:
                    self._user.channel_message(self, decode(payload), len(payload))
                else:
                    raise FrameError("message before hello")
        except (FrameError, CodecError) as error:
            reason = f"bad frame: {error}"
            self.close(reason)
            self._user.channel_over(self, reason)

    def _record(self, payload: bytes) -> None:
        match decode_record(payload):
            case Hello() as hello:
                if self._state is not _State.GREETING or hello.version != VERSION:
                    raise FrameError(f"hello of version {hello.version}, or a second one")
                if hello.link != self._link:
                    raise FrameError(f"hello for link {hello.link}, this is {self._link}")
                if len(hello.keep_alive_key) != KEY_BYTES:
                    raise FrameError(f"keep-alive key of {len(hello.keep_alive_key)} bytes")
                self._state = _State.READY
                self._user.channel_ready(self, hello)
            case Goodbye(reason):
                self._over(f"{CLOSED_BY_NEIGHBOUR}: {reason}")

    # Endings

    def _overflow(self) -> None:
        if self._state is _State.READY:
            self.abort()
            self._user.channel_over(self, QUEUE_FULL)

    def _over(self, reason: str) -> None:
        if self._state is _State.OVER:
            return
        self._state = _State.OVER
        self._pump.close()
        self._end()
        self._user.channel_over(self, reason)

    def _end(self) -> None:
        """Flush, shut down writing, and read on until the neighbour closes: a socket closed
        with unread bytes is reset, and our last words could be lost."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._flush()
        with suppress(OSError):  # reset by the neighbour in the meantime
            transport.write_eof()
        self._loop.call_later(LINGER_S, transport.abort)

    def _flush(self) -> None:
        self._is_flush_due = False
        content = self._pump.outgoing()
        if content and self._transport is not None and not self._transport.is_closing():
            self._transport.write(content)

    @property
    def _unsent_bytes(self) -> int:
        written = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return written + self._pump.outgoing_bytes
