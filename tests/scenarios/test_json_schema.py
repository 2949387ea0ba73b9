"""The committed JSON Schema is the models', and agrees with the loader on real files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from x0mesh.scenarios.checks import CHECKS
from x0mesh.scenarios.faults import FAULTS
from x0mesh.scenarios.generators import GENERATORS
from x0mesh.scenarios.json_schema import json_schema, json_schema_text
from x0mesh.scenarios.traffic import TRAFFIC
from x0mesh.scenarios.yaml_reader import read_yaml

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "scenarios" / "schema" / "scenario-1.schema.json"
SHARED = Path(os.environ.get("X0MESH_SHARED", ROOT.parent / "shared"))

FIVE_LINES = """\
schema: x0mesh.scenario/1
name: link-cut
topology: {import: "topohub:sndlib/germany50"}
timeline: [{id: cut, at: 2s, for: 5s, fault: link.down, target: {links: {pick: 1}}}]
checks: [{id: heals, kind: within, metric: heal.time, limit: 500ms}]
"""


def complaints(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema())
    data = read_yaml(text.encode(), "f.yaml")[0]
    return [".".join(map(str, e.absolute_path)) for e in validator.iter_errors(data)]


def test_the_committed_schema_is_up_to_date() -> None:
    assert COMMITTED.read_text() == json_schema_text(), "write it again: x0mesh schema"


def test_it_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(COMMITTED.read_text()))


def test_every_registered_thing_is_there_with_its_words_and_its_description() -> None:
    defs = json_schema()["$defs"]
    for registry in (FAULTS, CHECKS, GENERATORS, TRAFFIC):
        for model in (registry[name] for name in registry):
            made = defs[model.__name__]
            assert made["description"]
            words = {field.alias or name for name, field in model.model_fields.items()}
            assert words <= set(made.get("properties", {})), model


def test_five_lines_are_valid() -> None:
    assert complaints(FIVE_LINES) == []


def test_an_example_with_every_section_and_parameters_is_valid() -> None:
    text = (Path(__file__).parent / "examples" / "full.yaml").read_text()
    assert complaints(text) == []


@pytest.mark.skipif(
    not (SHARED / "scenario-example.yaml").exists(), reason="no worked example beside the checkout"
)
def test_the_worked_example_is_valid() -> None:
    assert complaints((SHARED / "scenario-example.yaml").read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("name: link-cut", "nam: link-cut", ""),
        ("2s", "2", "timeline.0.at"),
        ("link.down", "link.dwn", "timeline.0.fault"),
        ("{pick: 1}", "{pik: 1}", "timeline.0.target.links"),
        ("link.down", "link.down, with: {x: 1}", "timeline.0.with"),
        ("link.down", "net.mtu", "timeline.0"),
        ("at: 2s, ", "", "timeline.0"),
        ("heal.time", "heal.tme", "checks.0.metric"),
        ("within", "witin", "checks.0.kind"),
        ("limit", "limt", "checks.0"),
        ("{import", "{generator: {kind: ring}, import", "topology.generator"),
    ],
)
def test_an_editor_marks_the_mistake(old: str, new: str, place: str) -> None:
    assert place in complaints(FIVE_LINES.replace(old, new, 1))


def test_defaults_are_values_a_file_could_have() -> None:
    def walk(schema: Any) -> None:
        if isinstance(schema, list):
            for item in schema:
                walk(item)
        if isinstance(schema, dict):
            if "default" in schema and ("type" in schema or "anyOf" in schema):
                local = {**schema, "$defs": json_schema_defs}
                jsonschema.Draft202012Validator(local).validate(schema["default"])
            for inner in schema.values():
                walk(inner)

    json_schema_defs = json_schema()["$defs"]
    walk(json_schema_defs)
