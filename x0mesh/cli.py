"""The command line: one word per thing a user wants, exit codes as documented.

Exit codes: 0 pass, 1 a check failed, 2 usage or invalid scenario, 3 inconclusive, 4 this host
cannot run it, 5 nothing selected, 6 undo failed, 7 aborted by safety, 70 internal error,
130/143 stopped by a signal.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from x0mesh import __version__, library, run_folder
from x0mesh.scenarios.problems import ScenarioError

USAGE = 2
CANNOT_RUN = 4
NOTHING_SELECTED = 5
INTERNAL = 70


class Exit(click.exceptions.Exit):
    """Ends the program with this code, after what was to be said has been said."""


def complain(message: str, code: int = USAGE) -> Exit:
    """Print one error on stderr and return the Exit to raise."""
    click.echo(message, err=True)
    return Exit(code)


class _Commands(click.Group):
    """Commands in the order a user meets them; scenario errors become exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ScenarioError as error:
            raise complain(str(error)) from error
        except library.UnknownScenarioError as error:
            raise complain(f"error: {error}") from error
        except run_folder.OutputTakenError as error:
            raise complain(f"error: {error}") from error


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="x0mesh")
def cli() -> None:
    """Simulation and chaos testing for self-healing, zero-trust mesh networks.

    A scenario file declares a topology, traffic, a timeline of faults and what must stay true.
    `x0mesh run` executes it for many seeds and ends with a verdict and a report.

    \b
    Start here:
      x0mesh run quickstart          run a scenario of the library
      x0mesh init my.yaml            write a first scenario of your own
      x0mesh validate my.yaml        every mistake with line, column and hint
      x0mesh plan my.yaml            what would happen, without running it
      x0mesh list faults             the catalogue of faults

    \b
    Exit codes: 0 pass, 1 a check failed, 2 usage or invalid scenario, 3 inconclusive,
    4 this host cannot run it, 5 nothing selected, 6 undo failed, 7 aborted by safety,
    70 internal error, 130/143 stopped by a signal.
    """


_set_option = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a parameter, or any entry by its path: --set size=16 --set run.settle=10s",
)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path), default="scenario.yaml")
def init(path: Path) -> None:
    """Write a first scenario to PATH (default scenario.yaml), ready to run."""
    from x0mesh.starter import STARTER

    try:
        with path.open("x") as file:
            file.write(STARTER)
    except FileExistsError as error:
        raise complain(f"error: {path} exists; nothing was written") from error
    except OSError as error:
        raise complain(f"error: {path}: {error.strerror}") from error
    click.echo(f"wrote {path}; now: x0mesh run {path}")


@cli.command()
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO..")
@_set_option
def validate(scenarios: Sequence[str], sets: Sequence[str]) -> None:
    """Check scenario files without running them: every mistake, with line, column and hint."""
    from x0mesh.scenarios.planner import make_plan

    problems: list[str] = []
    for name in scenarios:
        try:
            scenario = _load(name, sets)
            plan = make_plan(scenario, 0)
        except ScenarioError as error:
            problems.append(str(error))
            continue
        click.echo(
            f"{name}: ok: {len(plan.nodes)} nodes, {len(plan.links)} links, "
            f"{len(plan.faults)} faults, {len(scenario.checks)} checks"
        )
    if problems:
        raise complain("\n".join(problems))


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file.")
def schema(out: Path | None) -> None:
    """Print the JSON Schema of scenario files, for editors."""
    from x0mesh.scenarios.json_schema import json_schema_text

    text = json_schema_text()
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text)
        click.echo(f"wrote {out}")


@cli.command()
@click.argument("scenario")
@click.option("--seed", type=int, help="Plan this seed (default: the scenario's base seed).")
@click.option("--json", "as_json", is_flag=True, help="The whole plan as JSON.")
@_set_option
def plan(scenario: str, seed: int | None, as_json: bool, sets: Sequence[str]) -> None:
    """Print what one replication of SCENARIO would do: targets, times, flows. Runs nothing."""
    from x0mesh.scenarios.plan_json import plan_to_json
    from x0mesh.scenarios.plan_text import plan_text
    from x0mesh.scenarios.planner import make_plan, make_plan_for_seed

    loaded = _load(scenario, sets)
    made = make_plan(loaded, 0) if seed is None else make_plan_for_seed(loaded, seed)
    click.echo(plan_to_json(made) if as_json else plan_text(made))


