"""From a request on the command line to verdicts, folders and an exit code."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from x0mesh import campaign, run_folder, terminal
from x0mesh.doctor import missing_faults
from x0mesh.library import load_scenario
from x0mesh.refusal import CannotRunError, RefusedError, WriteFailedError
from x0mesh.scenarios.loader import expand_sweep, parse_sets, with_checks
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.plan import Plan
from x0mesh.scenarios.planner import assemble_topology, make_plan, make_plan_for_seed

if TYPE_CHECKING:
    from x0mesh.reports import Judgement

NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Request:
    """Options of `x0mesh run` as given."""

    scenarios: tuple[str, ...]
    engine: Literal["auto", "sim", "emulation", "both"] = "auto"
    seed: int | None = None
    seeds: int | None = None
    sets: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    jobs: int | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One scenario with one set of parameters, planned. `variant` names the parameters swept;
    `replay` is the command without engine and seed."""

    scenario: Scenario
    plans: tuple[Plan, ...]
    name: str
    variant: str
    replay: str
    skipped: tuple[str, ...]

    @property
    def label(self) -> Path:
        return Path(self.name, self.variant) if self.variant else Path(self.name)


def run_scenarios(request: Request) -> int:
    """Plan everything, then run and judge everything; the worst exit code.

    Raises RefusedError or ScenarioError before anything is written.
    """
    from x0mesh.reports import exit_code, write_index
    from x0mesh.reports.verdict import SIGNAL_BASE

    jobs = _jobs(request)
    targets, indexes = _targets(jobs, request.out)
    outcomes: dict[Path, Judgement] = {}
    with ExitStack() as stack:
        if request.out is not None:
            stack.enter_context(run_folder.claimed(request.out))
        stop = stack.enter_context(campaign.interruptible())
        for job, target in zip(jobs, targets, strict=True):
            outcomes[target] = _run(job, request.jobs, target, stop)
            if request.out is None and not job.variant:
                run_folder.link_latest(target)
            if stop.is_set:
                break
        for folder in indexes:
            within = [
                (str(job.label), target, outcomes[target])
                for job, target in zip(jobs, targets, strict=True)
                if target in outcomes and target.is_relative_to(folder)
            ]
            if within:
                write_index(folder, within)
                click.echo(f"index: {folder / 'index.html'}")
                if request.out is None:
                    run_folder.link_latest(folder)
    codes = [judgement.exit_code for judgement in outcomes.values()]
    return exit_code([*codes, SIGNAL_BASE + stop.signal_number] if stop.is_set else codes)


def _jobs(request: Request) -> list[Job]:
    sets = parse_sets(request.sets)
    variants = expand_sweep(request.sweeps)
    if both := sorted(sets.keys() & variants[0].keys()):
        raise RefusedError(f"{both[0]} is given by --set and by --sweep; keep one")
    jobs = [_job(name, sets, each, request) for name in request.scenarios for each in variants]
    seen: Counter[Path] = Counter()
    for index, job in enumerate(jobs):
        seen[job.label] += 1
        if (times := seen[job.label]) > 1:
            jobs[index] = (
                replace(job, variant=f"{job.variant}-{times}")
                if job.variant
                else replace(job, name=f"{job.name}-{times}")
            )
    return jobs


def _job(name: str, sets: Mapping[str, str], variant: Mapping[str, str], request: Request) -> Job:
    values = {**sets, **variant}
    scenario = load_scenario(name, values, 1 if request.seed is not None else request.seeds)
    skipped = _engines_skipped(scenario, request.engine)
    topology = assemble_topology(scenario)
    if request.seed is not None:
        plans = [make_plan_for_seed(scenario, request.seed, topology=topology)]
    else:
        plans = [make_plan(scenario, i, topology) for i in range(scenario.run.seeds.sim)]
    if missing := missing_faults(scenario):
        raise CannotRunError(f"{name}: no engine of this version runs {', '.join(missing)}")
    words = ["x0mesh", "run", name]
    for key, value in values.items():
        words += ["--set", f"{key}={value}"]
    swept = "_".join(_slug(f"{key}={value}") for key, value in variant.items())
    return Job(scenario, tuple(plans), scenario.name, swept, shlex.join(words), skipped)


