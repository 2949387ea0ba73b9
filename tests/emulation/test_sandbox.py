"""The sandbox: what is inside, what passes through, and that nothing is left of it.

What is left is judged by the run's own processes and namespaces, so that others may run too.
"""

import ctypes
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from x0mesh.emulation import sandbox
from x0mesh.emulation.namespaces import NetNamespace

WAIT_S = 60
KINDS = ("pid", "net", "mnt")
NOBODY = 65534
PR_SET_DUMPABLE = 4

PRELUDE = """
import json, os, signal, subprocess, sys, tempfile, time
from pathlib import Path
from x0mesh.emulation import sandbox

def say(**what):
    print(json.dumps(what), flush=True)

def inodes():
    return {k: os.stat(f"/proc/self/ns/{k}").st_ino for k in ("pid", "net", "mnt")}
"""

# A run with everything that could be left: an orphan, a namespace within, a file, a mount.
BUSY = """
from x0mesh.emulation.namespaces import NetNamespace
from x0mesh.emulation.rtnetlink import RtNetlink, create_veth

def main():
    nap = [sys.executable, "-c", "import time; time.sleep(600)"]
    node = NetNamespace.create()
    with RtNetlink() as netlink, NetNamespace.current() as here:
        netlink.batch([create_veth("x0left", here.fd, 10, "x0left", node.fd, 11)])
    node.popen(nap, start_new_session=True)
    if os.fork() == 0:
        subprocess.Popen(nap, start_new_session=True)
        os._exit(0)
    Path(tempfile.gettempdir(), "left").write_text("left")
    Path(tempfile.gettempdir(), "under").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x0left", tempfile.gettempdir() + "/under"], check=True)
    say(inodes=inodes(), temporary=tempfile.gettempdir())
    while True:
        time.sleep(1)
"""

RUN = """
try:
    sys.exit(sandbox.run_sandboxed(main))
except sandbox.SandboxError as error:
    say(refused=str(error))
"""


@pytest.fixture(autouse=True, scope="module")
def can_be_made() -> None:
    reason = sandbox.unavailable()
    if reason:
        pytest.skip(f"no sandbox can be made here: {reason}")


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a front process with this code."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, **options: Any) -> subprocess.Popen[str]:
        settings: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "text": True,
            **options,
        }
        front = subprocess.Popen([sys.executable, "-c", PRELUDE + code + RUN], **settings)
        started.append(front)
        return front

    yield begin
    for front in started:
        if front.poll() is None:
            front.kill()
        front.wait()
        for stream in (front.stdin, front.stdout):
            if stream is not None:
                stream.close()


def heard(front: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next thing said inside."""
    assert front.stdout is not None
    line = front.stdout.readline()
    assert line, f"the front ended with {front.wait()}"
    said: dict[str, Any] = json.loads(line)
    return said


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "condition not met"
        time.sleep(0.005)


def processes_in(inodes: dict[str, int]) -> dict[int, int]:
    """Processes in any of these namespaces: pid here to pid inside."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if any((folder / "ns" / kind).stat().st_ino == inodes[kind] for kind in KINDS):
                status = (folder / "status").read_text()
                inside = next(li for li in status.splitlines() if li.startswith("NSpid:"))
                found[int(folder.name)] = int(inside.split()[-1])
        except OSError:
            continue
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


@pytest.mark.parametrize("victim", ["front", "outer", "init", "main", "nobody"])
def test_nothing_is_left_whoever_is_killed(start: Start, victim: str) -> None:
    mounted = mounts()
    front = start(BUSY)
    run = heard(front)
    inside = processes_in(run["inodes"])
    assert len(inside) >= 4
    init, main = (next(p for p, number in inside.items() if number == n) for n in (1, 2))
    outer = parent_of(init)
    victims = {"front": front.pid, "outer": outer, "init": init, "main": main}
    if victim == "nobody":
        front.terminate()
    else:
        os.kill(victims[victim], signal.SIGKILL)
    code = front.wait(WAIT_S)
    assert code == {"front": -9, "nobody": 128 + 15}.get(victim, 128 + 9)
    wait_for(lambda: not processes_in(run["inodes"]) and not alive(outer))
    assert mounts() == mounted
    assert list(Path(run["temporary"]).iterdir()) == []


def test_the_run_is_alone_in_its_namespaces(start: Start) -> None:
    outside = {kind: Path(f"/proc/self/ns/{kind}").stat().st_ino for kind in KINDS}
    front = start(
        """
def main():
    seen = sorted(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit())
    links = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
    say(inodes=inodes(), pids=seen, links=links)
    return 0
"""
    )
    said = heard(front)
    assert all(said["inodes"][kind] != outside[kind] for kind in KINDS)
    assert said["pids"] == [1, 2]
    assert said["links"] == ["lo"]
    assert front.wait(WAIT_S) == 0


def test_files_streams_and_folders_stay_usable(start: Start, tmp_path: Path) -> None:
    (tmp_path / "scenario").write_text("from outside")
    front = start(
        """
def main():
    text = Path("scenario").read_text()
    Path("result").write_text(text + ", " + sys.stdin.readline().strip())
    held = tempfile.mkstemp()[1]
    say(sees_tmp=Path(sys.argv[0] or ".").exists(), temporary=held)
    return 0
""",
        cwd=tmp_path,
    )
    assert front.stdin is not None
    front.stdin.write("through stdin\n")
    front.stdin.flush()
    said = heard(front)
    assert front.wait(WAIT_S) == 0
    assert (tmp_path / "result").read_text() == "from outside, through stdin"
    assert not Path(said["temporary"]).exists()


def test_the_shared_folder_for_temporary_files_is_not_masked(start: Start) -> None:
    with tempfile.TemporaryDirectory() as folder:
        front = start(f"def main():\n    say(there=Path({folder!r}).is_dir())\n    return 0\n")
        assert heard(front) == {"there": True}


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("return 7", 7),
        ("sys.exit(3)", 3),
        ("sys.exit()", 0),
        ("raise KeyboardInterrupt", 130),
        ("1 / 0", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
    ],
)
def test_the_exit_code_is_main_s(start: Start, ending: str, code: int) -> None:
    front = start(f"def main():\n    {ending}\n", stderr=subprocess.DEVNULL)
    assert front.wait(WAIT_S) == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_the_front_reaches_main(start: Start, number: signal.Signals) -> None:
    front = start(
        f"""
def main():
    got = []
    signal.signal({int(number)}, lambda n, _: got.append(n))
    say(ready=True)
    while not got:
        time.sleep(0.01)
    return 40 + len(got)
"""
    )
    heard(front)
    front.send_signal(number)
    assert front.wait(WAIT_S) == 41


