"""What stands in the middle of an emulated link: one interface, and the choice of a backend.

A backend moves the frames of a link from one end to the other inside the link's own namespace,
and does to them what the plan's impairments and faults ask. What it cannot do, it refuses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from x0mesh.scenarios.actions import LinkBlock, LinkImpair
from x0mesh.scenarios.impairment import Impairment
from x0mesh.scenarios.plan import Plan

BackendName = Literal["netem", "delay-line"]
LinkDirection = Literal["forward", "backward"]
"""Of a link's plan entry: forward is from end `a` to end `b`."""
BlockMode = Literal["drop", "queue"]
Release = Literal["fifo", "lifo", "shuffle"]

BACKENDS: Final[tuple[BackendName, ...]] = ("netem", "delay-line")
"""In order of preference."""


class BackendError(Exception):
    """A backend could not be started or does not answer."""


class UnsupportedImpairmentError(Exception):
    """A backend cannot do this; never approximated in silence."""

    def __init__(self, backend: str, parameter: str, reason: str) -> None:
        super().__init__(f"{backend} cannot do `{parameter}`: {reason}")
        self.backend = backend
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Counters:
    """Frames of one direction since the link was added.

    Where a backend sees everything, received + duplicated = passed + dropped + waiting + held.
    Netem tells neither overflow nor oversize from `lost`, and counts no duplicates or damage.
    """

    received: int = 0
    passed: int = 0
    lost: int = 0
    oversized: int = 0
    overflowed: int = 0
    blocked: int = 0
    """Dropped by a block, or under way when carrier was lost."""
    refused: int = 0
    """Not accepted by the interface towards the receiver."""
    withheld: int = 0
    """Ever held by a queueing block; `held` are there now."""
    held: int = 0
    waiting: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0
    missed: int = 0
    """Lost by the kernel before the backend saw them: a host too busy, not an impairment."""

    @property
    def dropped(self) -> int:
        """Frames that will not arrive."""
        return self.lost + self.oversized + self.overflowed + self.blocked + self.refused


@dataclass(frozen=True, slots=True)
class Lateness:
    """How much later than due frames left the middle; `count` frames, quantiles within 7 %."""

    count: int
    p50_ns: int
    p99_ns: int
    max_ns: int


class LinkMiddle(Protocol):
    """The middle of one link. Every method returns after the change has taken effect."""

    @property
    def backend(self) -> str:
        """Name of the backend."""
        ...

    def set(self, direction: LinkDirection, impairment: Impairment) -> None:
        """Replace the direction's impairment; frames already under way keep their times.

        Raises `UnsupportedImpairmentError`, and then the direction is as before.
        """
        ...

    def block(self, direction: LinkDirection, mode: BlockMode, release: Release = "fifo") -> None:
        """Drop or hold frames from now on; the carrier stays. Both modes can be on: drop wins."""
        ...

    def unblock(self, direction: LinkDirection, mode: BlockMode | None = None) -> None:
        """End one mode of blocking (None: both); frames held then go on in `release` order."""
        ...

    def counters(self, direction: LinkDirection) -> Counters:
        """Frames so far."""
        ...


class Backend(Protocol):
    """Serves the impaired links of one run."""

    @property
    def name(self) -> BackendName:
        """As results name it."""
        ...

    def add_link(
        self,
        name: str,
        namespace_fd: int,
        index_a: int,
        index_b: int,
        forward: Impairment,
        backward: Impairment,
    ) -> LinkMiddle:
        """Join two interfaces of a middle namespace; `index_a` faces the link's end `a`.

        Both are to be operational before traffic: a link that has only just got carrier drops
        frames, which then count as passed. The namespace is to hold nothing else.
        """
        ...

    def lateness(self, restart: bool = False) -> Lateness | None:
        """Since the last restart, over all links; None where the kernel does not tell."""
        ...

    def close(self) -> None:
        """Stop forwarding and leave nothing behind but the interfaces."""
        ...


def needs(plan: Plan) -> tuple[list[Impairment], set[BlockMode]]:
    """What a run may ask of any one direction at once: every impairment of a link on top of each
    other, which is the most a backend can be asked for."""
    most = {
        (link.name, direction): impairment
        for link in plan.links
        for direction, impairment in (("forward", link.forward), ("backward", link.backward))
    }
    modes: set[BlockMode] = set()
    for fault in plan.faults:
        for step in fault.steps:
            action = step.action
            if isinstance(action, LinkBlock):
                modes.add(action.mode)
            elif isinstance(action, LinkImpair):
                for direction in ("forward", "backward"):
                    if action.direction in (direction, "both"):
                        key = (action.link, direction)
                        most[key] = most[key].over(action.impairment)
    return list(dict.fromkeys(most.values())), modes


def unavailable(name: BackendName) -> str:
    """Why this host cannot run the backend; empty if it can. Probes in a namespace of its own."""
    if name == "netem":
        from x0mesh.emulation.impairments import netem

        return netem.unavailable()
    from x0mesh.emulation.impairments import delay_line

    return delay_line.unavailable()


def choose_backend(
    impairments: Iterable[Impairment] = (), modes: Iterable[BlockMode] = ()
) -> BackendName:
    """The first backend that this host has and that can do all of this.

    Raises `BackendError` with every backend's reason if there is none.
    """
    wanted = list(impairments)
    wanted_modes = set(modes)
    reasons: list[str] = []
    for name in BACKENDS:
        reason = _cannot(name, wanted, wanted_modes) or unavailable(name)
        if not reason:
            return name
        reasons.append(f"{name}: {reason}")
    raise BackendError("no impairment backend: " + "; ".join(reasons))


def _cannot(name: BackendName, impairments: list[Impairment], modes: set[BlockMode]) -> str:
    if name != "netem":
        return ""
    from x0mesh.emulation.impairments import netem

    try:
        for impairment in impairments:
            netem.check(impairment)
        for mode in sorted(modes):
            netem.check_block(mode)
    except UnsupportedImpairmentError as error:
        return str(error)
    return ""


def open_backend(name: BackendName, seed: int) -> Backend:
    """Start a backend for one run; `seed` is the plan's."""
    if name == "netem":
        from x0mesh.emulation.impairments.netem import Netem

        return Netem()
    from x0mesh.emulation.impairments.delay_line import DelayLine

    return DelayLine(seed)
