"""Registries hold our items and those that other packages bring by entry point."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from x0mesh.scenarios.registry import Registry, did_you_mean

PLUGIN = '''
from typing import ClassVar, Literal

from x0mesh.scenarios.checks import Check
from x0mesh.scenarios.faults import Fault
from x0mesh.scenarios.metrics import MetricSpec


class Reboot(Fault):
    """Reboots a rack."""

    kind: ClassVar[str] = "acme.reboot"
    target: ClassVar = "nodes"

    force: bool = False


class Calm(Check):
    """Nobody shouts."""

    kind: Literal["acme.calm"]


NOISE = MetricSpec("count", "replication", "how loud it was")
ITEMS = ["from elsewhere"]
'''

ENTRY_POINTS = """
[x0mesh.faults]
acme.reboot = acme_faults:Reboot

[x0mesh.checks]
acme.calm = acme_faults:Calm

[x0mesh.metrics]
acme.noise = acme_faults:NOISE

[x0mesh.test-items]
acme.items = acme_faults:ITEMS
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution `acme` on the path."""
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "acme_faults.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_faults", raising=False)


def test_items_come_in_the_order_of_registration_and_once() -> None:
    registry: Registry[int] = Registry("x0mesh.test-none")
    registry.add("second", 2)
    registry.add("first", 1)
    assert list(registry) == ["second", "first"]
    assert registry["first"] == 1
    assert "third" not in registry
    with pytest.raises(ValueError, match="registered twice"):
        registry.add("first", 3)


def test_a_hint_names_the_closest_item() -> None:
    assert did_you_mean("heal.tme", ["heal.time", "detect.time"]) == ("; did you mean 'heal.time'?")
    assert did_you_mean("zzz", ["heal.time"]) == ""


@pytest.mark.usefixtures("installed")
def test_an_entry_point_joins_the_registry() -> None:
    registry: Registry[list[str]] = Registry("x0mesh.test-items")
    registry.add("ours", ["ours"])
    assert list(registry) == ["ours", "acme.items"]
    assert registry["acme.items"] == ["from elsewhere"]


@pytest.mark.usefixtures("installed")
def test_a_scenario_uses_another_packages_fault_check_and_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from x0mesh.scenarios.checks import CHECKS
    from x0mesh.scenarios.faults import FAULTS
    from x0mesh.scenarios.loader import json_schema, loads
    from x0mesh.scenarios.metrics import METRICS

    for registry in (FAULTS, CHECKS, METRICS):
        monkeypatch.setattr(registry, "_loaded", False)
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    scenario = loads(
        """
        schema: x0mesh.scenario/1
        name: plugin
        topology: {generator: {kind: ring, nodes: 4}}
        timeline:
          - {id: boot, at: 1s, for: 1s, fault: acme.reboot, target: {nodes: n1},
             with: {force: true}}
        checks:
          - {id: calm, kind: acme.calm}
          - {id: quiet, kind: within, metric: acme.noise, limit: 3}
        """
    )
    assert scenario.timeline[0].with_.model_dump() == {"force": True}
    assert [check.kind for check in scenario.checks] == ["acme.calm", "within"]
    assert "Reboot" in json_schema()["$defs"]
