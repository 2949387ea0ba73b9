"""Faults of the kernel data plane. The language knows them; no engine runs them yet."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from x0mesh.scenarios.faults.base import Fault, TargetKind, fault
from x0mesh.scenarios.plan import EngineName
from x0mesh.scenarios.units import Duration, Ratio

MapName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,14}$")]


class XdpFault(Fault):
    """Common to the family: kernel programs exist in the emulation only."""

    target: ClassVar[TargetKind] = "nodes"
    engines: ClassVar[tuple[EngineName, ...]] = ("emulation",)
    available: ClassVar[bool] = False


@fault
class XdpReject(XdpFault):
    """The kernel's verifier rejects the program the nodes load next."""

    kind: ClassVar[str] = "xdp.reject"


@fault
class XdpDetach(XdpFault):
    """The program is detached from the nodes' interfaces."""

    kind: ClassVar[str] = "xdp.detach"


@fault
class XdpMapFull(XdpFault):
    """`share` of the map's entries are taken."""

    kind: ClassVar[str] = "xdp.map_full"

    map: MapName
    share: Ratio = 1.0


@fault
class XdpAbort(XdpFault):
    """The program returns XDP_ABORTED for `share` of the packets."""

    kind: ClassVar[str] = "xdp.abort"

    share: Ratio = 1.0


@fault
class XdpSlow(XdpFault):
    """The program spends `delay` on each packet."""

    kind: ClassVar[str] = "xdp.slow"

    delay: Duration
