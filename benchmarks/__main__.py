"""`python -m benchmarks [NAME..]`: measure, print tables, write JSON and Markdown."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from benchmarks import outcome
from benchmarks.catalogue import BENCHMARKS
from benchmarks.comparison import Comparison, compare

OUT = Path(__file__).parent / "out"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--quick", is_flag=True, help="Small sizes and few repetitions: a first look.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=False)
def main(names: tuple[str, ...], quick: bool, out: Path) -> None:
    """Measure the named benchmarks, or all; exit 1 if a requirement is missed."""
    console = Console()
    console.print(outcome.machine())
    comparisons: list[Comparison] = []
    for name in names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        for size in benchmark.quick if quick else benchmark.sizes:
            with console.status(name) as status:
                comparison = compare(benchmark, size, status.update)
            comparisons.append(comparison)
            outcome.show(comparison, console)
            outcome.write(comparisons, out)
    console.print(f"written to {out / 'results.md'} and {out / 'results.json'}")
    sys.exit(any(comparison.misses for comparison in comparisons))


if __name__ == "__main__":
    main()