def test_control_c_at_a_terminal_interrupts_main_once(start: Start) -> None:
    """The terminal tells the whole group: passed on as well, it would come twice."""
    master, slave = pty.openpty()
    front = start(
        """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
def main():
    got = []
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda n, _: got.append(n))
    say(ready=True)
    while signal.SIGINT not in got:
        time.sleep(0.01)
    say(interrupted=True)
    while signal.SIGUSR1 not in got:
        time.sleep(0.01)
    return 40 + got.count(signal.SIGINT)
""",
        stdin=slave,
        start_new_session=True,
    )
    heard(front)
    os.write(master, b"\x03")
    heard(front)
    front.send_signal(signal.SIGUSR1)
    assert front.wait(WAIT_S) == 41
    os.close(master)
    os.close(slave)


def test_orphans_are_reaped(start: Start) -> None:
    front = start(
        """
def main():
    reader, writer = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
        os._exit(0)
    orphan = int(os.read(reader, 16))
    os.wait()
    end = time.monotonic() + 60
    while Path(f"/proc/{orphan}").exists() and time.monotonic() < end:
        time.sleep(0.01)
    say(gone=not Path(f"/proc/{orphan}").exists())
    return 0
"""
    )
    assert heard(front) == {"gone": True}


def test_two_runs_do_not_meet(start: Start) -> None:
    one, two = start(BUSY), start(BUSY)
    first, second = heard(one), heard(two)
    assert first["temporary"] == second["temporary"]
    assert not set(processes_in(first["inodes"])) & set(processes_in(second["inodes"]))
    one.kill()
    one.wait()
    wait_for(lambda: not processes_in(first["inodes"]))
    assert len(processes_in(second["inodes"])) >= 4


def test_without_root_a_user_namespace_is_taken() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    refused, taken, other = 3, 4, 5

    def main() -> int:
        NetNamespace.create().close()
        box = sandbox.current()
        return taken if box is not None and box.user_namespace and os.getpid() == 2 else other

    somebody = os.fork()
    if somebody == 0:
        code = other
        try:
            os.chdir("/")
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            # As after an exec: a process that changed its user may not write its own uid_map.
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            code = sandbox.run_sandboxed(main)
        except sandbox.SandboxError:
            code = refused
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(somebody, 0)[1])
    if code == refused:
        pytest.skip("this kernel has no user namespaces for users without root")
    assert code == taken


def test_what_the_kernel_refuses_is_said_and_main_is_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(source: str, *_: Any) -> None:
        raise OSError(1, f"mount {source}: not today")

    monkeypatch.setattr(sandbox, "_mount", refuse)
    with pytest.raises(sandbox.SandboxError, match="not today"):
        sandbox.run_sandboxed(lambda: os._exit(99))
    assert "not today" in sandbox.unavailable()


def test_with_nothing_to_mount_on_a_folder_is_made_and_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox, "_MOUNT_POINTS", ())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def main() -> int:
        Path(tempfile.gettempdir(), "file").write_text("inside")
        return 5 if Path(tempfile.gettempdir()).parent == tmp_path else 6

    assert sandbox.run_sandboxed(main) == 5
    assert list(tmp_path.iterdir()) == []


def test_a_folder_to_be_kept_is_not_mounted_on(tmp_path: Path) -> None:
    for keep in ([], [Path("/media/results")], [Path("/mnt"), Path("/media"), Path("/srv")]):

        def main(keep: list[Path] = keep) -> int:
            where = Path(tempfile.gettempdir())
            return int(any(path.is_relative_to(where) for path in keep))

        assert sandbox.run_sandboxed(main, keep) == 0


def test_mininet_works_inside(mininet_tools: None) -> None:
    from x0mesh.emulation.mininet_api import mininet

    def main() -> int:
        net = mininet(build=False)
        one, two = net.addHost("h1"), net.addHost("h2")
        net.addLink(one, two)
        net.start()
        lost = net.pingAll()
        net.configLinkStatus("h1", "h2", "down")
        lost_when_down = net.pingAll(timeout="1")
        net.stop()
        return 10 if (lost, lost_when_down) == (0, 100) else 11

    assert sandbox.run_sandboxed(main) == 10
