"""The `topology:` section: where nodes and links come from, and what is laid over them.

Exactly one source: a generator, an import, or nodes and links written inline. Then regions,
overrides of nodes, additions and link profiles, in that order (`assemble.py` does it).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from x0mesh.scenarios.fields import Name, Positive, Section, mistakes
from x0mesh.scenarios.generators import GENERATORS, TopologyGenerator
from x0mesh.scenarios.link_conditions import LinkConditions
from x0mesh.scenarios.schema_forms import OrForm
from x0mesh.scenarios.selectors import Between


def generator_of(value: Any) -> Any:
    """The registered generator that a mapping of the file describes, by its `kind`."""
    if isinstance(value, TopologyGenerator):
        return value
    if not isinstance(value, dict):
        raise ValueError("expected a generator: {kind: ..., nodes: ...}")
    kind = value.get("kind")
    if kind is None:
        raise ValueError(f"kind is missing; one of {', '.join(GENERATORS)}")
    if not isinstance(kind, str) or kind not in GENERATORS:
        text = f"unknown generator '{kind}'{GENERATORS.hint(str(kind))}"
        raise mistakes(value, (("kind",), text))
    return GENERATORS[kind].model_validate({k: v for k, v in value.items() if k != "kind"})


class LinkProfile(LinkConditions):
    """What a link does to packets and its routing cost; what is not written stays as it was."""

    cost: Annotated[Positive, Field(le=65535)] | None = None


def _profile(value: Any) -> Any:
    return LinkProfile.model_validate(value) if isinstance(value, dict) else value


ProfileOrName = Annotated[str | LinkProfile, BeforeValidator(_profile)]
"""The name of an entry of `profiles`, or a profile written in place."""


class NodeSpec(Section):
    """A node's place and part; what is not written stays as the source has it."""

    region: Name | None = None
    role: Name | None = None
    labels: dict[Name, str] = Field(default_factory=dict)
    position: tuple[float, float] | None = None


class LinkSpec(LinkProfile):
    """A link from `endpoints[0]` to `endpoints[1]`, which is its forward direction.

    Its own words are stronger than its `profile`, and both than `link_profiles`; `forward` and
    `backward` are for one direction and the strongest.
    """

    endpoints: tuple[Name, Name]
    name: Name | None = None
    profile: ProfileOrName | None = None
    forward: LinkProfile | None = None
    backward: LinkProfile | None = None

    @model_validator(mode="after")
    def _two_ends(self) -> LinkSpec:
        if self.endpoints[0] == self.endpoints[1]:
            text = f"a link needs two different ends, got '{self.endpoints[0]}' twice"
            raise mistakes(self, (("endpoints",), text))
        return self


def _by_name(value: Any) -> Any:
    if isinstance(value, list):
        names: dict[str, Any] = {name: {} for name in value if isinstance(name, str)}
        if len(names) != len(value):
            raise ValueError("expected each node's name once, as text")
        return names
    if isinstance(value, dict):
        return {name: {} if spec is None else spec for name, spec in value.items()}
    return value


Nodes = Annotated[
    dict[Name, NodeSpec],
    BeforeValidator(_by_name),
    OrForm(lambda: {"type": "array", "items": {"type": "string"}}),
]
"""Name to NodeSpec; a plain list of names will do."""


class Regions(Section):
    """Gives every node a region.

    round-robin: in node order, one name after the other. blocks: consecutive nodes, equal
    shares. position: equal shares from west to east. label: the value of the node's label
    `label`, which must be one of `names` where these are given.
    """

    names: tuple[Name, ...] = ()
    assign: Literal["round-robin", "blocks", "position", "label"] = "round-robin"
    label: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Regions:
        if (self.assign == "label") != (self.label is not None):
            raise ValueError("assign: label goes with label: NAME, and only with it")
        if self.assign != "label" and not self.names:
            raise ValueError(f"assign: {self.assign} needs names")
        if len(set(self.names)) != len(self.names):
            raise mistakes(self, (("names",), "the same region name stands here twice"))
        return self


class Addition(Section):
    """New nodes, each of which needs a link, and new links."""

    nodes: Nodes = Field(default_factory=dict)
    links: tuple[LinkSpec, ...] = ()


class LinkProfileRule(Section):
    """Gives a profile to the links it matches; of several rules the last that matches counts."""

    between: Between
    profile: ProfileOrName


class TopologySection(Section):
    """`nodes` and `links` are the network itself when there is no generator and no import; with
    one, `nodes` overrides nodes that exist and new links go under `add`."""

    generator: (
        Annotated[SerializeAsAny[TopologyGenerator], BeforeValidator(generator_of)] | None
    ) = None
    import_: Annotated[str, Field(min_length=1)] | None = Field(None, alias="import")
    format: str | None = Field(None, description="of the imported file; default: detected")
    nodes: Nodes = Field(default_factory=dict)
    links: tuple[LinkSpec, ...] = ()
    regions: Regions | None = None
    add: Addition = Addition()
    link_profiles: tuple[LinkProfileRule, ...] = ()
    profiles: dict[Name, LinkProfile] = Field(default_factory=dict)

    @property
    def inline(self) -> bool:
        return self.generator is None and self.import_ is None

    @model_validator(mode="after")
    def _one_source(self) -> TopologySection:
        found: list[tuple[tuple[str | int, ...], str]] = []
        if self.generator is not None and self.import_ is not None:
            found.append((("import",), "generator and import are both given; keep one"))
        if self.inline and not self.nodes:
            found.append(((), "no nodes: give a generator, an import, or nodes and links"))
        if not self.inline and self.links:
            text = "links beside a generator or an import belong under add: {links: [...]}"
            found.append((("links",), text))
        if self.format is not None and self.import_ is None:
            found.append((("format",), "format goes with import only"))
        if found:
            raise mistakes(self, *found)
        return self
