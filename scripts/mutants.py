"""Breaks the code on purpose, one line of tests/mutants.toml at a time, and wants a test to fail.

Each mutant is applied in a scratch copy of the files git knows. First every named test must pass
there unchanged; then, with the change, the one named beside it must fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "mutants.toml"
TIMEOUT_S = 300
FAILED = 1  # pytest: tests were run and some failed


@dataclass(frozen=True, slots=True)
class Mutant:
    """Replace the only occurrence of `find` in `file`; `test` must then fail."""

    name: str
    file: str
    find: str
    replace: str
    test: str


def load() -> list[Mutant]:
    """Rows of the table; a row whose text is not found exactly once is an error."""
    mutants = [Mutant(**row) for row in tomllib.loads(TABLE.read_text())["mutant"]]
    for mutant in mutants:
        count = (ROOT / mutant.file).read_text().count(mutant.find)
        if count != 1:
            sys.exit(f"mutants: {mutant.name}: its text occurs {count} times in {mutant.file}")
    return mutants


def copy_tree(target: Path) -> None:
    """The files git knows, links kept as links."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if name and (source.exists() or source.is_symlink()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)


def run_tests(tree: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def killed(mutant: Mutant, scratch: Path) -> str | None:
    """None if the test failed as it should, else what happened instead."""
    tree = Path(tempfile.mkdtemp(dir=scratch))
    copy_tree(tree)
    file = tree / mutant.file
    file.write_text(file.read_text().replace(mutant.find, mutant.replace))
    try:
        code = run_tests(tree, [mutant.test]).returncode
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s"
    finally:
        shutil.rmtree(tree)
    return None if code == FAILED else f"survived: pytest ended with {code}"


def main() -> int:
    chosen = sys.argv[1:]
    mutants = [m for m in load() if not chosen or any(word in m.name for word in chosen)]
    scratch = Path(tempfile.mkdtemp(prefix="x0mesh-mutants-"))
    try:
        baseline = scratch / "baseline"
        copy_tree(baseline)
        tests = sorted({m.test for m in mutants})
        before = run_tests(baseline, tests)
        if before.returncode != 0:
            print(before.stdout[-3000:])
            print("mutants: the tests fail without any mutant")
            return 1
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            outcomes = list(pool.map(lambda m: killed(m, scratch), mutants))
    finally:
        shutil.rmtree(scratch)
    for mutant, outcome in zip(mutants, outcomes, strict=True):
        print(f"{outcome or 'killed':<10} {mutant.name}  ({mutant.test.rpartition('::')[2]})")
    survivors = sum(outcome is not None for outcome in outcomes)
    print(f"mutants: {len(mutants) - survivors} killed, {survivors} survived")
    return 1 if survivors or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
