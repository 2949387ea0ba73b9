"""Parameters, --set and --sweep put values in; nothing is evaluated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.scenarios.loader import expand_sweep, loads, parse_sets
from x0mesh.scenarios.parameters import parse_value
from x0mesh.scenarios.problems import ScenarioError

BASE = """\
schema: x0mesh.scenario/1
name: x
params: {size: 6, loss: 2%, who: me}
topology:
  generator: {kind: ring, nodes: "${size}"}
  link_profiles: [{between: "*", profile: {loss: "${loss}"}}]
title: for ${who} with ${size} nodes, $${who} stays
timeline:
  - {id: cut, at: 2s, for: 5s, fault: link.down, target: {links: {pick: 1}}}
"""


def problems(text: str, sets: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        loads(text, "f.yaml", sets=sets)
    return [str(problem) for problem in caught.value.problems]


def nodes(sets: dict[str, str]) -> int:
    generator = loads(BASE, sets=sets).topology.generator
    assert generator is not None
    count: int = generator.model_dump()["nodes"]
    return count


def test_a_whole_value_keeps_its_type_and_text_takes_parameters_inside() -> None:
    scenario = loads(BASE)
    assert nodes({}) == 6
    assert scenario.title == "for me with 6 nodes, ${who} stays"
    assert scenario.raw["params"] == {"size": 6, "loss": "2%", "who": "me"}


def test_set_changes_a_parameter_or_a_path() -> None:
    assert nodes({"size": "9"}) == 9
    scenario = loads(
        BASE,
        sets={
            "run.seeds.sim": "5",
            "timeline.cut.for": "1s",
            "timeline.0.at": "3s",
            "tags": "[a, b]",
            "title": "'7'",
            "protocol.liveness.adaptive": "false",
        },
    )
    assert scenario.run.seeds.sim == 5
    assert (scenario.timeline[0].for_, scenario.timeline[0].at) == (10**9, 3 * 10**9)
    assert scenario.tags == ("a", "b")
    assert scenario.title == "7"
    assert scenario.protocol.liveness.adaptive is False


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ({"siz": "7"}, "--set siz=7:1:1: no parameter or section 'siz'; did you mean 'size'?"),
        (
            {"timeline.cutt.for": "1s"},
            "--set timeline.cutt.for=1s:1:1: no entry 'cutt' in timeline; did you mean 'cut'?",
        ),
        ({"name.first": "x"}, "--set name.first=x:1:1: name is no mapping or list"),
        (
            {"run.seds.sim": "5"},
            "--set run.seds.sim=5:1:1: run.seds: unknown key 'seds'; did you mean 'seeds'?",
        ),
        (
            {"run.warmup": "5"},
            "--set run.warmup=5:1:1: run.warmup: expected a duration such as '250ms' or '5s', "
            "got 5",
        ),
        (
            {"size": "two"},
            "f.yaml:5:34: topology.generator.nodes: expected a whole number, got 'two' "
            "(parameter size = 'two')",
        ),
        (
            {"tags": "[a"},
            "--set tags=[a:2:1: not YAML: did not find expected ',' or ']' (while parsing a flow "
            "sequence begun on line 1); the file ends inside what begins on line 1",
        ),
        ({"size": ".inf"}, "--set size=.inf:1:1: expected a finite number, got .inf"),
    ],
)
def test_a_wrong_set_names_itself(sets: dict[str, str], expected: str) -> None:
    assert problems(BASE, sets) == [expected]


@pytest.mark.parametrize(
    ("params", "title", "expected"),
    [
        ("a: 1", "${b} ${a}", "f.yaml:5:8: title: unknown parameter 'b'; did you mean 'a'?"),
        ("a: 1", "${a} ${a", "f.yaml:5:8: title: '${' without its '}'"),
        ("a: '${a}'", "${a}", "f.yaml:4:13: params.a: a parameter cannot refer to another one"),
        ("a: [1]", "x ${a}", "f.yaml:5:8: title: parameter 'a' is no single value, so it cannot "
         "stand inside text"),
        ("1a: 1", "${1a}", "f.yaml:4:10: params.1a: '1a' is no parameter name: letters, digits, "
         "_ and -"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_has_its_place(params: str, title: str, expected: str) -> None:
    text = (
        "schema: x0mesh.scenario/1\nname: x\ntopology: {generator: {kind: ring, nodes: 3}}\n"
        f"params: {{{params}}}\ntitle: '{title}'\n"
    )
    assert problems(text)[0].replace("; did you mean 'a'?", "") == expected.replace(
        "; did you mean 'a'?", ""
    )


def test_long_text_cannot_be_grown_by_parameters() -> None:
    text = (
        "schema: x0mesh.scenario/1\nname: x\ntopology: {generator: {kind: ring, nodes: 3}}\n"
        f"params: {{a: {'x' * 1000}}}\ntitle: '{'${a}' * 1000}'\n"
    )
    assert "longer than 4096 characters" in problems(text)[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16", 16),
        ("2%", "2%"),
        ("true", True),
        ("", None),
        ("topohub:sndlib/germany50", "topohub:sndlib/germany50"),
        ("@traitor", "@traitor"),
        ("*", "*"),
        ("a: b # c", "a: b # c"),
        ("'16'", "16"),
        ("[1, a]", [1, "a"]),
        ("{region: eu, pick: 1}", {"region": "eu", "pick": 1}),
    ],
)
def test_values_on_the_command_line_are_scalars_or_flow_yaml(text: str, value: Any) -> None:
    assert parse_value(text, "--set") == value


def test_sets_are_key_equals_value_once_each() -> None:
    assert parse_sets(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(ScenarioError):
            parse_sets(wrong)


def test_a_sweep_is_every_combination() -> None:
    assert expand_sweep([]) == [{}]
    assert expand_sweep(["a=1,2", "b=x,[y,z]"]) == [
        {"a": "1", "b": "x"},
        {"a": "1", "b": "[y,z]"},
        {"a": "2", "b": "x"},
        {"a": "2", "b": "[y,z]"},
    ]


@pytest.mark.parametrize(
    ("sweeps", "says"),
    [
        (["a"], "expected key=value,value"),
        (["a=1,,2"], "expected key=value,value"),
        (["a=1,1"], "the same value stands here twice"),
        (["a=1", "a=2"], "is swept twice"),
        ([f"{k}={','.join(map(str, range(40)))}" for k in "abc"], "64000 combinations"),
    ],
)
def test_a_wrong_sweep_says_so(sweeps: list[str], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        expand_sweep(sweeps)


@settings(derandomize=True, max_examples=200)
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_set_is_a_scenario_or_a_scenario_error(key: str, value: str) -> None:
    for name in (key, "size", f"timeline.{key}", f"topology.{key}.{key}"):
        try:
            loads(BASE, sets={name: value})
        except ScenarioError as error:
            found = error.problems
            assert found, name
