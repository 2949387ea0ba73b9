"""The wheel installs `x0mesh` and nothing else, beside a user's folders of the same names."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("mesh", "identity", "scenarios", "bpf", "sim", "emulation", "reports")


def command(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(w) for w in words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh venv with the wheel made from the sdist; only dependencies come from outside."""
    built = tmp_path_factory.mktemp("dist")
    command(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", built, str(ROOT), cwd=built
    )
    assert len(list(built.glob("*.tar.gz"))) == 1
    (wheel,) = built.glob("*.whl")
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=True, symlinks=True)
    python = home / "bin" / "python"
    site = Path(
        command(
            python, "-c", "import sysconfig as s; print(s.get_path('purelib'))", cwd=home
        ).strip()
    )
    # Path entries named by a .pth file are not searched for further .pth files, so the editable
    # install of the environment that runs this test stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    return home


def test_only_x0mesh_is_installed(installed: Path) -> None:
    (site,) = installed.glob("lib/python3*/site-packages")
    names = {p.name for p in site.iterdir()}
    assert "x0mesh" in names
    assert not names & set(ROOMS)
    for room in ROOMS:
        assert (site / "x0mesh" / room / "__init__.py").is_file()
        assert not (site / "x0mesh" / room).is_symlink()


def test_a_project_with_the_same_names_runs_its_own_suite(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "sim.py").write_text("MINE = True\n")
    for folder in ("reports", "scenarios", "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("MINE = True\n")
    (tmp_path / "tests" / "test_mine.py").write_text(
        "import sim, reports, scenarios, tests\n"
        "import x0mesh.sim, x0mesh.reports, x0mesh.scenarios\n\n"
        "def test_names():\n"
        "    assert sim.MINE and reports.MINE and scenarios.MINE and tests.MINE\n"
        f"    assert x0mesh.sim.__file__.startswith({str(installed)!r})\n"
    )
    out = command(installed / "bin" / "python", "-m", "pytest", "-q", cwd=tmp_path)
    assert "1 passed" in out


def test_the_command_knows_the_library_by_name(installed: Path, tmp_path: Path) -> None:
    out = command(installed / "bin" / "x0mesh", "validate", "quickstart", cwd=tmp_path)
    assert "ok" in out
    assert list(tmp_path.iterdir()) == []
