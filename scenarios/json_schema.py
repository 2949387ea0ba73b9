"""The JSON Schema of the scenario language, for editors: made from the models and registries.

`x0mesh schema` prints it with the faults, checks, generators and traffic of installed packages;
`schema/scenario-1.schema.json` is the one of this package alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from x0mesh.scenarios.checks import CHECKS, Check
from x0mesh.scenarios.faults import FAULTS, Fault
from x0mesh.scenarios.generators import GENERATORS, TopologyGenerator
from x0mesh.scenarios.model import SCHEMA, Scenario
from x0mesh.scenarios.timeline import TimelineEntry
from x0mesh.scenarios.topology_section import NodeSpec
from x0mesh.scenarios.traffic import TRAFFIC, Traffic

Schema = dict[str, Any]

_PARAMETER = "scenario-parameter"
_MAPS = ("properties", "$defs")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "propertyNames")
_NO_KEYWORDS = ("title", "gt", "ge", "lt", "le")
"""What pydantic writes and no editor needs: bounds of quantities are not those of their text."""


def json_schema() -> Schema:
    """JSON Schema (draft 2020-12) of a scenario file."""
    models: list[type[BaseModel]] = [Scenario, TimelineEntry, NodeSpec]
    models += [Fault, Check, TopologyGenerator, Traffic]
    models += [FAULTS[name] for name in FAULTS] + [CHECKS[name] for name in CHECKS]
    models += [GENERATORS[name] for name in GENERATORS] + [TRAFFIC[name] for name in TRAFFIC]
    refs, made = models_json_schema([(model, "validation") for model in models])
    ref: dict[type[BaseModel], Schema] = {
        model: dict(refs[model, "validation"]) for model in models
    }
    defs: dict[str, Schema] = {name: _plain(schema) for name, schema in made["$defs"].items()}

    def of(model: type[BaseModel]) -> str:
        return str(ref[model]["$ref"]).removeprefix("#/$defs/")

    for kind in GENERATORS:
        schema = defs[of(GENERATORS[kind])]
        schema["properties"] = {"kind": {"const": kind}, **schema["properties"]}
        schema["required"] = ["kind", *schema.get("required", [])]
    defs[of(Check)] = _by_word("kind", ((kind, ref[model]) for kind, model in CHECKS.items()))
    defs[of(Traffic)] = _by_word("kind", ((kind, ref[model]) for kind, model in TRAFFIC.items()))
    defs[of(TopologyGenerator)] = _by_word(
        "kind", ((kind, ref[model]) for kind, model in GENERATORS.items())
    )
    defs[of(TimelineEntry)] = _timeline_entry(
        defs[of(TimelineEntry)],
        {
            kind: (model, ref[model], bool(defs[of(model)].get("required")))
            for kind, model in FAULTS.items()
        },
    )
    del defs[of(Fault)]
    # `nodes: {a: , b: }` in block style leaves the value out.
    defs[of(NodeSpec)]["type"] = ["object", "null"]
    defs[_PARAMETER] = {
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_-]*\}",
        "description": "a parameter of the scenario, put in by its name",
    }
    root = defs.pop(of(Scenario))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':')}",
        "title": "x0mesh scenario",
        **root,
        "$defs": dict(sorted(defs.items())),
    }


def json_schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


def _by_word(word: str, choices: Iterable[tuple[str, Schema]]) -> Schema:
    """An object whose `word` says which schema holds, so that editors complain about that one."""
    listed = list(choices)
    return {
        "type": "object",
        "required": [word],
        "properties": {word: {"enum": [name for name, _ in listed]}},
        "allOf": [{"if": _is(word, name), "then": schema} for name, schema in listed],
    }


def _is(word: str, name: str) -> Schema:
    return {"required": [word], "properties": {word: {"const": name}}}


def _timeline_entry(
    schema: Schema, faults: Mapping[str, tuple[type[Fault], Schema, bool]]
) -> Schema:
    cases = []
    for kind, (model, ref, with_needed) in faults.items():
        then: Schema = {"properties": {"with": ref}}
        if model.permanent:
            then["not"] = {"required": ["for"]}
        needed = ["with"] if with_needed else []
        needed += ["target"] if model.target != "none" else []
        if needed:
            then["required"] = needed
        cases.append({"if": _is("fault", kind), "then": then})
    schema["properties"]["fault"] = {"enum": list(faults)}
    schema["properties"]["with"] = {"description": "the fault's parameters"}
    schema["required"] = [word for word in schema["required"] if word != "with"]
    starts = [{"required": [word]} for word in ("at", "after", "when")]
    return {**schema, "oneOf": starts, "allOf": cases}


def _plain(schema: Any) -> Any:
    """Without what editors do not need, and with `${name}` wherever a single value may stand."""
    if not isinstance(schema, dict):
        return schema
    made: Schema = {}
    for word, value in schema.items():
        if word in _MAPS:
            made[word] = {name: _open(_plain(inner)) for name, inner in value.items()}
        elif word in _LISTS:
            made[word] = [_plain(inner) for inner in value]
        elif word in _SINGLE:
            plain = _plain(value)
            made[word] = plain if word == "propertyNames" else _open(plain)
        elif word == "default":
            if isinstance(value, bool | str) and value != "" and "pattern" not in schema:
                made[word] = value
        elif word not in _NO_KEYWORDS:
            made[word] = value
    return made


def _open(schema: Any) -> Any:
    """The schema, or a parameter in its place."""
    if not isinstance(schema, dict) or "const" in schema:
        return schema
    parameter = {"$ref": f"#/$defs/{_PARAMETER}"}
    if "anyOf" in schema and any(_is_leaf(inner) for inner in schema["anyOf"]):
        return {**schema, "anyOf": [*schema["anyOf"], parameter]}
    if not _is_leaf(schema):
        return schema
    kept = {word: schema[word] for word in ("description", "default") if word in schema}
    leaf = {word: value for word, value in schema.items() if word not in kept}
    return {**kept, "anyOf": [leaf, parameter]}


def _is_leaf(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if schema.get("type") in ("integer", "number", "boolean"):
        return True
    return schema.get("type") == "string" and ("pattern" in schema or "enum" in schema)
