"""Kill `stages.repro` at random moments, run it to its end, and compare with a run nothing broke.

    python -m tests.faults.chaos --moments 30 --seed 1

A victim is stages.repro or any process that works for it (a DVC worker, a stage, a process of a
stage), the signal SIGKILL, SIGTERM or SIGINT. After each moment nobody may be left at work and
dvc.lock must be one that DVC writes; the next `stages.repro` goes on from there to its end, what
it made is compared to the byte, and all is cleared away for the next moment.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psutil
from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

from lmm4rec.folders import fingerprint
from tests.pipeline.small_demo import END_TO_END, Clone, small_demo

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MARK = "LMM4REC_CHAOS"  # in the environment of all that a project's run starts
SECONDS_TO_END = 30.0  # that a killed run and all that work for it may take

# Each kind of stage once, and each training long enough to leave states behind.
SIZES = {
    "run.controls": [],
    "run.features": ["clip-tiny"],
    "run.tuned": [],
    "run.id_recommenders": [],
    "datasets.demo.source.users": 150,
    "datasets.demo.source.items": 120,
    "encoders.clip-tiny.weights.pairs": 200,
    "encoders.clip-tiny.weights.epochs": 3,
    "training.maximum_epochs": 20,
    "end2end.maximum_epochs": 3,
    "end2end.freeze_epochs": 1,
}


@dataclass
class Project:
    """A small demo without its measurement, whose trainings save their state every epoch."""

    clone: Clone
    mark: str
    tally: Counter[str] = field(default_factory=Counter)

    @classmethod
    def made(cls, folder: Path) -> Project:
        clone = small_demo(folder)
        clone.edit(END_TO_END)
        clone.edit(SIZES)
        _replace(folder / "lmm4rec/resuming.py", "SECONDS_BETWEEN = 30.0", "SECONDS_BETWEEN = 0.0")
        pipeline = folder / "dvc.yaml"
        content = parse_yaml_for_update(pipeline.read_text(), "dvc.yaml")
        del content["stages"]["efficiency"], content["metrics"]
        content["stages"]["report"]["deps"].remove("data/metrics/efficiency")
        pipeline.write_text(dumps_yaml(content))
        return cls(clone, f"{folder}-{time.time_ns()}")

    def start(self) -> subprocess.Popen[str]:
        programs = Path(sys.executable).parent
        # a clone's byte code is worth keeping: many processes import it
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment = inherited | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.clone.folder),
            MARK: self.mark,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "stages.repro", "--jobs", "2"],
            cwd=self.clone.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def result(self) -> dict[str, str]:
        """Every output's bytes, and what dvc.lock says of each stage."""
        data = self.clone.folder / "data"
        parts = [path for path in data.iterdir() if path.name not in ("scratch", "locks")]
        locked = self.lock()["stages"]
        return {path.name: fingerprint(path) for path in parts} | {
            name: dumps_yaml(entry) for name, entry in locked.items()
        }

    def lock(self) -> Any:
        """dvc.lock, which must be as DVC writes it."""
        path = self.clone.folder / "dvc.lock"
        text = path.read_text() if path.exists() else "schema: '2.0'\nstages: {}\n"
        content = parse_yaml_for_update(text, "dvc.lock")
        assert dumps_yaml(content) == text, text
        return content

    def clear(self) -> None:
        """As a clone in which nothing has run."""
        for name in ("data", ".dvc/cache", ".dvc/tmp"):
            shutil.rmtree(self.clone.folder / name, ignore_errors=True)
        (self.clone.folder / "dvc.lock").unlink(missing_ok=True)

    def workers(self) -> list[psutil.Process]:
        """All processes that carry this project's mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found.append(process)
            except psutil.Error:
                continue
        return [one for one in found if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]

    def saved(self) -> bool:
        """Whether some training could go on from where it was."""
        return any((self.clone.folder / "data/scratch").glob("*/*"))


def break_once(project: Project, rng: random.Random, longest: float) -> bool:
    """Start a run and kill somebody at a random moment; whether the run had not ended before."""
    process = project.start()
    until = time.monotonic() + rng.uniform(0.0, longest)
    after_a_state = rng.random() < 0.3
    while process.poll() is None and (
        time.monotonic() < until or (after_a_state and not project.saved())
    ):
        time.sleep(0.02)
    at_work = project.workers()
    state = "with states" if project.saved() else "without states"
    number = rng.choice(SIGNALS)
    victim = rng.choice([one for one in at_work if one.pid != process.pid] or at_work or [None])
    if rng.random() < 0.5:
        victim = next((one for one in at_work if one.pid == process.pid), victim)
    if victim is None or process.poll() is not None:
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return False
    role = "parent" if victim.pid == process.pid else "child"
    victim.send_signal(number)
    said = end_of(project, process)
    # A library may be loud about a process of its own that was killed; we are not about ours.
    assert role == "child" or "Traceback" not in said, said
    project.tally.update([f"{role} {number.name}", state, "moments"])
    stages = len(project.lock()["stages"])
    click.echo(f"{role} {number.name} {state}, {stages} stages in dvc.lock", err=True)
    return True


def end_of(project: Project, process: subprocess.Popen[str]) -> str:
    """What the run says until it ends, with all that work for it. It may end well."""
    said, _ = process.communicate(timeout=600)
    until = time.monotonic() + SECONDS_TO_END
    while left := project.workers():
        assert time.monotonic() < until, [one.cmdline() for one in left]
        time.sleep(0.1)
    return said


def chaos(project: Project, moments: int, seed: int) -> Counter[str]:
    """So many moments; AssertionError: something was left, lost or other than it was."""
    rng = random.Random(seed)
    began = time.monotonic()
    unbroken(project)
    longest = time.monotonic() - began  # from a start to the latest kill
    expected = project.result()
    while project.tally["moments"] < moments:
        project.clear()
        if break_once(project, rng, longest):
            unbroken(project)  # though not from its beginning
        compare(project, expected)
    return project.tally


def unbroken(project: Project) -> None:
    process = project.start()
    said, _ = process.communicate()
    assert process.returncode == 0 and "Traceback" not in said, said


def compare(project: Project, expected: dict[str, str]) -> None:
    found = project.result()
    other = {name for name in found | expected if found.get(name) != expected.get(name)}
    assert not other, f"other than in an unbroken run: {sorted(other)}"
    assert project.clone.run("dvc", "status").split() == ["check:", "always", "changed"]
    project.tally.update(["runs compared"])


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, path
    path.write_text(text.replace(old, new))


@click.command()
@click.option("--moments", default=30)
@click.option("--seed", default=1)
def main(moments: int, seed: int) -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = chaos(Project.made(Path(folder) / "project"), moments, seed)
    took = time.monotonic() - began
    click.echo(", ".join(f"{name}: {count}" for name, count in sorted(tally.items())))
    click.echo(
        f"{tally['moments']} moments in {took:.0f} s, each run to its end: nothing left, lost or "
        "changed"
    )


if __name__ == "__main__":
    main()
