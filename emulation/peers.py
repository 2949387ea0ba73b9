"""The engine's side of the peers: starts the fork server, asks it for peers, hears them all.

One selector for everything, so that the engine has one place to wait. Peers are signalled through
pidfds, which never name another process. Start it from a thread that lives as long as the run:
the fork server dies with that thread.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from x0mesh.emulation import control
from x0mesh.emulation.control import Assembler, FromPeer
from x0mesh.emulation.fork_server import (
    MAX_ANSWER_BYTES,
    Answer,
    Died,
    NotSpawned,
    Spawn,
    Spawned,
    decode_answer,
    encode,
)

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 5.0


class PeersError(RuntimeError):
    """The fork server would not start, has died, or could not make a peer."""


class PeerProcess:
    """One peer process. `end` is set once it is gone; a restarted node is another process."""

    def __init__(self, name: str, number: int, sock: socket.socket, pid: int, pidfd: int) -> None:
        self.name = name
        self.number = number
        self.pid = pid
        self.end: Died | None = None
        self._socket = sock
        self._pidfd = pidfd
        self._assembler = Assembler()

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def tell(self, message: msgspec.Struct) -> None:
        """Send to the peer; nothing happens if it is gone. Raises PeersError if it never reads."""
        try:
            for datagram in control.datagrams(message):
                self._socket.send(datagram)
        except (BrokenPipeError, ConnectionResetError):
            return  # `Died` is on its way
        except BlockingIOError:
            raise PeersError(f"peer {self.name} does not read its control socket") from None

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False if the process is gone."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def read(self) -> tuple[list[FromPeer], bool]:
        """Whole messages that wait, and whether more may come; never blocks."""
        messages: list[FromPeer] = []
        while True:
            try:
                datagram = self._socket.recv(control.PART_BYTES + 1)
            except BlockingIOError:
                return messages, True
            except ConnectionResetError:
                return messages, False
            if not datagram:
                return messages, False
            encoded = self._assembler.take(datagram)
            if encoded is not None:
                messages.append(control.decode_from_peer(encoded))

    def close(self) -> None:
        """Let go of the descriptors; a peer that still runs ends itself then."""
        self._socket.close()
        os.close(self._pidfd)


class Peers:
    """All peer processes of a run. `folder` gets one file per process with what it wrote."""

    def __init__(self, folder: Path) -> None:
        self.alive: dict[int, PeerProcess] = {}
        self._folder = folder
        self._spawned = 0
        self._waiting: deque[tuple[PeerProcess, FromPeer | Died]] = deque()
        self._selector = selectors.DefaultSelector()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "x0mesh.emulation.fork_server",
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                cwd="/",
            )
        self._requests = ours
        ours.settimeout(START_TIMEOUT_S)
        try:
            is_ready = bool(ours.recv(1))
        except (TimeoutError, ConnectionResetError):
            is_ready = False
        if not is_ready:
            self.close()
            raise PeersError("the fork server did not start")
        self._selector.register(ours, selectors.EVENT_READ)

    @property
    def server_pid(self) -> int:
        """The fork server's process."""
        return self._server.pid

    def spawn(self, name: str, namespace_fd: int) -> PeerProcess:
        """A peer process inside the network namespace, waiting for its `Configure`."""
        self._spawned += 1
        number = self._spawned
        stderr = self._folder / f"peer-{number:04d}.stderr"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = encode(Spawn(number, str(stderr)))
            try:
                socket.send_fds(self._requests, [request], [namespace_fd, theirs.fileno()])
            except (BrokenPipeError, ConnectionResetError):
                ours.close()
                raise PeersError("the fork server has died") from None
        while True:
            answer, fds = self._answer()
            match answer:
                case Spawned(answered, pid) if answered == number:
                    ours.setblocking(False)
                    process = PeerProcess(name, number, ours, pid, fds[0])
                    self.alive[number] = process
                    self._selector.register(process, selectors.EVENT_READ)
                    return process
                case NotSpawned(answered, reason) if answered == number:
                    ours.close()
                    raise PeersError(f"peer {name}: {reason}")
                case Died():
                    self._bury(answer)

    def wait(self, timeout_s: float) -> list[tuple[PeerProcess, FromPeer | Died]]:
        """What peers said, and who died, since the last call; at most `timeout_s` without news.

        A process's last messages come before its `Died`. Raises PeersError.
        """
        if not self._waiting:
            for key, _ in self._selector.select(timeout_s):
                if isinstance(key.fileobj, PeerProcess):
                    self._hear(key.fileobj)
                else:
                    answer, _ = self._answer()
                    assert isinstance(answer, Died), answer
                    self._bury(answer)
        news = list(self._waiting)
        self._waiting.clear()
        return news

    def close(self) -> None:
        """End every process and wait until they are gone."""
        for process in self.alive.values():
            process.signal(signal.SIGKILL)
            process.close()
        self.alive.clear()
        self._requests.close()
        self._selector.close()
        try:
            self._server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self) -> tuple[Answer, list[int]]:
        try:
            datagram, fds, _, _ = socket.recv_fds(self._requests, MAX_ANSWER_BYTES, 1)
        except (ConnectionResetError, TimeoutError):
            datagram, fds = b"", []
        if not datagram:
            raise PeersError("the fork server has died")
        return decode_answer(datagram), fds

    def _hear(self, process: PeerProcess) -> None:
        messages, is_open = process.read()
        self._waiting.extend((process, message) for message in messages)
        if not is_open:
            self._selector.unregister(process)

    def _bury(self, death: Died) -> None:
        process = self.alive.pop(death.number)
        if process in self._selector.get_map():
            self._hear(process)
            if process in self._selector.get_map():
                self._selector.unregister(process)
        process.end = death
        self._waiting.append((process, death))
        process.close()
