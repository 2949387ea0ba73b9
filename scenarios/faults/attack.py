"""Attackers inside and beside the mesh. The language knows them; no engine runs them yet."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from x0mesh.scenarios.faults.base import Fault, TargetKind, fault
from x0mesh.scenarios.plan import EngineName
from x0mesh.scenarios.units import Duration, EventRate, Ratio

Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class AttackFault(Fault):
    """Common to the family: not run by any engine yet. Targets are where the attacker sits."""

    target: ClassVar[TargetKind] = "nodes"
    available: ClassVar[bool] = False


@fault
class AttackReplay(AttackFault):
    """What the node sent during `capture` is sent again, `rate` times a second."""

    kind: ClassVar[str] = "attack.replay"
    engines: ClassVar[tuple[EngineName, ...]] = ("emulation",)

    capture: Duration = 2_000_000_000
    rate: EventRate = 100.0


@fault
class AttackSpoof(AttackFault):
    """Packets with a forged source, `rate` a second."""

    kind: ClassVar[str] = "attack.spoof"

    forge: Literal["address", "identity", "keep-alive"] = "address"
    rate: EventRate = 100.0


@fault
class AttackRoutePoison(AttackFault):
    """The node floods advertisements that lie about links, costs or sequence numbers."""

    kind: ClassVar[str] = "attack.route_poison"

    lie: Literal["cost", "link", "sequence", "origin"] = "cost"


@fault
class AttackBlackhole(AttackFault):
    """The node takes part in the protocol and drops all transit packets."""

    kind: ClassVar[str] = "attack.blackhole"


@fault
class AttackGreyhole(AttackFault):
    """The node takes part in the protocol and drops a share of transit packets."""

    kind: ClassVar[str] = "attack.greyhole"

    share: Ratio = 0.5


@fault
class AttackSybil(AttackFault):
    """The node appears under `identities` names."""

    kind: ClassVar[str] = "attack.sybil"

    identities: Annotated[int, Field(strict=True, ge=2, le=1000)] = 10


@fault
class AttackWormhole(AttackFault):
    """Two nodes tunnel packets to each other and pretend to be neighbours."""

    kind: ClassVar[str] = "attack.wormhole"


@fault
class AttackFlood(AttackFault):
    """The node sends `rate` packets a second of one kind to its neighbours, at most `count`."""

    kind: ClassVar[str] = "attack.flood"

    what: Literal["syn", "udp", "handshake", "keep-alive"] = "udp"
    rate: EventRate = 1000.0
    count: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 100_000


@fault
class AttackMalformed(AttackFault):
    """The node sends `rate` malformed messages a second, made from `seed`."""

    kind: ClassVar[str] = "attack.malformed"

    rate: EventRate = 10.0
    seed: Seed = 0
