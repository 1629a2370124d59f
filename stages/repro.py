"""`dvc repro` with several stages at once: `python -m stages.repro --jobs 2 [TARGETS]`.

DVC runs one stage after the other, but lets other DVC processes work while a command runs. So
this asks DVC which stages are out of date, gives them to `dvc repro --single-item` processes as
they become ready, and lets a plain `dvc repro` have the last word. The cores are shared among the
jobs; a stage whose `meta` in dvc.yaml says `schedule: alone` has them to itself, one that says
`schedule: first` runs before all others.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from types import FrameType

import click

from lmm4rec.errors import InputError
from stages.running.command import available_cores, stage
from stages.running.job_queue import JobQueue

DVC_REPRO = [sys.executable, "-m", "stages.running.quick_dvc", "--wait-for-lock", "repro"]
_RUNNING_STAGE = re.compile(r"Running stage '(.+)':")


@stage
@click.argument("targets", nargs=-1)
@click.option(
    "--jobs", default=None, type=click.IntRange(min=1), help="stages at once [2, or GPUs]"
)
@click.option("--devices", default="", help="GPUs to deal out, one a job: 0,1,2,3")
@click.option("--keep-going", is_flag=True, help="after a failure run what does not depend on it")
@click.option("--pull", is_flag=True, help="fetch what is missing and needed")
@click.option("--dry", is_flag=True, help="name what would run, and run nothing")
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
    plan = read_plan(targets, allow_missing=pull)
    if dry:
        for name in plan.needs:
            click.echo(name)
        return
    with _interruptible() as running:
        runner = _Runner(jobs, gpus, keep_going, pull, running)
        if plan.needs:
            for name in plan.first:
                runner.run_alone([name])
            click.echo(f"{len(plan.needs)} of {plan.total} stages are out of date; {jobs} at once")
            runner.run(JobQueue(plan.needs, plan.alone))
        # What DVC itself makes of it; nothing is left to run, or it is run here.
        runner.run_alone([], targets)


@dataclass(frozen=True)
class Plan:
    """The stages that are out of date, in DVC's order, each with those that it needs."""

    needs: dict[str, list[str]]
    alone: set[str]
    first: list[str]  # run before all others, out of date or not
    total: int


def read_plan(targets: Collection[str], *, allow_missing: bool = False) -> Plan:
    """What DVC says of the targets and all they need (all stages: no targets).

    `allow_missing`: files that are not here do not make a stage out of date.
    InputError: dvc.yaml or params.yaml cannot be read, or a target is unknown.
    """
    from dvc.exceptions import DvcException  # a second; --help stays instant
    from dvc.repo import Repo, lock_repo

    try:
        with Repo(_wait_for_lock=True) as repo, lock_repo(repo):
            graph = repo.index.graph  # from a stage to those it needs
            by_name = {node.addressing: node for node in graph}
            wanted = [node.addressing for t in targets for node in repo.stage.collect(t)]
            needs = {
                name: [other.addressing for other in graph.successors(node)]
                for name, node in by_name.items()
            }
            inside = _with_ancestors(wanted, needs) if targets else set(needs)
            changed = {
                name
                for name in inside
                if by_name[name].changed(allow_missing, list(graph.successors(by_name[name])))
            }
    except DvcException as error:
        raise InputError(_sentence(error)) from error
    everything = JobQueue(needs)
    late = inside & (changed | set(everything.descendants(changed)))
    schedule = {name: (node.meta or {}).get("schedule") for name, node in by_name.items()}
    first = [name for name in by_name if name in inside and schedule[name] == "first"]
    return Plan(
        {name: needs[name] for name in by_name if name in late and name not in first},
        {name for name in late if schedule[name] == "alone"},
        first,
        len(inside),
    )


def _with_ancestors(names: Collection[str], needs: Mapping[str, Collection[str]]) -> set[str]:
    found: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack.extend(needs[name])
    return found


def _sentence(error: BaseException) -> str:
    """DVC's error and what it says caused it."""
    said = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        said.append(str(error))
    return ": ".join(dict.fromkeys(text for text in said if text))


