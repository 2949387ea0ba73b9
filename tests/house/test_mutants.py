"""The table of mutants stays applicable: `make mutants` then shows that each is killed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())["mutant"]


@pytest.mark.parametrize("row", MUTANTS, ids=lambda row: row["name"])
def test_a_mutant_changes_one_place_and_names_a_test(row: dict[str, str]) -> None:
    assert (ROOT / row["file"]).read_text().count(row["find"]) == 1
    assert row["find"] != row["replace"]
    file, _, name = row["test"].partition("::")
    assert f"def {name}(" in (ROOT / file).read_text()
