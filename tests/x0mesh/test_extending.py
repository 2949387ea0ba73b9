"""docs/extending.md does what it says: its package is installed and its scenario is run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")


def snippet(language: str, which: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[which]


def entry_points(project: dict[str, Any]) -> str:
    groups = project["entry-points"]
    return "\n".join(
        f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in points.items())
        for group, points in groups.items()
    )


def install(home: Path, points: str, code: str) -> dict[str, str]:
    """A distribution on the path, as pip leaves one; the environment that has it."""
    info = home / "site" / "acme_mesh-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-mesh\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    (home / "site" / "acme_mesh.py").write_text(code)
    return {"PYTHONPATH": str(home / "site")}


@pytest.fixture
def acme(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "brownout.yaml").write_text(snippet("yaml"))
    project = tomllib.loads(snippet("toml"))["project"]
    return install(tmp_path, entry_points(project), snippet("python"))


def test_a_package_adds_to_every_registry(
    acme: dict[str, str], x0mesh: Any, tmp_path: Path
) -> None:
    done = x0mesh("run", "brownout.yaml", "--out", "out", cwd=tmp_path, env=acme)
    assert done.code == 0, done.out + done.err
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["metrics"]["acme.alarms"]["sim"]["n"] == 2
    checks = {check["id"]: check for check in found["checks"]}
    assert checks["few-alarms"]["verdict"] == checks["calm"]["verdict"] == "pass"
    assert checks["calm"]["n"] == 2
    (fault,) = found["faults"]
    assert (fault["kind"], fault["evidence"]) == ("acme.brownout", "confirmed")
    assert len(found["scenario"]["as_run"]["traffic"]) == 1
    again = x0mesh("analyze", "out", cwd=tmp_path, env=acme)
    assert again.code == 0, again.out + again.err
    schema = x0mesh("schema", cwd=tmp_path, env=acme)
    for kind in ("acme.brownout", "acme.calm", "acme.wheel", "acme.voice"):
        assert kind in schema.out
    page = x0mesh("list", "faults", "acme.brownout", cwd=tmp_path, env=acme).out
    assert re.search(r"loss +percentage, like 5% +default 20%", page)


def test_mistakes_in_an_addition_have_their_place(
    acme: dict[str, str], x0mesh: Any, tmp_path: Path
) -> None:
    text = (tmp_path / "brownout.yaml").read_text()
    (tmp_path / "brownout.yaml").write_text(
        text.replace("loss: 30%", "los: 30%").replace("nodes: 6", "nodes: 3")
    )
    done = x0mesh("validate", "brownout.yaml", cwd=tmp_path, env=acme)
    assert done.code == 2
    assert re.search(r"brownout\.yaml:9:\d+: .*unknown key 'los'; did you mean 'loss'", done.err)


@pytest.mark.parametrize(
    ("point", "wanted"),
    [
        ("acme.gone = acme_mesh:Missing", "AttributeError"),
        ("acme.gone = acme_nowhere:Missing", "No module named 'acme_nowhere'"),
        ("link.down = acme_mesh:Fault", "the name is taken"),
        ("acme.other = acme_mesh:Brownout", "its kind is 'acme.brownout'"),
    ],
)
def test_an_addition_that_cannot_be_used_is_named(
    point: str, wanted: str, x0mesh: Any, tmp_path: Path
) -> None:
    env = install(tmp_path, f"[x0mesh.faults]\n{point}\n", snippet("python"))
    done = x0mesh("list", "faults", cwd=tmp_path, env=env)
    assert done.code == 4
    name = point.split(" ")[0]
    assert done.err.startswith(f"cannot run: x0mesh.faults: entry point '{name}' of acme-mesh (")
    assert wanted in done.err
    assert len(done.err.splitlines()) == 1


def test_the_python_example_runs(small: Path, tmp_path: Path, x0mesh: Any) -> None:
    (tmp_path / "quickstart.yaml").write_text(small.read_text())
    done = subprocess.run(
        [sys.executable, "-c", snippet("python", 1)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.fullmatch(r"pass 0\.\d+\n", done.stdout), done.stderr


def test_importing_x0mesh_costs_nothing() -> None:
    code = (
        "import sys, x0mesh, x0mesh.cli\n"
        "heavy = {'numpy', 'scipy', 'pandas', 'pyarrow', 'matplotlib', 'pydantic', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print(callable(x0mesh.judge), [n for n in x0mesh.__all__ if not hasattr(x0mesh, n)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nTrue []\n"