@cli.command()
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO..")
@click.option(
    "--engine",
    type=click.Choice(["auto", "sim", "emulation", "both"]),
    default="auto",
    show_default=True,
    help="auto runs what this host can and says what it skipped; the others insist.",
)
@click.option("--seed", type=click.IntRange(0), help="One replication, with this seed.")
@click.option("--seeds", type=click.IntRange(1), help="Number of replications per engine.")
@_set_option
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="KEY=A,B,..",
    help="Run once per value; several sweeps are combined.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes (default: one per CPU).")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the results, new or empty (default: x0mesh-runs/NAME/TIME-ID).",
)
def run(**options: Any) -> None:
    """Run scenarios (files, or names from the library) and judge them.

    Ends with a verdict per check, and a folder with result.json, events.parquet, report.html
    and junit.xml.
    """
    from x0mesh.running import Request, run_scenarios

    if options["seed"] is not None and options["seeds"] is not None:
        raise complain("error: --seed is one replication, --seeds a number of them; give one")
    raise Exit(run_scenarios(Request(**options)))


@cli.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), help="HTML file (default: in RUN).")
def report(run_dir: Path, out: Path | None) -> None:
    """Write report.html of a stored RUN again, with this version's pictures."""
    from x0mesh.running import rewrite_report

    raise Exit(rewrite_report(run_dir, out))


@cli.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--checks",
    type=click.Path(path_type=Path),
    help="YAML file with `checks:` (and `steady_state:`) to judge by instead of the run's own.",
)
def analyze(run_dir: Path, checks: Path | None) -> None:
    """Judge the stored events of RUN again, by its own or by other checks. Runs nothing."""
    from x0mesh.running import judge_again

    raise Exit(judge_again(run_dir, checks))


@cli.command("list")
@click.argument(
    "what",
    type=click.Choice(
        ["scenarios", "faults", "checks", "metrics", "events", "topologies", "traffic", "runs"]
    ),
)
def list_(what: str) -> None:
    """List what there is: scenarios of the library, faults, checks, metrics, ..."""
    from rich.console import Console
    from rich.table import Table

    from x0mesh.listing import rows

    found = rows(what)
    if not found:
        raise complain(f"no {what} here", NOTHING_SELECTED)
    if not sys.stdout.isatty():
        for row in found:
            click.echo("\t".join(row))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for row in found:
        table.add_row(*row)
    Console().print(table)


@cli.command()
def doctor() -> None:
    """Say what this host can run, what is missing, and what that costs."""
    from x0mesh.doctor import examine

    findings = examine()
    width = max(len(f.name) for f in findings)
    for finding in findings:
        mark = "found  " if finding.found else "missing"
        click.echo(f"{mark}  {finding.name:<{width}}  {finding.detail}")
    if any(f.needed and not f.found for f in findings):
        raise Exit(CANNOT_RUN)


@cli.command()
@click.option("--keep", type=click.IntRange(0), default=0, help="Keep the newest N per scenario.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
def clean(keep: int, yes: bool) -> None:
    """Remove stored runs under x0mesh-runs/, and nothing else."""
    import shutil

    doomed: list[Path] = []
    by_name: dict[str, list[Path]] = {}
    for folder in run_folder.runs():
        by_name.setdefault(folder.parent.name, []).append(folder)
    for folders in by_name.values():
        doomed += folders[: len(folders) - keep]
    if not doomed:
        click.echo("nothing to remove")
        return
    for folder in doomed:
        click.echo(str(folder))
    if not yes:
        click.confirm(f"remove these {len(doomed)} runs?", abort=True)
    for folder in doomed:
        shutil.rmtree(folder)
        latest = folder.parent / "latest"
        if latest.is_symlink() and not latest.exists():
            latest.unlink()
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()


def _load(name: str, sets: Sequence[str]) -> Any:
    from x0mesh.running import load_scenario, parse_sets

    return load_scenario(name, parse_sets(sets))


def main() -> None:
    """Entry point: like `cli`, but an internal error is exit code 70 with a hint."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        click.echo("x0mesh: internal error; please report it with the lines above", err=True)
        sys.exit(INTERNAL)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