def _engines_skipped(scenario: Scenario, asked: str) -> tuple[str, ...]:
    """Why engines of the scenario are left out; raises CannotRunError if one was insisted on."""
    if asked in ("emulation", "both"):
        raise CannotRunError("the emulation is not part of this version; --engine sim runs")
    if "sim" not in scenario.engines:
        raise CannotRunError(f"{scenario.name} is for the emulation only, which is not here yet")
    if asked == "auto" and "emulation" in scenario.engines:
        return ("emulation skipped: not part of this version",)
    return ()


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in "=.-" else "-" for c in text)[:80]


def _targets(jobs: list[Job], out: Path | None) -> tuple[list[Path], list[Path]]:
    """Each job's folder, and the folders that get an index of several runs.

    The top folders are made now: a run whose results have no place should not begin.
    """
    if out is not None:
        run_folder.make(run_folder.empty(out))
        if len(jobs) == 1:
            return [out], []
        return [out / job.label for job in jobs], [out]
    roots = {job.name: run_folder.fresh(job.name) for job in jobs}
    for root in roots.values():
        run_folder.make(root)
    swept = [roots[name] for name in roots if any(j.variant for j in jobs if j.name == name)]
    return [roots[job.name] / job.variant for job in jobs], swept


def _run(job: Job, jobs: int | None, target: Path, stop: campaign.Interruption) -> Judgement:
    from x0mesh import environment
    from x0mesh.reports import judge, write_run

    limit = job.scenario.run.time_limit.sim
    limit_s = None if limit is None else limit / NS_PER_S
    workers = jobs or campaign.available_cpus()
    with terminal.progress(str(job.label), len(job.plans)) as progress:
        records = campaign.simulate(job.plans, workers, limit_s, stop, progress)
    judgement = judge(job.scenario, job.plans, records, replay_prefix=job.replay)
    judgement.signal_number = stop.signal_number
    judgement.notes += [note for note in job.skipped if note not in judgement.notes]
    made_in = environment.describe(job.replay)
    try:
        write_run(target, job.scenario, job.plans, records, judgement, made_in)
    except OSError as error:
        raise WriteFailedError(f"{target} cannot be written: {error.strerror}") from error
    terminal.print_verdict(str(job.label), judgement, target)
    return judgement


def rewrite_report(run_dir: Path, out: Path | None) -> int:
    """`x0mesh report`: the HTML page of a stored run again."""
    from x0mesh.reports import judge, load_environment, load_run, write_html

    with _stored(run_dir):
        scenario, plans, records = load_run(run_dir)
        made_in = load_environment(run_dir)
    judgement = judge(scenario, plans, records, replay_prefix=made_in.command)
    target = out or run_dir / "report.html"
    try:
        write_html(target, scenario, plans, records, judgement, made_in)
    except OSError as error:
        raise RefusedError(f"{target}: {error.strerror}") from error
    click.echo(f"wrote {target}")
    return 0


def judge_again(run_dir: Path, checks: Path | None) -> int:
    """`x0mesh analyze`: verdicts from stored events, by the run's checks or by others."""
    from x0mesh.reports import judge, load_environment, load_run

    with _stored(run_dir):
        scenario, plans, records = load_run(run_dir)
        command = load_environment(run_dir).command
    if checks is not None:
        scenario = with_checks(scenario, checks, len(records))
    judgement = judge(scenario, plans, records, replay_prefix=command)
    terminal.print_verdict(scenario.name, judgement, run_dir)
    return judgement.exit_code


@contextmanager
def _stored(run_dir: Path) -> Iterator[None]:
    """What is wrong with a folder that should hold a run, in words."""
    from x0mesh.reports import RunFolderError

    try:
        yield
    except RunFolderError as error:
        several = run_dir / "summary.json"
        if several.is_file():
            paths = [run["path"] for run in json.loads(several.read_text())["runs"]]
            text = f"{run_dir} holds {len(paths)} runs; name one, such as {run_dir / paths[0]}"
            raise RefusedError(text) from error
        if not (run_dir / "result.json").is_file():
            text = f"{run_dir} is no run folder: it has no result.json"
            raise RefusedError(text) from error
        raise RefusedError(str(error)) from error
