"""Choosing nodes and links of a topology by name, label, place or graph property.

A selector is resolved once per replication, before the run; the draw comes from the generator
the caller gives, so both engines meet the same targets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from x0mesh.scenarios.topology import Topology
from x0mesh.scenarios.units import parse_ratio

NodeGraph = Literal[
    "bridge",
    "cut-vertex",
    "highest-betweenness",
    "highest-degree",
    "lowest-degree",
    "leaf",
    "farthest",
]
LinkGraph = Literal["bridge", "not-bridge", "highest-betweenness"]
Pick = Annotated[
    int | str, Field(description="how many of the matches: a number, a percentage, or all")
]


class SelectorError(ValueError):
    """The selector is impossible in this topology; `selector` is what was written."""

    def __init__(self, message: str, selector: object = None) -> None:
        super().__init__(message)
        self.selector = selector


def _check_pick(pick: int | str | None) -> None:
    if isinstance(pick, bool) or (isinstance(pick, int) and pick < 1):
        raise ValueError(f"pick: expected a number of at least 1, a percentage or all, got {pick}")
    if isinstance(pick, str) and pick != "all" and parse_ratio(pick) == 0:
        raise ValueError("pick: 0% chooses nothing")


class NodeQuery(BaseModel):
    """Nodes that satisfy every condition written.

    `name` is a glob. `graph: bridge` are the ends of bridges. The ordering properties
    (highest-, lowest-, farthest) take the first `pick` in order, one unless said otherwise
    (farthest: the two ends); otherwise `pick` is drawn from the seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str | None = None
    region: str | None = None
    role: str | None = None
    label: dict[str, str] | None = Field(default=None, description="label: glob of its value")
    graph: NodeGraph | None = None
    exclude: list[NodeSelector] = Field(default_factory=list, alias="not")
    pick: Pick | None = None

    @model_validator(mode="after")
    def _sensible(self) -> NodeQuery:
        _check_pick(self.pick)
        return self


class LinkQuery(BaseModel):
    """Links that satisfy every condition written.

    `between` two node selectors (either way round), or "*" for every link. `region`: both ends
    in it. `highest-betweenness` takes the first `pick` in order, one unless said otherwise;
    otherwise `pick` is drawn from the seed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str | None = None
    between: Between | None = None
    region: str | None = None
    graph: LinkGraph | None = None
    exclude: list[LinkSelector] = Field(default_factory=list, alias="not")
    pick: Pick | None = None

    @model_validator(mode="after")
    def _sensible(self) -> LinkQuery:
        _check_pick(self.pick)
        return self


def _shape(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    return "list" if isinstance(value, list | tuple) else "query"


# A discriminator, so that a mistake is reported against the shape that was written only.
NodeSelector = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[NodeQuery, Tag("query")]
    | Annotated[list[str | NodeQuery], Tag("list")],
    Discriminator(_shape),
]
LinkSelector = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[LinkQuery, Tag("query")]
    | Annotated[list[str | LinkQuery], Tag("list")],
    Discriminator(_shape),
]
Between = Annotated[
    Annotated[Literal["*"], Tag("name")]
    | Annotated[tuple[NodeSelector, NodeSelector], Tag("list")],
    Discriminator(_shape),
]
GroupSelector = NodeSelector
"""A node selector, or the word `rest`: every node in no other group."""

NodeQuery.model_rebuild()
LinkQuery.model_rebuild()


def resolve_nodes(
    selector: NodeSelector,
    topology: Topology,
    random: np.random.Generator,
    *,
    bindings: Mapping[str, Sequence[str]] | None = None,
    never: Collection[str] = (),
    notes: list[str] | None = None,
) -> tuple[str, ...]:
    """Names of the chosen nodes, in topology order (ordering properties: in their order).

    `bindings` are the names that `@name` stands for, `never` the nodes that are chosen only when
    named outright. What was estimated is appended to `notes`. Raises SelectorError where nothing
    matches, a name is unknown, or fewer match than `pick` wants.
    """
    raise NotImplementedError


def resolve_links(
    selector: LinkSelector,
    topology: Topology,
    random: np.random.Generator,
    *,
    bindings: Mapping[str, Sequence[str]] | None = None,
    notes: list[str] | None = None,
) -> tuple[str, ...]:
    """Names of the chosen links; see `resolve_nodes`."""
    raise NotImplementedError


def resolve_groups(
    selectors: Sequence[GroupSelector],
    topology: Topology,
    random: np.random.Generator,
    *,
    bindings: Mapping[str, Sequence[str]] | None = None,
    never: Collection[str] = (),
    notes: list[str] | None = None,
) -> tuple[tuple[str, ...], ...]:
    """Groups of nodes; `rest` is every node in no other group, those of `never` included."""
    raise NotImplementedError
