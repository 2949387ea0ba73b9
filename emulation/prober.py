"""The probes' process: sends each flow's datagrams at the plan's instants and notes arrivals.

Driven by one timer for the next instant, by arriving datagrams and by commands, one a line:
`begin <zero ns>`, `on <node>`, `off <node>`, `end`. It answers with `ready`, then with the
result. Sockets stay in the namespace they were opened in, so one process serves all nodes.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import io
import ipaddress
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from x0mesh.emulation.namespaces import NetNamespace
from x0mesh.scenarios.flows import probe_instants
from x0mesh.scenarios.plan import FlowPlan
from x0mesh.scenarios.record import LOST

_PR_SET_PDEATHSIG: Final = 1
_CLOCK_MONOTONIC: Final = 1
_TFD_TIMER_ABSTIME: Final = 1
_FIFO_PRIORITY: Final = 10
_NS_PER_S: Final = 1_000_000_000
_HEADER: Final = struct.Struct("!IQ")
_HEADERS_BYTES: Final = {socket.AF_INET6: 48, socket.AF_INET: 28}
_RECEIVE_BUFFER: Final = 1 << 20
_PER_WAKE_UP: Final = 64
_CHUNK: Final = 4096
# linux/in.h, linux/in6.h: what is larger than the path carries is lost, never fragmented.
_DISCOVER_MTU: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, 10),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23),
}
_DISCOVER_DO: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class _Flow:
    plan: FlowPlan
    sender: socket.socket
    receiver: socket.socket
    to: tuple[Any, ...]
    planned_ns: npt.NDArray[np.int64]
    sent_ns: npt.NDArray[np.int64]
    latency_ns: npt.NDArray[np.int64]
    payload: bytearray
    reply: bytearray


@dataclass(slots=True)
class Totals:
    """What was noticed beside the probes themselves."""

    largest_lateness_ns: int = 0
    duplicates: int = 0
    foreign: int = 0
    realtime: bool = False
    send_errors: dict[str, int] = field(default_factory=dict)


class Prober:
    """All flows on one clock: `zero_ns` is the replication's start on CLOCK_MONOTONIC."""

    def __init__(self, settings: dict[str, Any], commands_fd: int) -> None:
        self._end_ns: int = settings["end_ns"]
        self._grace_ns: int = settings["grace_ns"]
        self._flows = [
            _open(entry, place, settings["seed"], self._end_ns)
            for place, entry in enumerate(settings["flows"])
        ]
        self._totals = Totals()
        self._off: set[str] = set()
        self._outstanding = 0
        self._last_sent_ns = 0
        self._zero_ns: int | None = None
        self._ending = False
        self._cut_ns = self._end_ns
        self._commands = b""
        self._commands_fd = commands_fd
        os.set_blocking(commands_fd, False)
        self._timer = _timer()
        self._epoll = select.epoll()
        self._receivers: dict[int, _Flow] = {}
        self._senders: dict[int, _Flow] = {}
        for flow in self._flows:
            self._receivers[flow.receiver.fileno()] = flow
            self._epoll.register(flow.receiver.fileno(), select.EPOLLIN)
            if flow.plan.reply_bytes:
                self._senders[flow.sender.fileno()] = flow
                self._epoll.register(flow.sender.fileno(), select.EPOLLIN)
        for fd in (self._timer, commands_fd):
            self._epoll.register(fd, select.EPOLLIN)
        self._schedule = _merged([flow.planned_ns for flow in self._flows])
        self._next = next(self._schedule, None)

    def run(self) -> None:
        """Until `end` and the grace after the last probe; EOFError when the commands break off."""
        self._totals.realtime = _run_realtime()
        while True:
            now = time.monotonic_ns()
            self._send_due(now)
            if self._done(time.monotonic_ns()):
                return
            self._arm()
            for fd, _ in self._epoll.poll():
                if fd in self._receivers:
                    self._take_probes(self._receivers[fd])
                elif fd in self._senders:
                    self._take_replies(self._senders[fd])
                elif fd == self._timer:
                    _drain(fd)
                else:
                    self._take_commands()

    def result(self) -> bytes:
        """npz: `count` per flow, `sent` and `latency` of all flows in a row, `totals` as JSON."""
        sent, latency, counts = [], [], []
        for flow in self._flows:
            kept = flow.sent_ns != LOST
            counts.append(int(kept.sum()))
            sent.append(flow.sent_ns[kept])
            latency.append(flow.latency_ns[kept])
        totals = json.dumps(
            {name: getattr(self._totals, name) for name in Totals.__slots__}
        ).encode()
        packed = io.BytesIO()
        np.savez(
            packed,
            count=np.array(counts, dtype=np.int64),
            sent=np.concatenate([*sent, np.empty(0, dtype=np.int64)]),
            latency=np.concatenate([*latency, np.empty(0, dtype=np.int64)]),
            totals=np.frombuffer(totals, dtype=np.uint8),
        )
        return packed.getvalue()

    def _send_due(self, now: int) -> None:
        zero = self._zero_ns
        if zero is None:
            return
        for _ in range(_PER_WAKE_UP):
            if self._next is None or self._next[0] + zero > now:
                break
            planned, place, number = self._next
            self._next = next(self._schedule, None)
            flow = self._flows[place]
            if flow.plan.source not in self._off:
                self._send(flow, place, number, planned + zero)
        # Asked to end, it still sends what was due before it was asked.
        if self._next is not None and self._next[0] > self._cut_ns:
            self._next = None

    def _send(self, flow: _Flow, place: int, number: int, due_ns: int) -> None:
        assert self._zero_ns is not None
        _HEADER.pack_into(flow.payload, 0, place, number)
        now = time.monotonic_ns()
        flow.sent_ns[number] = now - self._zero_ns
        self._last_sent_ns = now
        self._totals.largest_lateness_ns = max(self._totals.largest_lateness_ns, now - due_ns)
        if self._sent(flow.sender, flow.payload, flow.to):
            self._outstanding += 1

    def _sent(self, opened: socket.socket, payload: bytearray, to: Any) -> bool:
        """A node without a route refuses at once: that packet is lost, and counted."""
        try:
            opened.sendto(payload, to)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, str(error.errno))
            errors = self._totals.send_errors
            errors[name] = errors.get(name, 0) + 1
            return False
        return True

    def _take_probes(self, flow: _Flow) -> None:
        for _ in range(_PER_WAKE_UP):
            received = _receive(flow.receiver)
            if received is None:
                return
            packet, sender, now = received
            number = self._number(flow, packet)
            if number is None or flow.plan.destination in self._off:
                continue
            if flow.plan.reply_bytes:
                _HEADER.pack_into(flow.reply, 0, *_HEADER.unpack_from(packet))
                self._sent(flow.receiver, flow.reply, sender)
            else:
                self._arrived(flow, number, now)

    def _take_replies(self, flow: _Flow) -> None:
        for _ in range(_PER_WAKE_UP):
            received = _receive(flow.sender)
            if received is None:
                return
            packet, _, now = received
            number = self._number(flow, packet)
            if number is not None and flow.plan.source not in self._off:
                self._arrived(flow, number, now)

    def _number(self, flow: _Flow, packet: bytes) -> int | None:
        if len(packet) >= _HEADER.size:
            place, number = _HEADER.unpack_from(packet)
            known = place < len(self._flows) and self._flows[place] is flow
            if known and number < len(flow.sent_ns) and flow.sent_ns[number] != LOST:
                return int(number)
        self._totals.foreign += 1
        return None

    def _arrived(self, flow: _Flow, number: int, now: int) -> None:
        assert self._zero_ns is not None
        if flow.latency_ns[number] != LOST:
            self._totals.duplicates += 1
            return
        flow.latency_ns[number] = now - self._zero_ns - flow.sent_ns[number]
        self._outstanding -= 1

    def _take_commands(self) -> None:
        received = os.read(self._commands_fd, 65536)
        if not received:
            if not self._ending:
                raise EOFError("the engine has gone")
            self._epoll.unregister(self._commands_fd)
            return
        *lines, self._commands = (self._commands + received).split(b"\n")
        for line in lines:
            command, _, argument = line.decode().partition(" ")
            match command:
                case "begin":
                    self._zero_ns = int(argument)
                case "on":
                    self._off.discard(argument)
                case "off":
                    self._off.add(argument)
                case "end":
                    self._ending = True
                    self._cut_ns = time.monotonic_ns() - (self._zero_ns or 0)
                case _:
                    raise ValueError(f"unknown command {command!r}")

    def _done(self, now: int) -> bool:
        if not self._ending or (self._next is not None and self._zero_ns is not None):
            return False
        return self._outstanding == 0 or now >= self._last_sent_ns + self._grace_ns

    def _arm(self) -> None:
        due = 0
        if self._next is not None and self._zero_ns is not None:
            due = max(self._zero_ns + self._next[0], 1)
        elif self._ending:
            due = self._last_sent_ns + self._grace_ns
        _set_timer(self._timer, due)