class _Runner:
    """Runs jobs, each a DVC process, and prints every line they say behind its stage's name."""

    def __init__(
        self,
        jobs: int,
        gpus: list[str],
        keep_going: bool,
        pull: bool,
        running: dict[int, subprocess.Popen[bytes]],
    ) -> None:
        self._jobs, self._keep_going, self._running = jobs, keep_going, running
        self._command = [*DVC_REPRO, *(["--pull", "--allow-missing"] if pull else [])]
        # With it DVC would not see where the inputs of a new stage come from, and take the stage
        # for unchanged where they are still to be fetched.
        self._one_by_one = [] if pull else ["--single-item"]
        self._slots: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for slot in range(jobs):
            self._slots.put(gpus[slot] if gpus else None)
        self._printing = Lock()

    def run(self, jobs: JobQueue) -> None:
        """All stages of the queue. InputError: some failed; the message names them."""
        failed: list[str] = []
        futures: dict[Future[str | None], list[str]] = {}
        with ThreadPoolExecutor(self._jobs) as pool:
            while True:
                while len(futures) < self._jobs and (self._keep_going or not failed):
                    job = jobs.take(self._jobs, single=self._keep_going)
                    if not job:
                        break
                    futures[pool.submit(self._run_on_a_slot, job, jobs.alone(job))] = job
                if not futures:
                    break
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    job, culprit = futures.pop(future), future.result()
                    done = job if culprit is None else job[: job.index(culprit)]
                    jobs.finish(done)
                    if culprit is not None:
                        jobs.drop(job[len(done) :])
                        failed.append(culprit)
        if failed:
            raise InputError(
                f"{', '.join(failed)} failed, see the lines above; mend it and run this again: "
                "what is done stays done"
            )

    def run_alone(self, names: list[str], targets: Collection[str] = ()) -> None:
        """Stages, or all that the targets need, while nothing else runs."""
        if self._run(names, {}, targets) is not None:
            raise InputError(f"{names[0] if names else 'dvc repro'} failed, see the lines above")

    def _run_on_a_slot(self, names: list[str], alone: bool) -> str | None:
        gpu = self._slots.get()
        try:
            threads = available_cores() if alone else max(1, available_cores() // self._jobs)
            environment = {
                "OMP_NUM_THREADS": str(threads),
                "NUMBA_NUM_THREADS": str(threads),
                "LMM4REC_WORKERS": str(max(1, min(16, threads - 1))),
                **os.environ,  # what the user set stays
            }
            if gpu is not None:
                environment["CUDA_VISIBLE_DEVICES"] = gpu
            return self._run(names, environment)
        finally:
            self._slots.put(gpu)

    def _run(
        self, names: list[str], environment: dict[str, str], targets: Collection[str] = ()
    ) -> str | None:
        """The stage that failed, or None."""
        began = time.monotonic()
        process = subprocess.Popen(
            [*self._command, *([*self._one_by_one, *names] if names else targets)],
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        self._running[process.pid] = process
        speaker = names[0] if names else "dvc"
        assert process.stdout is not None
        for raw in process.stdout:  # bytes: as text, every state of a progress bar were a line
            line = raw.decode(errors="replace")
            if said := _RUNNING_STAGE.match(line):
                speaker = said[1]
            self._say(speaker, line)
        code = process.wait()
        del self._running[process.pid]
        took = time.monotonic() - began
        if code != 0:
            self._say(speaker, f"failed after {took:.0f} s")
            return speaker
        if names:
            self._say(names[-1], f"done after {took:.0f} s")
        return None

    def _say(self, speaker: str, line: str) -> None:
        text = line.rstrip("\n").rpartition("\r")[2]  # of a progress bar its last state
        if text.strip():
            with self._printing:
                click.echo(f"[{speaker}] {text}")


@contextmanager
def _interruptible() -> Iterator[dict[int, subprocess.Popen[bytes]]]:
    """The processes that are running; Ctrl-C and SIGTERM are passed on to all of them."""
    running: dict[int, subprocess.Popen[bytes]] = {}

    def stop(number: int, _: FrameType | None) -> None:
        for process in list(running.values()):
            with suppress(ProcessLookupError):  # it may just have ended
                os.killpg(process.pid, signal.SIGINT)  # DVC lets its command end, then ends
        raise InputError(f"stopped by {signal.Signals(number).name}; what is done stays done")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield running
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
