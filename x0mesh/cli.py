"""The command line: one word per thing a user wants, exit codes as documented.

Exit codes: 0 pass, 1 a check failed, 2 usage or invalid scenario, 3 inconclusive, 4 this host
cannot run it, 5 nothing selected, 6 undo failed, 7 aborted by safety, 70 internal error,
130/143 stopped by a signal.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from x0mesh import __version__, run_folder
from x0mesh.refusal import CannotRunError, RefusedError
from x0mesh.scenarios.problems import ScenarioError
from x0mesh.scenarios.registry import EntryPointError

if TYPE_CHECKING:
    from x0mesh.scenarios.model import Scenario

USAGE: Final = 2
INTERNAL: Final = 70
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141
LARGEST_SEED: Final = 2**63 - 1

LISTS: Final = (
    "scenarios",
    "faults",
    "checks",
    "metrics",
    "live-metrics",
    "events",
    "topologies",
    "imports",
    "traffic",
    "runs",
)


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
        except RefusedError as error:
            raise complain(f"{error.label}: {error}", error.exit_code) from error
        except EntryPointError as error:
            raise complain(f"cannot run: {error}", CannotRunError.exit_code) from error


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
@click.version_option(__version__, prog_name="x0mesh")
@click.pass_context
def cli(ctx: click.Context) -> None:
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
    if os.environ.get("NO_COLOR"):
        ctx.color = False


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
    """Write a first scenario, ready to run.

    PATH is scenario.yaml unless given. A file that exists is left alone.
    """
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
    """Check scenarios without running them: every mistake, with line, column and hint.

    One line per mistake on stderr, exit code 2; one line per good scenario on stdout.
    """
    from x0mesh.doctor import missing_faults
    from x0mesh.scenarios.planner import make_plan
    from x0mesh.terminal import counted

    problems: list[str] = []
    for name in scenarios:
        try:
            scenario = _load(name, sets)
            plan = make_plan(scenario, 0)
        except ScenarioError as error:
            problems.append(str(error))
            continue
        except RefusedError as error:
            problems.append(f"{error.label}: {error}")
            continue
        parts = {
            "node": plan.nodes,
            "link": plan.links,
            "flow": plan.flows,
            "fault": plan.faults,
            "check": scenario.checks,
        }
        words = ", ".join(counted(len(found), what) for what, found in parts.items())
        click.echo(f"{name}: ok: {words}")
        if missing := missing_faults(scenario):
            click.echo(f"{name}: no engine of this version runs {', '.join(missing)}")
    if problems:
        raise complain("\n".join(problems))


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file.")
def schema(out: Path | None) -> None:
    """Print the JSON Schema of scenario files, for editors.

    Faults, checks, topologies and traffic of installed packages are in it. In VS Code, name the
    file under `yaml.schemas` and mistakes show while you type.
    """
    from x0mesh.scenarios.json_schema import json_schema_text

    text = json_schema_text()
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text)
    except OSError as error:
        raise RefusedError(f"{out}: {error.strerror}") from error
    click.echo(f"wrote {out}")


@cli.command()
@click.argument("scenario")
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    help="Plan this seed (default: the scenario's base seed).",
)
@click.option("--json", "as_json", is_flag=True, help="The whole plan as JSON.")
@_set_option
def plan(scenario: str, seed: int | None, as_json: bool, sets: Sequence[str]) -> None:
    """Print what one replication would do, and run nothing.

    The faults with their times and chosen targets, the flows, and what was supposed or left out.
    """
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
@click.option(
    "--seed", type=click.IntRange(0, LARGEST_SEED), help="One replication, with this seed."
)
@click.option("--seeds", type=click.IntRange(1), help="Number of replications per engine.")
@_set_option
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="KEY=A,B,..",
    help="Run once per value; several sweeps are combined.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    help="Processes (default: one per CPU). Changes no result.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the results, new or empty (default: x0mesh-runs/NAME/TIME-ID).",
)
def run(**options: Any) -> None:
    """Run scenarios (files, or names of the library) and judge them.

    Ends with a verdict per check and a folder with report.html, result.json, events.parquet and
    junit.xml. Ctrl-C stops the replications and keeps what there is.

    \b
    Examples:
      x0mesh run quickstart
      x0mesh run my.yaml --seeds 100 -j 4 --out results
      x0mesh run my.yaml --seed 17                      one replication again
      x0mesh run my.yaml --set topology.generator.nodes=50
      x0mesh run my.yaml --sweep protocol.liveness.interval=50ms,100ms,200ms
    """
    from x0mesh.running import Request, run_scenarios

    if options["seed"] is not None and options["seeds"] is not None:
        raise complain("error: --seed is one replication, --seeds a number of them; give one")
    raise Exit(run_scenarios(Request(**options)))


@cli.command()
@click.argument("run_dir", metavar="RUN", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), help="HTML file (default: in RUN).")
def report(run_dir: Path, out: Path | None) -> None:
    """Write report.html of a stored run again, with this version's pictures.

    RUN is a run folder, such as x0mesh-runs/quickstart/latest.
    """
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
    """Judge a stored run again, by its own checks or by others. Runs and changes nothing.

    RUN is a run folder, such as x0mesh-runs/quickstart/latest. Exit codes are those of `run`.
    """
    from x0mesh.running import judge_again

    raise Exit(judge_again(run_dir, checks))


@cli.command("list")
@click.argument("what", metavar="WHAT", type=click.Choice(LISTS))
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="Faults or metrics as the page in docs/.")
def list_(what: str, name: str | None, markdown: bool) -> None:
    """List what there is, or one item in full.

    \b
    WHAT is one of
      scenarios     of the library; with NAME, the file itself
      faults        what can go wrong, its target and parameters
      checks        what can be asked of a run
      metrics       what checks can measure
      live-metrics  what `when`, `steady_state` and `abort_if` can measure
      events        what is recorded, and checks can name
      topologies    generators
      imports       formats of topology files
      traffic       kinds of flows
      runs          stored under x0mesh-runs/, oldest first

    \b
    Examples:
      x0mesh list faults
      x0mesh list faults net.impair
    """
    from x0mesh import listing, pages

    if markdown:
        click.echo(pages.markdown(what), nl=False)
    else:
        click.echo(listing.item(what, name) if name else listing.lines(what))


@cli.command()
def doctor() -> None:
    """Say what this host can run, what is missing, and what that costs."""
    from x0mesh.doctor import examine
    from x0mesh.terminal import table

    findings = examine(load=True)
    click.echo(table([("found" if f.found else "missing", f.name, f.detail) for f in findings]))
    missing = [f.name for f in findings if f.needed and not f.found]
    if missing:
        raise CannotRunError(f"nothing runs without {', '.join(missing)}")
    click.echo("this host can run scenarios on the simulator")


@cli.command()
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Keep the newest N of each scenario.",
)
@click.option("--yes", is_flag=True, help="Remove without asking.")
def clean(keep: int, yes: bool) -> None:
    """Remove stored runs under x0mesh-runs/, and nothing else.

    Run folders that --out put elsewhere are yours; this command does not know them.
    """
    by_name: dict[str, list[Path]] = {}
    for folder in run_folder.runs():
        by_name.setdefault(folder.parent.name, []).append(folder)
    doomed = [one for folders in by_name.values() for one in folders[: len(folders) - keep]]
    if not doomed:
        click.echo("nothing to remove")
        return
    for folder in doomed:
        click.echo(str(folder))
    if not yes:
        if not sys.stdin.isatty():
            raise RefusedError("nobody to ask; --yes removes these without asking")
        if not click.confirm(f"remove these {len(doomed)}?"):
            click.echo("nothing was removed")
            return
    for folder in doomed:
        run_folder.remove(folder)
    click.echo(f"removed {len(doomed)}")


def _load(name: str, sets: Sequence[str]) -> Scenario:
    from x0mesh.library import load_scenario
    from x0mesh.scenarios.loader import parse_sets

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
        sys.exit(INTERRUPTED)
    except SystemExit:
        # Click's answer to a reader that is gone; its exit code 1 means a failed check here.
        sys.exit(PIPE_CLOSED)
    except Exception:
        traceback.print_exc()
        click.echo("x0mesh: internal error; please report it with the lines above", err=True)
        sys.exit(INTERNAL)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
