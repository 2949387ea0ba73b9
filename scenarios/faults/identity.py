"""Faults of identity, trust and time. The language knows them; no engine runs them yet."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from x0mesh.scenarios.faults.base import Fault, TargetKind, fault
from x0mesh.scenarios.plan import EngineName
from x0mesh.scenarios.units import Duration, Ratio, parse_duration


def _signed_duration(value: Any) -> int:
    if isinstance(value, str) and re.match(r"^[+-]\s*\d", value):
        size = parse_duration(value[1:].strip())
        return -size if value[0] == "-" else size
    return parse_duration(value)


SignedDuration = Annotated[
    int,
    BeforeValidator(_signed_duration),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[+-]?\s*\d+(?:\.\d+)?\s*(?:ns|us|ms|s|m|h)$",
            "examples": ["-30m"],
        }
    ),
]


class IdentityFault(Fault):
    """Common to the family: not run by any engine yet."""

    target: ClassVar[TargetKind] = "nodes"
    available: ClassVar[bool] = False


@fault
class IdentityCaOutage(IdentityFault):
    """The authority does not answer (full) or answers each request after `delay` (slow)."""

    kind: ClassVar[str] = "identity.ca_outage"
    target: ClassVar[TargetKind] = "none"

    mode: Literal["full", "slow"] = "full"
    delay: Duration | None = None

    @model_validator(mode="after")
    def _slow_has_delay(self) -> IdentityCaOutage:
        if (self.mode == "slow") != (self.delay is not None):
            raise ValueError("delay goes with mode: slow, and only with it")
        return self


@fault
class IdentitySvidExpiry(IdentityFault):
    """The nodes' SVIDs run out, `early` before their time, and are not renewed meanwhile."""

    kind: ClassVar[str] = "identity.svid_expiry"

    early: Duration | None = None


@fault
class IdentityRotationStorm(IdentityFault):
    """`share` of the nodes renew their SVIDs within `window`."""

    kind: ClassVar[str] = "identity.rotation_storm"

    share: Ratio = 1.0
    window: Duration = 0


@fault
class IdentityRevoke(IdentityFault):
    """The nodes' SVIDs are revoked. Permanent: revocation is not taken back.

    `withhold` is the share of nodes the new CRL does not reach while the run lasts.
    """

    kind: ClassVar[str] = "identity.revoke"
    permanent: ClassVar[bool] = True

    lag: Duration = 0
    withhold: Ratio = 0.0


@fault
class IdentityBundleSkew(IdentityFault):
    """The nodes keep an old trust bundle."""

    kind: ClassVar[str] = "identity.bundle_skew"


@fault
class IdentityKeyCompromise(IdentityFault):
    """A second node appears with a copy of the chosen node's SVID and key."""

    kind: ClassVar[str] = "identity.key_compromise"


@fault
class ClockSkew(IdentityFault):
    """The nodes' wall clocks are off by `offset` and run `drift_ppm` parts per million fast."""

    kind: ClassVar[str] = "clock.skew"

    offset: SignedDuration = 0
    drift_ppm: Annotated[float, Field(strict=True, ge=-1e5, le=1e5, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _is_off(self) -> ClockSkew:
        if self.offset == 0 and self.drift_ppm == 0:
            raise ValueError("changes nothing: give offset or drift_ppm")
        return self


@fault
class PeerRogue(IdentityFault):
    """A stranger with a credential that must be refused asks the nodes for an adjacency."""

    kind: ClassVar[str] = "peer.rogue"

    credential: Literal[
        "self-signed",
        "wrong-trust-domain",
        "expired",
        "wrong-san",
        "no-uri",
        "two-uris",
        "unknown-ca",
    ]


@fault
class TlsDowngrade(IdentityFault):
    """The nodes' clients offer less than the mesh demands."""

    kind: ClassVar[str] = "tls.downgrade"
    engines: ClassVar[tuple[EngineName, ...]] = ("emulation",)

    offer: Literal["tls1.2", "weak-suite", "no-client-certificate", "early-data"] = "tls1.2"
