"""Which keys may stand at a place of the file, to say what an unknown one may have meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from x0mesh.scenarios.checks import CHECKS, Check
from x0mesh.scenarios.faults import FAULTS, Fault
from x0mesh.scenarios.generators import GENERATORS, TopologyGenerator
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.registry import did_you_mean
from x0mesh.scenarios.traffic import TRAFFIC, Traffic
from x0mesh.scenarios.yaml_reader import Path

_BY_WORD: tuple[tuple[type[BaseModel], str, Any], ...] = (
    (Check, "kind", CHECKS),
    (Traffic, "kind", TRAFFIC),
    (TopologyGenerator, "kind", GENERATORS),
)


def key_hint(raw: Any, path: Path) -> str:
    """'; did you mean ...?' for the unknown key at the end of `path`, or nothing."""
    models: list[type[BaseModel]] = [Scenario]
    here, around = raw, raw
    for step in path[:-1]:
        here, around = here[step], here
        inner = [
            found
            for model in models
            for name, spec in model.model_fields.items()
            if step == (spec.alias or name)
            for found in _models_in((spec.annotation, *spec.metadata))
        ]
        # A list's number or a mapping's own name is no field: what it holds has the same models.
        models = [_registered(model, here, around) for model in inner or models]
    known = [spec.alias or n for model in models for n, spec in model.model_fields.items()]
    if any(issubclass(model, TopologyGenerator) for model in models):
        known.append("kind")
    return did_you_mean(str(path[-1]), known)


def _models_in(annotations: tuple[Any, ...]) -> Iterator[type[BaseModel]]:
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        else:
            yield from _models_in(get_args(annotation))


def _registered(model: type[BaseModel], here: Any, around: Any) -> type[BaseModel]:
    """The class that the entry's own `kind` or `fault` names, for a model read by a registry."""
    if model is Fault and isinstance(around, Mapping) and around.get("fault") in FAULTS:
        return FAULTS[around["fault"]]
    for base, word, registry in _BY_WORD:
        if model is base and isinstance(here, Mapping) and here.get(word) in registry:
            found: type[BaseModel] = registry[here[word]]
            return found
    return model
