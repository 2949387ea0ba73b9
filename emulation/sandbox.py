"""A run in namespaces of its own, which can die at any moment and leaves nothing behind.

Processes, each the parent of the next:

    front       the caller of `run_sandboxed`; unchanged, waits
    outer       enters the namespaces (user namespace too when not root), waits
    init        PID 1 of the run's pid, mount and network namespace; reaps orphans
    main        the run itself

Whichever of them is killed, all after it die: outer and init die with their parent
(PR_SET_PDEATHSIG), and with init the kernel kills every process of the pid namespace. With the
last of them the namespaces go, and with these all links, mounts, BPF pins and temporary files.

Inside, /proc shows the run's processes only, TMPDIR is a tmpfs on a directory that was empty, and
/sys/fs/bpf is a BPF file system of its own where the kernel allows. All else is as outside: /tmp,
working directory, standard streams, terminal. Signals to the front reach main; those that a
terminal sends, main has got already, being in the foreground group.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NoReturn

from x0mesh.emulation.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    NamespaceError,
    unshare,
)
from x0mesh.emulation.rtnetlink import RtNetlink, set_link

_PASSED_ON: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_WAITED_FOR: Final = (*_PASSED_ON, signal.SIGCHLD)
# siginfo_t's si_code of a signal that the kernel sent by itself, as from a terminal.
_SI_KERNEL: Final = 0x80
_KILLED: Final = 128
_FAILED: Final = 1
_SET_UP_BYTES: Final = 1 << 16

# Usually empty; then those the kernel keeps empty for mounting on.
_MOUNT_POINTS: Final = (
    "/mnt",
    "/media",
    "/srv",
    "/sys/kernel/config",
    "/sys/fs/fuse/connections",
)
_BPF: Final = "/sys/fs/bpf"
_PR_SET_PDEATHSIG: Final = 1
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


class SandboxError(Exception):
    """The host does not let us make the sandbox; says what it refused."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What this run's sandbox has. `temporary` is TMPDIR."""

    temporary: str
    user_namespace: bool
    bpf_file_system: bool


_current: Sandbox | None = None


def current() -> Sandbox | None:
    """The sandbox this process is in, or None."""
    return _current


def run_sandboxed(main: Callable[[], int], keep: Iterable[Path] = ()) -> int:
    """Run `main` in a sandbox of its own; returns its exit code, 128 + n if signal n ended it.

    `main` is called in a forked child, so call this before threads exist. Paths in `keep` stay
    visible although nothing may be in them yet. Raises SandboxError before `main` is called.
    """
    assert _current is None, "already in a sandbox"
    sys.stdout.flush()
    sys.stderr.flush()
    point = _mount_point(keep)
    # Only then would a killed front leave something: this directory, empty.
    spare = None if point else Path(tempfile.mkdtemp(prefix="x0mesh-"))
    where = str(point or spare)
    front = os.getpid()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    try:
        outer = os.fork()
        if outer == 0:
            os.close(reader)
            _outer(front, main, where, writer, before)
        os.close(writer)
        refusal = _refusal(reader)
        code = _wait(outer)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reader)
        if spare is not None:
            spare.rmdir()
    if refusal:
        raise SandboxError(refusal)
    return code


def unavailable() -> str:
    """Why this host cannot run a sandbox; empty if it can. Tries it."""
    try:
        run_sandboxed(lambda: 0)
    except SandboxError as error:
        return str(error)
    return ""


def _refusal(reader: int) -> str:
    """What kept the sandbox from being made; empty once it is."""
    received = b""
    while part := os.read(reader, _SET_UP_BYTES):
        received += part
    answer = json.loads(received or b'{"refused": "it ended before it was set up"}')
    refusal: str = answer.get("refused", "")
    return refusal


def _outer(
    front: int,
    main: Callable[[], int],
    where: str,
    writer: int,
    mask: Iterable[int],
) -> NoReturn:
    try:
        user_namespace = _enter_namespaces()
        # Only now: gaining capabilities in a user namespace clears it.
        _die_with_parent()
        if os.getppid() != front:
            os._exit(_FAILED)
        # Held by this process alone: its end tells init that its parent is gone.
        alive, held = os.pipe2(os.O_CLOEXEC)
        init = os.fork()
        if init == 0:
            os.close(held)
            _init(main, where, user_namespace, alive, writer, mask)
    except BaseException as error:
        _refuse(writer, error)
    os.close(alive)
    os.close(writer)
    os._exit(_wait(init))


def _init(
    main: Callable[[], int],
    where: str,
    user_namespace: bool,
    alive: int,
    writer: int,
    mask: Iterable[int],
) -> NoReturn:
    global _current
    try:
        _die_with_parent()
        if select.select([alive], [], [], 0)[0]:
            os._exit(_FAILED)
        os.close(alive)
        bpf_file_system = _mount_all(where)
        with RtNetlink() as netlink:
            netlink.batch([set_link(1, up=True)])
        os.environ["TMPDIR"] = where
        tempfile.tempdir = None
        _current = Sandbox(where, user_namespace, bpf_file_system)
        child = os.fork()
    except BaseException as error:
        _refuse(writer, error)
    if child:
        os.close(writer)
        os._exit(_wait(child, reap_all=True))
    os.write(writer, json.dumps(asdict(_current)).encode())
    os.close(writer)
    _run(main, mask)


def _run(main: Callable[[], int], mask: Iterable[int]) -> NoReturn:
    code = _FAILED
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = main()
    except SystemExit as ending:
        if isinstance(ending.code, int) or ending.code is None:
            code = ending.code or 0
        else:
            sys.stderr.write(f"{ending.code}\n")
    except KeyboardInterrupt:
        code = _KILLED + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        # The front's own exit handlers are not for this process.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code & 0xFF)


def _wait(child: int, reap_all: bool = False) -> int:
    """Pass signals on to `child` until it has ended; returns its exit code or 128 + signal."""
    while True:
        # Looked at first: its end may have been signalled before this process waited.
        while True:
            try:
                pid, status = os.waitpid(-1 if reap_all else child, os.WNOHANG)
            except ChildProcessError:
                return _FAILED
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else _KILLED - code
            if pid == 0:
                break
        received = signal.sigwaitinfo(_WAITED_FOR)
        if received.si_signo != signal.SIGCHLD and received.si_code != _SI_KERNEL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, received.si_signo)


def _refuse(writer: int, error: BaseException) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(writer, json.dumps({"refused": str(error) or repr(error)}).encode())
    os._exit(_FAILED)


def _enter_namespaces() -> bool:
    """Own pid (for children), mount and network namespace; whether it took a user namespace."""
    inner = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET
    try:
        unshare(inner)
        return False
    except NamespaceError as refused:
        if refused.errno != errno.EPERM:
            raise
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    unshare(inner)
    return True


def _mount_all(where: str) -> bool:
    """The run's own file systems; whether one for BPF is among them."""
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("x0mesh", where, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0700")
    try:
        _mount("bpf", _BPF, "bpf", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    except OSError:
        return False
    return True


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    texts = (source.encode(), target.encode(), kind.encode())
    if _libc.mount(*texts, ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        what = f"mount {kind or 'private'} on {target}"
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount_point(keep: Iterable[Path]) -> Path | None:
    """An empty directory that nobody is to see."""
    seen = [Path.cwd(), *(path.absolute() for path in keep)]
    for candidate in map(Path, _MOUNT_POINTS):
        if any(path.is_relative_to(candidate) for path in seen):
            continue
        with contextlib.suppress(OSError):
            if candidate.is_dir() and not any(candidate.iterdir()):
                return candidate
    return None


def _die_with_parent() -> None:
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
