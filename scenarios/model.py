"""A scenario: every section of the file with its defaults.

Only `schema`, `name` and `topology` are required. `loader.load` makes a Scenario from a file and
tells it where it came from.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SerializeAsAny,
    WithJsonSchema,
    field_validator,
)

from x0mesh.scenarios.checks import AbortIf, Check, SteadyState, check_of
from x0mesh.scenarios.fields import ENGINES, Engines, Name, Positive, Section, Slug, Whole
from x0mesh.scenarios.plan import EngineName, IdentityPlan
from x0mesh.scenarios.problems import Problem
from x0mesh.scenarios.protocol_section import Protocol
from x0mesh.scenarios.timeline import TimelineEntry
from x0mesh.scenarios.topology_section import TopologySection
from x0mesh.scenarios.traffic import Traffic, traffic_of
from x0mesh.scenarios.units import PERCENTAGE, Duration, Ratio, parse_ratio
from x0mesh.scenarios.yaml_reader import Positions

SCHEMA = "x0mesh.scenario/1"
CONVERGED_ABOVE_NODES = 300
"""Meshes larger than this start converged unless the scenario says otherwise."""

MAX_RUN_NS = 30 * 24 * 3600 * 10**9

Replications = Annotated[Whole, Field(le=1_000_000)]
Phase = Annotated[Duration, Field(le=MAX_RUN_NS)]


class Seeds(Section):
    """Replication i of either engine has seed `base` + i and gets the same Plan."""

    base: Annotated[Whole, Field(le=2**53)] = 1
    sim: Replications = 20
    emulation: Replications = 3

    def count(self, engine: EngineName) -> int:
        return self.sim if engine == "sim" else self.emulation


class TimeLimit(Section):
    """Wall clock per replication."""

    sim: Duration | None = None
    emulation: Duration | None = None


class Run(Section):
    """Phases and replications.

    `chaos` None: to the last fault's end and five seconds more (`schedule.chaos_ns`). `start`
    None: cold up to CONVERGED_ABOVE_NODES nodes, converged above; `routes` None: all, or in-use
    above as many.
    """

    warmup: Phase = 6_000_000_000
    chaos: Phase | None = None
    settle: Phase = 5_000_000_000
    seeds: Seeds = Seeds()
    start: Literal["cold", "converged"] | None = None
    routes: Literal["all", "in-use"] | None = None
    time_limit: TimeLimit = TimeLimit()

    def routes_for(self, nodes: int) -> Literal["all", "in-use"]:
        return self.routes or ("in-use" if nodes > CONVERGED_ABOVE_NODES else "all")

    def start_for(self, nodes: int) -> Literal["cold", "converged"]:
        return self.start or ("converged" if nodes > CONVERGED_ABOVE_NODES else "cold")


class Authority(Section):
    """The node at which the certificate authority is reached; None: reachable everywhere."""

    node: Name | None = None


class Svid(Section):
    """Life of an SVID; it is renewed at `rotate_at` of it, give or take `rotate_jitter`."""

    ttl: Annotated[Duration, Field(gt=0)] = 3_600_000_000_000
    rotate_at: Annotated[Ratio, Field(gt=0, lt=1)] = 0.5
    rotate_jitter: Annotated[Ratio, Field(lt=1)] = 0.1


class Revocation(Section):
    """How revocation spreads, and what a node does that cannot learn of it."""

    crl_interval: Annotated[Duration, Field(gt=0)] = 5_000_000_000
    on_unreachable: Literal["fail-closed", "fail-open"] = "fail-closed"


class Identity(Section):
    """Zero-trust identity of the mesh; the embedded authority unless a later section says else."""

    trust_domain: Annotated[str, Field(pattern=r"^[a-z0-9._-]{1,255}$")] = "mesh.test"
    ca: Authority = Authority()
    svid: Svid = Svid()
    revocation: Revocation = Revocation()

    def plan(self) -> IdentityPlan:
        return IdentityPlan(self.trust_domain, self.svid.ttl)


class DataPlane(Section):
    xdp: Literal["auto", "native", "generic", "off"] = "auto"


def _share_or_count(value: Any) -> Any:
    if isinstance(value, str):
        return parse_ratio(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a number or a percentage, got {value!r}")
    return value


ShareOrCount = Annotated[
    int | float,
    BeforeValidator(_share_or_count),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": PERCENTAGE}]}
    ),
]
"""An int is a count, a float a share in 0..1."""


class MaxBlast(Section):
    """How much faults may hit at once."""

    nodes: ShareOrCount | None = None
    links: ShareOrCount | None = None
    simultaneous: Positive | None = None


class Safety(Section):
    """When to stop, how much may be hit, and which nodes only a fault that names them may hit."""

    abort_if: tuple[AbortIf, ...] = ()
    max_blast: MaxBlast = MaxBlast()
    never: tuple[Name, ...] = ()


class Report(Section):
    """What is kept beside the result."""

    keep: tuple[Literal["events", "pcap-on-fail"], ...] = ("events",)


def _both_if_missing(value: tuple[EngineName, ...]) -> tuple[EngineName, ...]:
    return tuple(engine for engine in ENGINES if engine in value)


class Scenario(Section):
    """One scenario as it will run: parameters are in place, defaults filled.

    `source`, `base_dir`, `import_dir`, `raw` and `sha256` say where it came from.
    """

    schema_: Literal["x0mesh.scenario/1"] = Field(alias="schema")
    name: Slug
    title: str = ""
    tags: tuple[Slug, ...] = ()
    engines: Annotated[Engines, AfterValidator(_both_if_missing)] = ENGINES
    params: dict[str, Any] = Field(default_factory=dict)
    run: Run = Run()
    topology: TopologySection
    identity: Identity = Identity()
    dataplane: DataPlane = DataPlane()
    protocol: Protocol = Protocol()
    traffic: tuple[Annotated[SerializeAsAny[Traffic], BeforeValidator(traffic_of)], ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    steady_state: tuple[SteadyState, ...] = ()
    checks: tuple[Annotated[SerializeAsAny[Check], BeforeValidator(check_of)], ...] = ()
    safety: Safety = Safety()
    report: Report = Report()

    _source: str = PrivateAttr("")
    _base_dir: Path = PrivateAttr(default_factory=Path)
    _import_dir: Path = PrivateAttr(default_factory=Path)
    _raw: dict[str, Any] = PrivateAttr(default_factory=dict)
    _positions: Positions = PrivateAttr(default_factory=lambda: Positions(""))

    @field_validator("schema_", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        if value != SCHEMA:
            raise ValueError(f"this version reads '{SCHEMA}', not {value!r}")
        return value

    @property
    def source(self) -> str:
        """The file as it was named, or '' for one made in memory."""
        return self._source

    @property
    def base_dir(self) -> Path:
        """Files the scenario names are relative to this folder."""
        return self._base_dir

    @property
    def import_dir(self) -> Path:
        """`topology.import` is relative to this: the working directory when --set gave it."""
        return self._import_dir

    @property
    def raw(self) -> dict[str, Any]:
        """The file's content as run: after --set and parameters, without defaults."""
        return self._raw

    @property
    def sha256(self) -> str:
        """Of `raw` as canonical JSON: key order, comments and layout do not count."""
        text = json.dumps(self._raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def placed(
        self,
        raw: dict[str, Any],
        source: str,
        base_dir: Path,
        import_dir: Path,
        positions: Positions,
    ) -> Scenario:
        """This scenario, knowing where it came from."""
        self._raw, self._source, self._positions = raw, source, positions
        self._base_dir, self._import_dir = base_dir, import_dir
        return self

    def problem(self, path: tuple[str | int, ...], message: str, key: bool = False) -> Problem:
        """A mistake at `path` (or its key) with its place in the file, for later stages."""
        return self._positions.problem(path, message, key)

    def engines_of(self, item: Check | TimelineEntry) -> tuple[EngineName, ...]:
        """Engines of the scenario on which this check or fault counts."""
        own = item.engines or ENGINES
        if isinstance(item, TimelineEntry):
            own = tuple(engine for engine in own if engine in item.with_.engines)
        return tuple(engine for engine in self.engines if engine in own)