def _open(entry: dict[str, Any], place: int, seed: int, end_ns: int) -> _Flow:
    plan = FlowPlan(**entry["plan"])
    sender = _socket(entry["source_fd"], entry["source_address"])
    receiver = _socket(entry["destination_fd"], entry["destination_address"])
    planned = probe_instants(plan, seed, end_ns)
    overhead = _HEADERS_BYTES[receiver.family]
    return _Flow(
        plan=plan,
        sender=sender,
        receiver=receiver,
        to=receiver.getsockname(),
        planned_ns=planned,
        sent_ns=np.full(len(planned), LOST, dtype=np.int64),
        latency_ns=np.full(len(planned), LOST, dtype=np.int64),
        payload=bytearray(max(_HEADER.size, plan.size_bytes - overhead)),
        reply=bytearray(max(_HEADER.size, plan.reply_bytes - overhead)),
    )


def _socket(namespace_fd: int, address: str) -> socket.socket:
    version = ipaddress.ip_address(address).version
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    opened = NetNamespace(namespace_fd).open_socket(family, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    opened.setsockopt(*_DISCOVER_MTU[family], _DISCOVER_DO)
    opened.bind((address, 0))
    return opened


def _merged(planned: list[npt.NDArray[np.int64]]) -> Iterator[tuple[int, int, int]]:
    """(instant, flow, number) of all flows in the order of time, then of flows."""
    times = np.concatenate([*planned, np.empty(0, dtype=np.int64)])
    flows = np.repeat(np.arange(len(planned)), [len(p) for p in planned])
    numbers = np.concatenate([*(np.arange(len(p)) for p in planned), np.empty(0, dtype=np.int64)])
    order = np.argsort(times, kind="stable")
    for start in range(0, len(order), _CHUNK):
        part = order[start : start + _CHUNK]
        yield from zip(
            times[part].tolist(), flows[part].tolist(), numbers[part].tolist(), strict=True
        )


def _receive(opened: socket.socket) -> tuple[bytes, Any, int] | None:
    try:
        packet, sender = opened.recvfrom(65536)
    except BlockingIOError:
        return None
    except OSError as error:
        # An ICMP answer to an earlier probe; that one is lost and this is not about a packet.
        if error.errno in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
            return None
        raise
    return packet, sender, time.monotonic_ns()


def _timer() -> int:
    """`epoll_wait` counts in milliseconds; a timerfd in nanoseconds."""
    fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    return fd


def _set_timer(fd: int, due_ns: int) -> None:
    """0 disarms."""
    spec = (ctypes.c_long * 4)(0, 0, *divmod(due_ns, _NS_PER_S))
    if _libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, spec, None):
        raise OSError(ctypes.get_errno(), "timerfd_settime")


def _drain(fd: int) -> None:
    try:
        os.read(fd, 8)
    except BlockingIOError:
        return  # armed anew since epoll reported it


def _run_realtime() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_FIFO_PRIORITY))
    except PermissionError:
        return False
    return True


def _exactly(stream: io.FileIO, count: int) -> bytes:
    """Not a byte more: what follows is read without a buffer, by the loop."""
    received = b""
    while len(received) < count:
        part = stream.read(count - len(received))
        if not part:
            raise EOFError("the engine has gone")
        received += part
    return received


def main(parent_pid: int, settings_bytes: int) -> None:
    """Serve one engine on standard input and output; ends with it, whatever ends it."""
    if _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:
        return  # it died before we asked to be told
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    commands_fd = sys.stdin.fileno()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with os.fdopen(commands_fd, "rb", buffering=0, closefd=False) as commands:
        settings = json.loads(_exactly(commands, settings_bytes))
    prober = Prober(settings, commands_fd)
    out = sys.stdout.buffer
    out.write(b"ready\n")
    out.flush()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        prober.run()
    except EOFError:
        return
    out.write(prober.result())
    out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
