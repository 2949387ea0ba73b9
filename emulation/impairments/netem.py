"""Impairments by the kernel's own means, where it has them: netem, u32 filters and mirred.

A filter at each middle interface's ingress redirects frames to the other interface, whose root
queueing discipline is netem. Without the filter nothing passes: a silent blackhole.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import Any, Final

from x0mesh.emulation.impairment import (
    BackendError,
    BackendName,
    BlockMode,
    Counters,
    LinkDirection,
    Release,
    UnsupportedImpairmentError,
)
from x0mesh.emulation.namespaces import NetNamespace
from x0mesh.scenarios.impairment import Impairment

_TIMEOUT_S: Final = 10.0
_NAME: Final[BackendName] = "netem"
_ETHERNET_BYTES: Final = 14
_MAX_DELAY_NS: Final = 270_000_000_000
_NO_QUEUE_PACKETS: Final = 100_000
"""Frames under way where no queue is asked for: netem's own limit must not be met."""


def check(impairment: Impairment) -> None:
    """Raise `UnsupportedImpairmentError` for what netem would do differently or not at all."""

    def refuse(parameter: str, reason: str) -> None:
        raise UnsupportedImpairmentError(_NAME, parameter, reason)

    if impairment.burst is not None:
        refuse("burst", "its Gilbert-Elliott model goes by packets, not by time")
    if impairment.mtu:
        refuse("mtu", "it does not look at sizes")
    for parameter in ("delay", "jitter"):
        if getattr(impairment, f"{parameter}_ns") > _MAX_DELAY_NS:
            refuse(parameter, "tc has 32 bits for it")
    if impairment.rate_bps and (impairment.delay_ns or impairment.jitter_ns):
        refuse("rate", "with a delay its limit counts frames under way, not the queue")


def check_block(mode: BlockMode) -> None:
    """Raise `UnsupportedImpairmentError` for a queueing block."""
    if mode == "queue":
        raise UnsupportedImpairmentError(_NAME, "block queue", "it cannot hold and release frames")


def netem_arguments(interface: str, impairment: Impairment) -> list[str]:
    """Arguments of `tc`. All parameters every time: a change keeps what it does not name."""
    check(impairment)
    # Rate: the frame behind the queue is on the wire. Reordering without a delay changes nothing,
    # and netem refuses it.
    limit = impairment.queue + 1 if impairment.rate_bps else _NO_QUEUE_PACKETS
    reorder = impairment.reorder if impairment.delay_ns else 0.0
    return [
        *("qdisc", "replace", "dev", interface, "root", "handle", "1:", "netem"),
        *("limit", str(limit)),
        *("delay", _us(impairment.delay_ns), _us(impairment.jitter_ns)),
        *("loss", "random", _percent(impairment.loss)),
        *("duplicate", _percent(impairment.duplicate)),
        *("reorder", _percent(reorder)),
        *("corrupt", _percent(impairment.corrupt)),
        *("rate", f"{impairment.rate_bps}bit", str(-_ETHERNET_BYTES)),
    ]


def _us(duration_ns: int) -> str:
    return f"{duration_ns // 1000}.{duration_ns % 1000:03d}us"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.6f}%"


def ingress_arguments(interface: str) -> list[str]:
    """Arguments of `tc` that give an interface its place for filters."""
    return ["qdisc", "replace", "dev", interface, "clsact"]


def redirect_arguments(source: str, sink: str) -> list[str]:
    """Arguments of `tc` that let frames through."""
    return [
        *("filter", "replace", "dev", source, "ingress", "protocol", "all", "prio", "1"),
        *("handle", "800::1", "u32", "match", "u32", "0", "0"),
        *("action", "mirred", "egress", "redirect", "dev", sink),
    ]


def stop_arguments(source: str) -> list[str]:
    """Arguments of `tc` that end it."""
    return ["filter", "delete", "dev", source, "ingress", "protocol", "all", "prio", "1"]


def probe_script() -> str:
    """What a scratch namespace must accept, as a batch for `tc`."""
    everything = Impairment(delay_ns=1_000_000, jitter_ns=1000, loss=0.01, reorder=0.01)
    commands = [
        ingress_arguments("lo"),
        redirect_arguments("lo", "lo"),
        netem_arguments("lo", everything),
    ]
    return "".join(" ".join(command) + "\n" for command in commands)


