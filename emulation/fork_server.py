"""The process that peers are forked from: everything imported once, shared by all of them.

Single-threaded, without an event loop or TLS object of its own, so that forking is safe. It forks
on request, watches its children and says when one has ended, with the last lines it wrote. It
dies with whoever started it, and its children die with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import random
import selectors
import signal
import socket
import ssl
import sys
import time
import traceback
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec

from x0mesh.emulation.namespaces import setns

MAX_REQUEST_BYTES: Final = 1 << 16
MAX_ANSWER_BYTES: Final = 1 << 16
LAST_BYTES: Final = 4096
LAST_LINES: Final = 20
_PR_SET_PDEATHSIG: Final = 1


class Spawn(msgspec.Struct, frozen=True, tag="spawn"):
    """Fork a peer; comes with two descriptors, its network namespace and its control socket."""

    number: int
    stderr: str


class Spawned(msgspec.Struct, frozen=True, tag="spawned"):
    """The peer exists; comes with a pidfd of it."""

    number: int
    pid: int


class NotSpawned(msgspec.Struct, frozen=True, tag="not-spawned"):
    """The kernel would not fork, or the files would not open."""

    number: int
    reason: str


class Died(msgspec.Struct, frozen=True, tag="died"):
    """The peer has ended; `exit_code` is negative for a signal. `last_lines` of its stderr."""

    number: int
    pid: int
    exit_code: int
    last_lines: tuple[str, ...]


Answer = Spawned | NotSpawned | Died

_encoder = msgspec.msgpack.Encoder()
_spawn: msgspec.msgpack.Decoder[Spawn] = msgspec.msgpack.Decoder(Spawn)
_answer: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(message: Spawn | Answer) -> bytes:
    """A request or an answer as one datagram."""
    return _encoder.encode(message)


def decode_answer(datagram: bytes) -> Answer:
    """What the fork server said."""
    return _answer.decode(datagram)


def die_with_parent(parent: int) -> None:
    """Be killed when the thread that started this process ends; at once if it already has."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


class _Server:
    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)
        self._pid = os.getpid()

    def serve(self) -> None:
        """Until the engine closes its end; then no child is left."""
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._bury(key.fd, *key.data)
                elif not self._request():
                    self._end_all()
                    return

    def _end_all(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                signal.pidfd_send_signal(key.fd, signal.SIGKILL)
                os.waitpid(key.data[1], 0)

    def _request(self) -> bool:
        try:
            datagram, fds, _, _ = socket.recv_fds(self._requests, MAX_REQUEST_BYTES, 2)
        except ConnectionResetError:  # closed with answers unread
            return False
        if not datagram:
            return False
        request = _spawn.decode(datagram)
        try:
            namespace_fd, control_fd = fds
            self._fork(request, namespace_fd, control_fd)
        except OSError as error:
            reason = f"{request.stderr}: {error.strerror}"
            self._requests.send(encode(NotSpawned(request.number, reason)))
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _fork(self, request: Spawn, namespace_fd: int, control_fd: int) -> None:
        stderr = Path(request.stderr)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        stderr_fd = os.open(stderr, flags, 0o600)
        try:
            pid = os.fork()
            if pid == 0:
                self._become_peer(namespace_fd, control_fd, stderr_fd)
        finally:
            os.close(stderr_fd)
        pidfd = os.pidfd_open(pid)
        self._selector.register(pidfd, selectors.EVENT_READ, (request.number, pid, stderr))
        socket.send_fds(self._requests, [encode(Spawned(request.number, pid))], [pidfd])

    def _bury(self, pidfd: int, number: int, pid: int, stderr: Path) -> None:
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        exit_code = os.waitstatus_to_exitcode(status)
        with suppress(BrokenPipeError, ConnectionResetError):  # the engine has just closed
            self._requests.send(encode(Died(number, pid, exit_code, last_lines(stderr))))

    def _become_peer(self, namespace_fd: int, control_fd: int, stderr_fd: int) -> None:
        """In the child; never returns."""
        exit_code = 1
        try:
            os.dup2(stderr_fd, 1)
            os.dup2(stderr_fd, 2)
            die_with_parent(self._pid)
            setns(namespace_fd)
            control = _keep_only(control_fd)
            gc.enable()
            random.seed()
            from x0mesh.emulation.peer import run_peer

            run_peer(control)
            exit_code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(exit_code)


def _keep_only(control_fd: int) -> socket.socket:
    """Close every descriptor but the standard ones and the control socket, which becomes 3."""
    os.dup2(control_fd, 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return socket.socket(fileno=3)


def last_lines(path: Path) -> tuple[str, ...]:
    """The end of a file that a peer wrote; bounded."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LAST_BYTES))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return (f"{path.name}: {error.strerror}",)
    return tuple(text.splitlines()[-LAST_LINES:])


def preload() -> None:
    """Import what a peer needs, use it once, and set it aside from the garbage collector's sight.

    What the first handshake sets up in both OpenSSLs is then shared by all peers; their random
    generators notice a fork and start anew (OpenSSL 1.1.1 and later).
    """
    import_module("x0mesh.emulation.peer")
    _shake_hands()
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in this process would unshare the pages of all


def _shake_hands() -> None:
    from x0mesh.identity.authority import Authority
    from x0mesh.identity.bundle import TrustBundles
    from x0mesh.identity.signer import SvidSigner, SvidVerifier
    from x0mesh.identity.spiffe_id import SpiffeID, TrustDomain
    from x0mesh.identity.tls import TlsPump, client_context, server_context

    asyncio.new_event_loop().close()
    authority = Authority(TrustDomain("warm-up.invalid"), time.time_ns)
    svid = authority.issue(SpiffeID(authority.trust_domain, "/warm-up"))
    verifier = SvidVerifier(TrustBundles([authority.bundle()]))
    content = b"warm-up"
    verifier.check_signature(svid.chain_der, content, SvidSigner(svid).sign(content))

    def pump(context: ssl.SSLContext, is_server: bool) -> TlsPump:
        judge = partial(verifier.verify, now_ns=time.time_ns())
        return TlsPump(context, is_server=is_server, judge=judge)

    client = pump(client_context(svid, verifier.bundles), is_server=False)
    server = pump(server_context(svid, verifier.bundles), is_server=True)
    client.start()
    while client.outgoing_bytes or server.outgoing_bytes:
        server.receive(client.outgoing())
        client.receive(server.outgoing())
    assert client.is_up
    assert server.is_up


def main() -> None:
    """`python -m x0mesh.emulation.fork_server SOCKET_FD PARENT_PID`."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine decides when peers end
    preload()
    requests.send(b"\x00")
    _Server(requests).serve()


if __name__ == "__main__":
    main()
