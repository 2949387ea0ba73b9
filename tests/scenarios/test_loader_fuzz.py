"""Whatever becomes of a valid file, loading it gives a Scenario or a ScenarioError."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.scenarios.loader import loads
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.problems import ScenarioError
from x0mesh.scenarios.yaml_reader import read_yaml

TEXT = (Path(__file__).parent / "examples" / "full.yaml").read_text()
RAW: dict[str, Any] = read_yaml(TEXT.encode(), "full.yaml")[0]

JUNK = st.sampled_from(
    [None, True, 0, -1, 3.5, 2**70, "", "5s", "-5s", "5%", "x", "@x", "*", "${size}", "${", "n0",
     [], ["x"], [[]], {}, {"kind": "ring"}, {"not": 1}, {"id": "cut"}, "cut.ended", "sim"]
)  # fmt: skip


def outcome(content: bytes | str) -> Scenario | ScenarioError:
    try:
        return loads(content, "f.yaml")
    except ScenarioError as error:
        return error


def is_expected(result: Scenario | ScenarioError) -> bool:
    if isinstance(result, Scenario):
        return bool(result.sha256)
    return bool(result.problems) and all(p.line >= 1 and p.message for p in result.problems)


def containers(value: Any) -> list[Any]:
    inside = value.values() if isinstance(value, dict) else value
    found = [value]
    for item in inside:
        if isinstance(item, dict | list) and item:
            found += containers(item)
    return found


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.lists(JUNK, min_size=1, max_size=4))
def test_values_replaced_removed_or_moved(seed: int, junk: list[Any]) -> None:
    data = json.loads(json.dumps(RAW))
    draw = random.Random(seed)
    for item in map(copy.deepcopy, junk):
        here = draw.choice(containers(data))
        key: Any = draw.choice(list(here)) if isinstance(here, dict) else draw.randrange(len(here))
        action = draw.randrange(4)
        if action == 0 and len(here) > 1:
            del here[key]
        elif action == 1 and isinstance(here, dict):
            here[str(item)[:20]] = here[key]
        elif action == 2:
            here[key] = json.loads(json.dumps(draw.choice(containers(data))))
        else:
            here[key] = item
    assert is_expected(outcome(json.dumps(data)))


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.integers(0, len(TEXT)),
    st.integers(0, 40),
    st.text(alphabet="ab:-[]{}&*!<'\"#|>%@`,?$ \n\t~0.\x00é", max_size=6),
)
def test_text_cut_out_and_put_in(at: int, cut: int, put: str) -> None:
    assert is_expected(outcome(TEXT[:at] + put + TEXT[at + cut :]))


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(0, len(TEXT)))
def test_a_truncated_file(length: int) -> None:
    assert is_expected(outcome(TEXT[:length]))


def test_the_same_mistakes_come_in_the_same_order() -> None:
    data = {**RAW, "nmae": 1, "timeline": [{}], "checks": 5, "run": {"warmup": 1, "x": 2}}
    first, second = (outcome(json.dumps(data)) for _ in range(2))
    assert isinstance(first, ScenarioError)
    assert str(first) == str(second)
