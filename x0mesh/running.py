"""From a request on the command line to verdicts, folders and an exit code."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import click

from x0mesh import campaign, environment, library, run_folder, terminal
from x0mesh.scenarios.loader import load, with_checks
from x0mesh.scenarios.model import Scenario
from x0mesh.scenarios.parameters import expand_sweep
from x0mesh.scenarios.parameters import parse_sets as parse_sets
from x0mesh.scenarios.plan import EngineName, Plan
from x0mesh.scenarios.planner import assemble_topology, make_plan, make_plan_for_seed, unavailable

CANNOT_RUN = 4
SIGNAL_BASE = 128
NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Request:
    """Options of `x0mesh run` as given."""

    scenarios: tuple[str, ...]
    engine: Literal["auto", "sim", "emulation", "both"]
    seed: int | None
    seeds: int | None
    sets: tuple[str, ...]
    sweeps: tuple[str, ...]
    jobs: int | None
    out: Path | None


@dataclass(frozen=True, slots=True)
class Job:
    """One scenario with one set of parameters, planned; `label` names its folder."""

    scenario: Scenario
    plans: tuple[Plan, ...]
    label: Path
    replay: str
    skipped: tuple[str, ...]


class CannotRunError(Exception):
    """This host, or this version, cannot run what was asked for. Exit code 4."""


def load_scenario(name: str, sets: Mapping[str, str], replications: int | None = None) -> Scenario:
    """A scenario by path or library name. `replications` from the command line: claims that need
    more become inconclusive instead of mistakes."""
    seeds: dict[EngineName, int] = {} if replications is None else {"sim": replications}
    return load(library.find(name), sets, seeds=seeds)


def run_scenarios(request: Request) -> int:
    """Plan everything, then run and judge everything; the worst exit code."""
    from x0mesh.reports import exit_code

    try:
        jobs = _jobs(request)
    except CannotRunError as error:
        click.echo(f"cannot run: {error}", err=True)
        return CANNOT_RUN
    folder = None if request.out is None else run_folder.empty(request.out)
    alone = len(jobs) == 1
    outcomes = []
    codes: list[int] = []
    for job in jobs:
        if folder is None:
            target = run_folder.fresh(str(job.label))
        else:
            target = folder if alone else folder / job.label
        outcome = _run(job, request, target)
        outcomes.append((str(job.label), target, outcome.judgement))
        codes.append(outcome.code)
        if outcome.code > SIGNAL_BASE:
            break
    if folder is not None and not alone:
        from x0mesh.reports import write_index

        write_index(folder, outcomes)
        click.echo(f"index: {folder / 'index.html'}")
    return exit_code(codes)


def _jobs(request: Request) -> list[Job]:
    sets = parse_sets(request.sets)
    variants = expand_sweep(request.sweeps)
    jobs = [_job(name, sets, each, request) for name in request.scenarios for each in variants]
    labels = [job.label for job in jobs]
    for index, job in enumerate(jobs):
        earlier = labels[:index].count(job.label)
        if earlier:
            jobs[index] = replace(job, label=job.label.with_name(f"{job.label.name}-{earlier + 1}"))
    return jobs


def _job(name: str, sets: Mapping[str, str], variant: Mapping[str, str], request: Request) -> Job:
    scenario = load_scenario(
        name, {**sets, **variant}, 1 if request.seed is not None else request.seeds
    )
    skipped = _engines_skipped(scenario, request.engine)
    topology = assemble_topology(scenario)
    if request.seed is not None:
        plans = [make_plan_for_seed(scenario, request.seed, topology=topology)]
    else:
        count = scenario.run.seeds.count("sim")
        plans = [make_plan(scenario, i, topology) for i in range(count)]
    missing = sorted({kind for plan in plans for kind in unavailable(plan, "sim")})
    if missing:
        raise CannotRunError(f"{name}: no engine of this version runs {', '.join(missing)}")
    words = ["x0mesh", "run", name]
    for key, value in {**sets, **variant}.items():
        words += ["--set", f"{key}={value}"]
    parts = [_slug(f"{key}={value}") for key, value in variant.items()]
    label = Path(scenario.name, *(["_".join(parts)] if parts else []))
    return Job(scenario, tuple(plans), label, shlex.join(words), skipped)


def _engines_skipped(scenario: Scenario, asked: str) -> tuple[str, ...]:
    """Why engines of the scenario are left out; raises CannotRunError if one was insisted on."""
    wanted: Sequence[EngineName] = scenario.engines
    if asked in ("emulation", "both"):
        raise CannotRunError("the emulation is not part of this version; --engine sim runs")
    if "sim" not in wanted:
        raise CannotRunError(f"{scenario.name} is for the emulation only, which is not here yet")
    if asked == "auto" and "emulation" in wanted:
        return ("emulation skipped: not part of this version",)
    return ()


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in "=.-" else "-" for c in text)[:80]


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    judgement: object


def _run(job: Job, request: Request, target: Path) -> Outcome:
    from x0mesh.reports import exit_code, judge, write_run

    limit = job.scenario.run.time_limit.sim
    workers = request.jobs or campaign.available_cpus()
    signal_number = 0
    with terminal.progress(job.scenario.name, len(job.plans)) as done:
        try:
            records = campaign.simulate(
                job.plans, workers, None if limit is None else limit / NS_PER_S, done
            )
        except campaign.Interrupted as interrupted:
            records, signal_number = interrupted.records, interrupted.signal_number
    judgement = judge(job.scenario, job.plans, records, replay_prefix=job.replay)
    judgement.notes += [note for note in job.skipped if note not in judgement.notes]
    write_run(target, job.scenario, job.plans, records, judgement, environment.describe(job.replay))
    if request.out is None:
        run_folder.link_latest(target)
    terminal.print_verdict(job.scenario, judgement, target)
    codes: list[int] = [judgement.exit_code]
    if signal_number:
        codes.append(SIGNAL_BASE + signal_number)
    return Outcome(exit_code(codes), judgement)


def rewrite_report(run_dir: Path, out: Path | None) -> int:
    """`x0mesh report`: the HTML page of a stored run again."""
    from x0mesh.reports import judge, load_run, write_html

    scenario, plans, records = load_run(run_dir)
    judgement = judge(scenario, plans, records)
    target = out or run_dir / "report.html"
    write_html(target, scenario, plans, records, judgement, environment.describe(""))
    click.echo(f"wrote {target}")
    return 0


def judge_again(run_dir: Path, checks: Path | None) -> int:
    """`x0mesh analyze`: verdicts from stored events, by the run's checks or by others."""
    from x0mesh.reports import judge, load_run

    scenario, plans, records = load_run(run_dir)
    if checks is not None:
        scenario = with_checks(scenario, checks, len(records))
    judgement = judge(scenario, plans, records)
    terminal.print_verdict(scenario, judgement, run_dir)
    return judgement.exit_code
