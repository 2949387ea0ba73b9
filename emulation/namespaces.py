"""Anonymous network namespaces, held by a file descriptor and by nothing else.

They have no name in the file system, so they end with the process that holds them, whatever
ends it. Entering one moves the calling thread only (setns(2), namespaces(7)).
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from x0mesh.emulation.rtnetlink import RtNetlink, set_link

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWPID: Final = 0x2000_0000
CLONE_NEWNET: Final = 0x4000_0000

_libc = ctypes.CDLL(None, use_errno=True)
_THREAD_NETWORK: Final = "/proc/thread-self/ns/net"
_SYSCTLS: Final = Path("/proc/sys")

_ROUTER: Final = (
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
)
# Some hosts start namespaces without IPv6. Addresses are given by us, without duplicate
# detection: waiting for it costs 1.7 s a link.
_ROUTER_IPV6: Final = tuple(
    (f"net/ipv6/conf/{scope}/{name}", value)
    for scope in ("all", "default")
    for name, value in (
        ("disable_ipv6", "0"),
        ("accept_dad", "0"),
        ("accept_ra", "0"),
        ("autoconf", "0"),
        ("router_solicitations", "0"),
        ("addr_gen_mode", "1"),
        ("forwarding", "1"),
    )
)
# Absent where the kernel has no segment routing, which only SRv6 repairs need.
_SEGMENT_ROUTING: Final = tuple(
    (f"net/ipv6/conf/{scope}/seg6_enabled", "1") for scope in ("all", "default")
)
_NO_IPV6: Final = tuple(
    (f"net/ipv6/conf/{scope}/disable_ipv6", "1") for scope in ("all", "default")
)


class NamespaceError(OSError):
    """The kernel refused a namespace or a setting in one; says what was asked."""


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread; raises NamespaceError."""
    if _libc.unshare(flags):
        number = ctypes.get_errno()
        raise NamespaceError(number, f"unshare({flags:#x}): {os.strerror(number)}")


def setns(fd: int, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread into the namespace behind `fd`; raises NamespaceError."""
    if _libc.setns(fd, kind):
        number = ctypes.get_errno()
        raise NamespaceError(number, f"setns({fd}): {os.strerror(number)}")


def write_sysctl(path: str, value: str) -> None:
    """Set one `net/...` sysctl (slashes, not dots) of the calling thread's network namespace.

    Only per-namespace settings are written: others would change the host.
    """
    assert path.startswith("net/"), path
    try:
        descriptor = os.open(_SYSCTLS / path, os.O_WRONLY)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise NamespaceError(
            error.errno or 0, f"sysctl {path} = {value}: {error.strerror}"
        ) from error


class NetNamespace:
    """A network namespace kept alive by `fd`; close it (or leave the `with`) to let it go.

    The kernel ends the namespace, with all links in it, when neither a descriptor, a socket nor
    a process refers to it any more.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def create(cls, ipv6: bool = True) -> Self:
        """A new namespace that forwards, with loopback up. `ipv6` False: no IPv6 at all.

        Needs CAP_SYS_ADMIN in the caller's user namespace; raises NamespaceError without.
        """
        with _returning():
            unshare(CLONE_NEWNET)
            namespace = cls(os.open(_THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC))
            try:
                for path, value in (*_ROUTER, *(_ROUTER_IPV6 if ipv6 else _NO_IPV6)):
                    write_sysctl(path, value)
                if ipv6 and (_SYSCTLS / _SEGMENT_ROUTING[0][0]).exists():
                    for path, value in _SEGMENT_ROUTING:
                        write_sysctl(path, value)
                with RtNetlink() as netlink:
                    netlink.batch([set_link(1, up=True)])
            except BaseException:
                namespace.close()
                raise
        return namespace

    @classmethod
    def current(cls) -> Self:
        """The calling thread's own namespace."""
        return cls(os.open(_THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC))

    @property
    def fd(self) -> int:
        assert self._fd >= 0, "namespace is closed"
        return self._fd

    @property
    def closed(self) -> bool:
        return self._fd < 0

    @property
    def inode(self) -> int:
        """Identifies the namespace among all that live now."""
        return os.fstat(self.fd).st_ino

    @contextmanager
    def enter(self) -> Iterator[None]:
        """The calling thread is in this namespace until the block ends; do not await inside."""
        with _returning():
            setns(self.fd)
            yield

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that belongs to this namespace for good, wherever it is used from."""
        with self.enter():
            return socket.socket(family, kind, protocol)

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """`subprocess.Popen` with these options, in this namespace."""
        with self.enter():
            return subprocess.Popen(command, **options)

    def write_sysctl(self, path: str, value: str) -> None:
        """`write_sysctl` in this namespace."""
        with self.enter():
            write_sysctl(path, value)

    def close(self) -> None:
        """Let go; closing twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _returning() -> Iterator[None]:
    """Puts the calling thread back into its network namespace when the block ends."""
    before = os.open(_THREAD_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            setns(before)
        finally:
            os.close(before)
