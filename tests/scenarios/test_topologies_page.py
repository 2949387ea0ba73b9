"""docs/topologies.md: its snippets work and nothing is missing from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from x0mesh.scenarios.assemble import assemble
from x0mesh.scenarios.generators import GENERATORS
from x0mesh.scenarios.imports import FORMATS
from x0mesh.scenarios.topology_section import TopologySection

PAGE = (Path(__file__).parents[2] / "docs" / "topologies.md").read_text("utf-8")
SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_snippet_is_a_valid_section(snippet: str) -> None:
    section = TopologySection.model_validate(yaml.safe_load(snippet))
    if section.import_ is None or section.import_.startswith("topohub:"):
        assert assemble(section).nodes


def test_every_generator_and_format_has_its_line() -> None:
    for name in [*GENERATORS, *FORMATS]:
        assert f"| `{name}` |" in PAGE


def test_every_parameter_of_a_generator_is_named() -> None:
    for name in GENERATORS:
        (line,) = re.findall(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
        for parameter in GENERATORS[name].model_fields:
            assert parameter == "seed" or f"`{parameter}`" in line