def unavailable() -> str:
    """Why this host cannot run netem; empty if it can."""
    try:
        done = subprocess.run(
            ["unshare", "--net", "tc", "-batch", "-"],
            input=probe_script(),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        return f"no {error.filename}"
    except subprocess.TimeoutExpired:
        return f"tc did not answer within {_TIMEOUT_S:.0f} s"
    if done.returncode:
        first = (done.stderr or done.stdout).strip().splitlines()[:1]
        return first[0] if first else f"tc ended with status {done.returncode}"
    return ""


class NetemLink:
    """A link's middle; see `LinkMiddle`. Its randomness is the kernel's, not the plan's."""

    backend = _NAME

    def __init__(self, namespace_fd: int, interface_a: str, interface_b: str) -> None:
        self._namespace_fd = namespace_fd
        self._ends: dict[LinkDirection, tuple[str, str]] = {
            "forward": (interface_a, interface_b),
            "backward": (interface_b, interface_a),
        }
        self._blocked: set[LinkDirection] = set()

    def open(self, forward: Impairment, backward: Impairment) -> None:
        """Let frames through."""
        for impairment in (forward, backward):
            check(impairment)
        for interface in self._ends["forward"]:
            self._tc(ingress_arguments(interface))
        self.set("forward", forward)
        self.set("backward", backward)
        for source, sink in self._ends.values():
            self._tc(redirect_arguments(source, sink))

    def set(self, direction: LinkDirection, impairment: Impairment) -> None:
        """Replace the direction's impairment."""
        self._tc(netem_arguments(self._ends[direction][1], impairment))

    def block(self, direction: LinkDirection, mode: BlockMode, release: Release = "fifo") -> None:
        """Drop frames from now on."""
        check_block(mode)
        if direction not in self._blocked:
            self._tc(stop_arguments(self._ends[direction][0]))
            self._blocked.add(direction)

    def unblock(self, direction: LinkDirection, mode: BlockMode | None = None) -> None:
        """Let frames through again."""
        if mode != "queue" and direction in self._blocked:
            self._tc(redirect_arguments(*self._ends[direction]))
            self._blocked.remove(direction)

    def counters(self, direction: LinkDirection) -> Counters:
        """Frames so far; frames that met no filter were blocked."""
        source, sink = self._ends[direction]
        met = _of_kind(self._show(["qdisc", "show", "dev", source]), "clsact")
        left = _of_kind(self._show(["qdisc", "show", "dev", sink]), "netem")
        passed, lost, waiting = left["packets"], left["drops"], left["qlen"]
        received = met["packets"]
        return Counters(
            received=received,
            passed=passed,
            lost=lost,
            waiting=waiting,
            blocked=max(0, received - passed - lost - waiting),
        )

    def close(self) -> None:
        """Take filters and disciplines away from the interfaces that are still there."""
        with NetNamespace(self._namespace_fd).enter():
            present = {interface for _, interface in socket.if_nameindex()}
        for interface in self._ends["forward"]:
            if interface in present:
                for place in ("clsact", "root"):
                    self._tc(["qdisc", "delete", "dev", interface, place])

    def _show(self, arguments: list[str]) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = json.loads(self._tc(["-json", "-statistics", *arguments]))
        return shown

    def _tc(self, arguments: list[str]) -> str:
        command = [
            *("nsenter", f"--net=/proc/self/fd/{self._namespace_fd}"),
            *("tc", *arguments),
        ]
        try:
            done = subprocess.run(
                command,
                pass_fds=[self._namespace_fd],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackendError(f"netem: {error}") from None
        if done.returncode:
            raise BackendError(f"netem: tc {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def _of_kind(shown: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    found = [discipline for discipline in shown if discipline["kind"] == kind]
    if len(found) != 1:
        raise BackendError(f"netem: {len(found)} disciplines of kind {kind} where one was set")
    return found[0]


class Netem:
    """The kernel does the work; this only keeps the links."""

    def __init__(self) -> None:
        self._links: dict[str, tuple[NetemLink, NetNamespace]] = {}

    @property
    def name(self) -> BackendName:
        """As results name it."""
        return _NAME

    def add_link(
        self,
        name: str,
        namespace_fd: int,
        index_a: int,
        index_b: int,
        forward: Impairment,
        backward: Impairment,
    ) -> NetemLink:
        """Join two interfaces of a middle namespace; the descriptor is kept open as a copy."""
        if name in self._links:
            raise BackendError(f"netem: link {name} is there already")
        namespace = NetNamespace(os.dup(namespace_fd))
        try:
            with namespace.enter():
                interfaces = [socket.if_indextoname(index) for index in (index_a, index_b)]
            link = NetemLink(namespace.fd, *interfaces)
            link.open(forward, backward)
        except BaseException:
            namespace.close()
            raise
        self._links[name] = (link, namespace)
        return link

    def lateness(self, restart: bool = False) -> None:
        """The kernel does not tell."""

    def close(self) -> None:
        """Take everything away again."""
        links, self._links = list(self._links.values()), {}
        for link, namespace in links:
            with namespace:
                link.close()
