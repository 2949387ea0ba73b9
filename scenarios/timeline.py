"""The `timeline:` section: which fault, on what, when, for how long."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from x0mesh.scenarios.checks import LiveMetricName, Quantity
from x0mesh.scenarios.faults import FAULTS, Fault
from x0mesh.scenarios.fields import Engines, FaultEdge, Op, Section, Slug, mistakes
from x0mesh.scenarios.selectors import GroupSelector, LinkSelector, NodeSelector
from x0mesh.scenarios.units import Duration, Ratio


class Target(Section):
    """What a fault acts on: exactly one of nodes, links, groups."""

    nodes: NodeSelector | None = None
    links: LinkSelector | None = None
    groups: Annotated[tuple[GroupSelector, ...], Field(min_length=1)] | None = None

    @property
    def given(self) -> tuple[str, ...]:
        words = ("nodes", "links", "groups")
        return tuple(word for word in words if getattr(self, word) is not None)


class AfterEvent(Section):
    """`delay` after another fault started or ended."""

    event: FaultEdge
    delay: Duration = 0


class WhenState(Section):
    """Once the live metric satisfies the condition, looked at from `after` (default: the start
    of chaos) until `give_up` later."""

    metric: LiveMetricName
    op: Op
    value: Quantity
    after: FaultEdge | None = None
    give_up: Annotated[Duration, Field(gt=0)]


class _Parameters:
    """What stood under `with:`, on its way to the fault's class."""

    def __init__(self, kind: Any, given: Any) -> None:
        self.kind = kind
        self.given = given


class TimelineEntry(Section):
    """One fault of the schedule. `with_` is an instance of the fault's own class.

    `for_` None: undone at the end of chaos. `as_` names the chosen nodes for `@name`.
    """

    id: Slug
    fault: str
    at: Duration | None = None
    after: AfterEvent | None = None
    when: WhenState | None = None
    for_: Annotated[Duration, Field(gt=0)] | None = Field(None, alias="for")
    target: Target = Target()
    with_: SerializeAsAny[Fault] = Field(alias="with")
    prob: Ratio = 1.0
    engines: Engines | None = None
    reason: str = ""
    as_: Slug | None = Field(None, alias="as")

    @field_validator("fault")
    @classmethod
    def _in_catalogue(cls, value: str) -> str:
        if value not in FAULTS:
            raise ValueError(f"unknown fault '{value}'{FAULTS.hint(value)}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _announce_parameters(cls, value: Any) -> Any:
        if not isinstance(value, dict) or isinstance(value.get("with"), Fault):
            return value
        return {**value, "with": _Parameters(value.get("fault"), value.get("with"))}

    @field_validator("with_", mode="before")
    @classmethod
    def _read_parameters(cls, value: Any) -> Any:
        if not isinstance(value, _Parameters):
            return value
        if not isinstance(value.kind, str) or value.kind not in FAULTS:
            # The unknown fault is reported where it stands.
            return Fault()
        return FAULTS[value.kind].model_validate({} if value.given is None else value.given)

    @field_validator("prob")
    @classmethod
    def _may_happen(cls, value: float) -> float:
        if value == 0:
            raise ValueError("a fault with prob 0% never happens; leave it out")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> TimelineEntry:
        found: list[tuple[tuple[str | int, ...], str]] = []
        starts = [w for w in ("at", "after", "when") if getattr(self, w) is not None]
        if len(starts) != 1:
            text = (
                f"exactly one of at / after / when is needed, got {' and '.join(starts) or 'none'}"
            )
            found.append((tuple(starts[1:2]), text))
        kind = type(self.with_)
        if self.with_.lasting and self.for_ is not None:
            found.append((("for",), f"{self.fault} cannot be undone, so it takes no for:"))
        if self.engines is not None:
            wider = [e for e in self.engines if e not in kind.engines]
            if wider:
                text = f"{self.fault} does not run on {', '.join(wider)}"
                found.append((("engines",), text))
            if not self.reason:
                text = "engines narrows the fault, so reason: is needed (it is printed as the skip)"
                found.append((("engines",), text))
        found += self._target_mistakes(kind)
        if found:
            raise mistakes(self, *found)
        return self

    def _target_mistakes(self, kind: type[Fault]) -> list[tuple[tuple[str | int, ...], str]]:
        allowed = () if kind.target == "none" else tuple(kind.target.split(" or "))
        given = self.target.given
        if not allowed:
            return [(("target",), f"{self.fault} takes no target")] if given else []
        wrong = [word for word in given if word not in allowed]
        if wrong or len(given) != 1:
            where: tuple[str | int, ...] = ("target", wrong[0]) if wrong else ("target",)
            return [(where, f"{self.fault} needs a target of {kind.target}")]
        return []
