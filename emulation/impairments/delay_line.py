"""The delay line as the engine sees it: one child process that serves every impaired link.

Here are starting, asking and ending it; the forwarding is `delay_line_process`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from x0mesh.emulation.impairment import (
    BackendError,
    BackendName,
    BlockMode,
    Counters,
    Lateness,
    LinkDirection,
    Release,
)
from x0mesh.emulation.impairments import control
from x0mesh.emulation.impairments.packet_socket import PacketSocketError, unbound_packet_socket
from x0mesh.emulation.namespaces import NamespaceError, NetNamespace
from x0mesh.emulation.rtnetlink import NetlinkError
from x0mesh.scenarios.impairment import Impairment

_ANSWER_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 5.0


def unavailable() -> str:
    """Why this host cannot run a delay line; empty if it can."""
    try:
        # In a namespace of our own: in a user namespace the host's is not ours to open them in.
        with NetNamespace.create(ipv6=False) as scratch, scratch.enter():
            unbound_packet_socket().close()
    except (NamespaceError, NetlinkError, PacketSocketError) as error:
        return str(error)
    return ""


class DelayLineLink:
    """A link's middle; see `LinkMiddle`."""

    backend = "delay-line"

    def __init__(self, line: DelayLine, name: str) -> None:
        self._line = line
        self.name = name

    def set(self, direction: LinkDirection, impairment: Impairment) -> None:
        """Replace the direction's impairment."""
        self._line.request(control.SetImpairment(self.name, direction, impairment))

    def block(self, direction: LinkDirection, mode: BlockMode, release: Release = "fifo") -> None:
        """Drop or hold frames from now on."""
        self._line.request(control.Block(self.name, direction, mode, release))

    def unblock(self, direction: LinkDirection, mode: BlockMode | None = None) -> None:
        """End one mode of blocking, or both."""
        self._line.request(control.Unblock(self.name, direction, mode))

    def counters(self, direction: LinkDirection) -> Counters:
        """Frames so far."""
        answer = self._line.request(control.AskCounters(self.name, direction))
        assert isinstance(answer, control.TheCounters)
        return answer.counters


class DelayLine:
    """A running delay line. It ends with `close`, and with the thread that started it.

    Construction returns at once; the first request waits for the process to be there. Requests
    may come from several threads. Raises `BackendError` when the process is gone.
    """

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self.realtime = False  # known after the first link was added
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_ANSWER_TIMEOUT_S)
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "x0mesh.emulation.impairments.delay_line_process",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    str(seed),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C in the terminal is the engine's to handle
            )

    @property
    def name(self) -> BackendName:
        """As results name it."""
        return "delay-line"

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def control_fd(self) -> int:
        """Our end of the control channel."""
        return self._control.fileno()

    def add_link(
        self,
        name: str,
        namespace_fd: int,
        index_a: int,
        index_b: int,
        forward: Impairment,
        backward: Impairment,
    ) -> DelayLineLink:
        """Join two interfaces of a middle namespace. `namespace_fd` may be closed afterwards."""
        answer = self.request(
            control.AddLink(name, index_a, index_b, forward, backward), namespace_fd
        )
        assert isinstance(answer, control.Done)
        self.realtime = answer.realtime
        return DelayLineLink(self, name)

    def lateness(self, restart: bool = False) -> Lateness:
        """Since the last restart, over all links."""
        answer = self.request(control.AskLateness(restart))
        assert isinstance(answer, control.TheLateness)
        return answer.lateness

    def request(self, request: control.Request, descriptor: int | None = None) -> control.Answer:
        """Ask the process, and wait for its answer."""
        message = control.encode(request)
        if len(message) > control.MAX_MESSAGE_BYTES:
            raise BackendError(f"delay line: a request of {len(message)} bytes is too long")
        with self._lock:
            if self._closed:
                raise BackendError("delay line: closed")
            try:
                descriptors = [] if descriptor is None else [descriptor]
                socket.send_fds(self._control, [message], descriptors)
                reply = self._control.recv(control.MAX_MESSAGE_BYTES)
            except TimeoutError:
                raise BackendError(
                    f"delay line: no answer within {_ANSWER_TIMEOUT_S:.0f} s"
                ) from None
            except OSError as error:
                raise BackendError(self._ending(str(error))) from None
        if not reply:
            raise BackendError(self._ending("it closed its control channel"))
        answer: control.Answer = control.decode_answer(reply)
        if isinstance(answer, control.Refusal):
            raise BackendError(f"delay line: {answer.reason}")
        return answer

    def _ending(self, what: str) -> str:
        """What is known about a process that went away."""
        try:
            _, errors = self._process.communicate(timeout=_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"delay line: {what}"
        last = errors.decode(errors="replace").strip().splitlines()[-1:] if errors else []
        return " ".join([f"delay line: {what}, exit status {self._process.returncode}", *last])

    def close(self) -> None:
        """End the process; frames under way are lost."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # Closing alone would not reach the process while a forked child has a copy.
            with suppress(OSError):  # it is gone already
                self._control.shutdown(socket.SHUT_RDWR)
            self._control.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
