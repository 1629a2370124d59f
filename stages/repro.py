"""`dvc repro` with several stages at once: `python -m stages.repro --jobs 2 [TARGETS]`.

DVC runs one stage after the other, but lets other DVC processes work while a command runs. So
this asks DVC which stages are out of date, and gives them one by one, as they become ready, to
DVC processes of its own. The cores are shared among the jobs; a stage whose `meta` in dvc.yaml
says `schedule: alone` has them to itself, one that says `schedule: first` runs before all others
in any case.

`--dry` says what that would do, a line each: `run STAGE: why` and `fetch PATH: from where, size`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lmm4rec.errors import InputError
from lmm4rec.params import read_params
from stages.running.command import LOCKS, PARAMS, SCRATCH, stage
from stages.running.holding import Held, hold
from stages.running.plan import Plan, read_pipeline
from stages.running.runner import Runner, runner_of

SECONDS_BETWEEN_TRIES = 1.0
# What dvc.yaml tells stage check to look at.
FEATURES, RECORDS = Path("data/features"), Path("data/sources")


@stage
@click.argument("targets", nargs=-1)
@click.option(
    "--jobs", default=None, type=click.IntRange(min=1, max=1024), help="stages at once [2, or GPUs]"
)
@click.option("--devices", default="", help="GPUs to deal out, one a job: 0,1,2,3")
@click.option("--keep-going", is_flag=True, help="after a failure run what does not depend on it")
@click.option("--pull", is_flag=True, help="fetch what is missing and needed")
@click.option("--dry", is_flag=True, help="say what would run and be fetched, and do nothing")
def main(
    targets: tuple[str, ...],
    jobs: int | None,
    devices: str,
    keep_going: bool,
    pull: bool,
    dry: bool,
) -> None:
    gpus = [name.strip() for name in devices.split(",") if name.strip()]
    jobs = jobs or len(gpus) or 2
    if gpus and jobs > len(gpus):
        raise InputError(f"--jobs {jobs} with {len(gpus)} devices; name as many devices as jobs")
    _check_params(whole=dry)
    if dry:
        with read_pipeline(targets) as pipeline:
            _print(pipeline.plan(pull=pull, first_is_done=False))
        return
    with _only_one(), runner_of(jobs, gpus, keep_going=keep_going, pull=pull) as runner:
        plan = _read_plan(targets, runner, pull=pull)
        if plan.needs:
            click.echo(f"{len(plan.needs)} of {plan.total} stages are out of date; {jobs} at once")
            if pull:
                runner.run_alone(None)
            runner.run(plan)
            _confirm(targets, runner, set(plan.needs), pull=pull)
        click.echo(f"{plan.total} stages are up to date")


def _check_params(*, whole: bool) -> None:
    """The names under `run`, in our words: DVC's would be those of its parser.

    `whole`: all that stage check looks at. A dry run does not come to it, and would plan stages
    that cannot be.
    """
    if not PARAMS.exists() or "run" not in read_params(PARAMS):
        return
    if not whole:
        from lmm4rec.study.run import read_run

        read_run(PARAMS)
        return
    from lmm4rec.study.check import check_local_files, check_study, standing_features

    run = check_study(PARAMS, SCRATCH, standing_features(FEATURES))
    check_local_files(run, PARAMS, RECORDS, SCRATCH)


def _read_plan(targets: tuple[str, ...], runner: Runner, *, pull: bool) -> Plan:
    """What is out of date once those that run first have run."""
    with read_pipeline(targets) as pipeline:
        for name in pipeline.first:
            runner.run_alone(name)
        return pipeline.plan(pull=pull)


def _confirm(targets: tuple[str, ...], runner: Runner, ran: set[str], *, pull: bool) -> None:
    """Run what a change since the plan was read made late; what ran and is late again is named."""
    with read_pipeline(targets) as pipeline:
        plan = pipeline.plan(pull=pull)
    for name in plan.changed & ran:
        raise InputError(
            f"{name} has run and is out of date again ({plan.reasons[name]}); let nothing change "
            "what it reads or writes meanwhile, and run this again"
        )
    if plan.changed:
        click.echo(f"{len(plan.needs)} more stages are out of date by now")
        runner.run(plan)


@contextmanager
def _only_one() -> Iterator[None]:
    """No second `stages.repro` here meanwhile: it waits, and finds afterwards what is left to do.

    The first may take hours and may be made for other targets; whoever asked for both wants both.
    """
    told = False
    while True:
        try:
            lock = hold(LOCKS, "stages.repro")
            break
        except Held as who:
            if not told:
                click.echo(f"waiting for another stages.repro: {who}", err=True)
            told = True
            time.sleep(SECONDS_BETWEEN_TRIES)
    try:
        yield
    finally:
        lock.release()


def _print(plan: Plan) -> None:
    for name, why in plan.reasons.items():
        click.echo(f"run {name}: {why}")
    for path, fetch in plan.fetches.items():
        size = "" if fetch.size is None else f", {fetch.size} bytes"
        click.echo(f"fetch {path}: {fetch.place}{size}")
    click.echo(f"{len(plan.reasons)} to run, {len(plan.fetches)} to fetch", err=True)


if __name__ == "__main__":
    main()
