"""YAML 1.2 core values with their places, and no surprises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x0mesh.scenarios.problems import ScenarioError
from x0mesh.scenarios.yaml_reader import MAX_BYTES, read_yaml


def value_of(text: str) -> Any:
    value, _, problems = read_yaml(text.encode(), "f.yaml")
    assert problems == []
    return value


def complaints(content: bytes) -> list[str]:
    try:
        _, _, problems = read_yaml(content, "f.yaml")
    except ScenarioError as error:
        problems = error.problems
    return [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("-3", -3),
        ("+2.5e3", 2500.0),
        (".5", 0.5),
        ("TRUE", True),
        ("tRue", "tRue"),
        ("~", None),
        ("Null", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("5%", "5%"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    read = value_of(f"key: {text}")["key"]
    assert read == value
    assert type(read) is type(value)


def test_keys_are_the_text_that_was_written() -> None:
    assert value_of("{1: a, true: b, null: c}") == {"1": "a", "true": "b", "null": "c"}


def test_every_key_and_value_has_its_place() -> None:
    _, positions, _ = read_yaml(b"a:\n  - {b: 1}\n  - c\n", "f.yaml")
    assert positions.of(("a", 0, "b")) == ("f.yaml", 2, 9)
    assert positions.of(("a", 0, "b"), key=True) == ("f.yaml", 2, 6)
    assert positions.of(("a", 1)) == ("f.yaml", 3, 5)
    # What is not written stands where its mapping stands.
    assert positions.of(("a", 0, "missing")) == ("f.yaml", 2, 5)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "f.yaml:1:1: the file is empty"),
        (b"# nothing\n", "f.yaml:1:1: the file is empty"),
        (b"a: 1\nb: \xff\xfe\n", "f.yaml:2:4: not a text file in UTF-8: byte 0xff here"),
        (b"\x7fELF\x00\x01", "f.yaml:1:5: not a text file in UTF-8: a NUL byte here"),
        (b"a: b\x01", "f.yaml:1:5: not YAML: control characters are not allowed"),
        (b"a: 1\nb: 2\na: 3\n", "f.yaml:3:1: duplicate key 'a', first on line 1"),
        (b"a: &x 1", "f.yaml:1:4: a: anchors (&x) and aliases are not supported; use params"),
        (b"a: 1\n<<: {b: 2}", "f.yaml:2:1: merge keys (<<) are not supported; use params"),
        (
            b"a: !!python/name:os.system x",
            "f.yaml:1:4: a: tags (tag:yaml.org,2002:python/name:os.system) are not supported; "
            "quote text instead",
        ),
        (b"a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document; one scenario a file"),
        (b"[a, b]: 1", "f.yaml:1:1: a key must be text"),
        (b"a: .inf", "f.yaml:1:4: a: expected a finite number, got .inf"),
        (b"a: 1e999", "f.yaml:1:4: a: the number 1e999 is too large"),
        (b"a: " + b"9" * 5000, "f.yaml:1:4: a: a number of 5000 characters is too long"),
        (b"[" * 3000, "f.yaml:1:41: nested deeper than 40 levels"),
        (b"a: *nowhere", "f.yaml:1:4: a: aliases (*nowhere) are not supported; use params"),
    ],
)
def test_what_is_no_scenario_text_is_named_with_its_place(content: bytes, complaint: str) -> None:
    assert complaints(content) == [complaint]


def test_a_truncated_file_says_where_the_open_thing_began() -> None:
    (complaint,) = complaints(b"name: x\ntopology: {generator: {kind: ring,\n")
    assert complaint.startswith("f.yaml:3:1: not YAML: ")
    assert complaint.endswith("; the file ends inside what begins on line 2")


def test_mistakes_do_not_hide_each_other() -> None:
    found = complaints(b"a: &x 1\nb: !t 2\nb: .nan\n")
    assert [text.split(": ")[0] for text in found] == ["f.yaml:1:4", "f.yaml:2:4", "f.yaml:3:1",
                                                       "f.yaml:3:4"]  # fmt: skip


def test_a_billion_laughs_stay_a_handful_of_complaints() -> None:
    lines = [b"a0: &a0 lol"]
    lines += [b"a%d: &a%d [%s]" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 10)]
    assert len(complaints(b"\n".join(lines))) == 10 + 9 * 9


def test_a_huge_file_is_refused_with_the_limit() -> None:
    (complaint,) = complaints(b"# " + b"x" * MAX_BYTES)
    assert complaint.endswith("a scenario has at most 1048576 (1 MiB)")


@settings(derandomize=True, max_examples=300)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode(errors="ignore")))
def test_any_bytes_are_a_value_or_a_scenario_error(content: bytes) -> None:
    places = [complaint.split(":")[1:3] for complaint in complaints(content)]
    assert all(int(line) >= 1 and int(column) >= 1 for line, column in places)


@settings(derandomize=True, max_examples=300)
@given(st.text(alphabet="ab:-[]{}&*!<'\"#|>%@`,? \n\t~0.e", max_size=60))
def test_any_yaml_signs_are_a_value_or_a_scenario_error(text: str) -> None:
    assert all(complaint.startswith("f.yaml:") for complaint in complaints(text.encode()))
