"""Whatever is killed, nobody is left at work; whoever comes second waits or is told who works."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.stages.stub_project import REPRO, ends, project_in, ran, run, start, written

LONG = """
import os, sys, time
from pathlib import Path
import click
from stages.running.command import output_path, stage

@stage
@click.option("--output", type=output_path)
@click.option("--seconds", type=float, default=600)
def main(output, seconds):
    with open("pids", "a") as stream:
        stream.write(f"{os.getpid()}\\\\n")
    time.sleep(seconds)
    output.write_text("whole")

main()
"""
# As two processes of torchrun, which takes the place of the first.
SHARED = """
import os, time
from stages.running.command import encoder_on_a_catalogue, stage

@stage
@encoder_on_a_catalogue
def main(**options):
    with open(f"pid-{os.environ['RANK']}", "w") as stream:
        stream.write(str(os.getpid()))
    time.sleep(600)

main()
"""
DVC = ("dvc", "repro")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "long.py").write_text(LONG.replace("\\\\n", "\\n"))
    return project_in(tmp_path, "stages: {long: {cmd: python long.py --output out, outs: [out]}}")


def pid_in(path: Path) -> int:
    return int(written(path).split()[-1])


@pytest.mark.parametrize("command", [DVC, REPRO], ids=["dvc", "stages.repro"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stage_ends_with_those_it_works_for(
    project: Path, command: tuple[str, ...], number: signal.Signals
) -> None:
    if command == DVC and number == signal.SIGINT:
        pytest.skip("DVC leaves Ctrl-C to its command, which a terminal sends it too")
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("this run of tests ignores the signal, and what it starts inherits that: nohup")
    process = start(*command, folder=project)
    try:
        stage = pid_in(project / "pids")
        between = {one.pid for one in psutil.Process(process.pid).children(recursive=True)}
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert stage in between and all(ends(pid) for pid in between)
    if command == REPRO and number in (signal.SIGTERM, signal.SIGINT):
        assert said.strip().endswith(f"Error: stopped by {number.name}; what is done stays done")
        assert process.returncode == 1


def test_a_shell_that_stays_between_saves_no_stage(project: Path) -> None:
    (project / "dvc.yaml").write_text(
        "stages: {long: {cmd: 'true && python long.py --output out; true', outs: [out]}}"
    )
    process = start(*DVC, folder=project)
    stage = pid_in(project / "pids")
    assert psutil.Process(stage).ppid() != process.pid
    process.kill()
    process.wait()
    assert ends(stage)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_stage_ends_with_its_worker_and_is_the_one_that_failed(
    project: Path, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bash the worker is the stage's parent; other shells stay between the two."""
    monkeypatch.setenv("SHELL", shutil.which(shell) or "/bin/sh")
    process = start(*REPRO, folder=project)
    stage = pid_in(project / "pids")
    [worker] = psutil.Process(process.pid).children()
    assert worker.pid in {one.pid for one in psutil.Process(stage).parents()}
    worker.kill()
    said, error = process.communicate(timeout=60)
    assert ends(stage)
    assert process.returncode == 1 and error.startswith("Error: long failed"), error
    assert "[long] DVC's process ended with code -9" in said


def test_a_stage_ends_with_its_shell_and_is_the_one_that_failed(project: Path) -> None:
    command = "true && python long.py --output out; true"
    (project / "dvc.yaml").write_text(f"stages: {{long: {{cmd: '{command}', outs: [out]}}}}")
    process = start(*REPRO, folder=project)
    stage = pid_in(project / "pids")
    shell = psutil.Process(stage).parent()
    assert shell is not None and shell.ppid() != process.pid  # a worker lies between
    shell.kill()
    said, error = process.communicate(timeout=60)
    assert ends(stage)
    assert process.returncode == 1 and error.startswith("Error: long failed"), error
    assert f"[long] ERROR: failed to run: {command}, exited with -9" in said


def test_a_stage_started_by_hand_outlives_its_shell(project: Path) -> None:
    shell = start("bash", "-c", "python long.py --output out --seconds 3; true", folder=project)
    stage = pid_in(project / "pids")
    shell.kill()
    shell.wait()
    assert written(project / "out") == "whole" and ends(stage)


def test_processes_of_torchrun_end_too(project: Path) -> None:
    (project / "shared.py").write_text(SHARED)
    options = "--encoder e --weights . --corpus . --images . --output out --processes 2"
    (project / "dvc.yaml").write_text(
        f"stages: {{long: {{cmd: 'python shared.py {options}; true', outs: [out]}}}}"
    )
    process = start(*DVC, folder=project)
    try:
        ranks = [pid_in(project / f"pid-{rank}") for rank in range(2)]
        torchrun = psutil.Process(ranks[0]).ppid()
        # It holds the output in the place of the process that it was.
        second = start(sys.executable, "long.py", "--output", "out", folder=project)
        line = second.stderr.readline()  # type: ignore[union-attr]
        second.kill()
        assert f"out is being made by process {torchrun} since" in line
    finally:
        process.kill()
        process.wait()
    assert ends(torchrun) and all(ends(rank) for rank in ranks)


def test_a_second_run_of_a_stage_is_told_who_is_at_work(project: Path) -> None:
    first = start(sys.executable, "long.py", "--output", "out", folder=project)
    try:
        pid_in(project / "pids")
        done = run(sys.executable, "long.py", "--output=./out", "--seconds=1", folder=project)
        assert done.returncode == 1
        assert "long.py --output out): waiting a little" in done.stderr
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"Error: out is being made by process {first.pid} since 20")
        assert last.endswith(
            "(python long.py --output out); let it end or kill it, then run this again"
        )
        other = run(sys.executable, "long.py", "--output=other", "--seconds=0", folder=project)
        assert other.returncode == 0 and other.stderr == ""
    finally:
        first.kill()
        first.wait()
    after = run(sys.executable, "long.py", "--output", "out", "--seconds", "0", folder=project)
    assert after.returncode == 0 and after.stderr == ""  # nothing of the dead one is left


def test_two_runs_come_to_one_result(project: Path) -> None:
    """The second waits, says for whom, and finds nothing left to do."""
    (project / "dvc.yaml").write_text(
        "stages: {long: {cmd: python long.py --output out --seconds 4, outs: [out]}}"
    )
    first = start(*REPRO, folder=project)
    pid_in(project / "pids")
    second = start(*REPRO, folder=project)
    one, two = (process.communicate(timeout=120) for process in (first, second))
    assert first.returncode == second.returncode == 0, (one, two)
    assert ran(one[0]) == ["long"] and ran(two[0]) == []
    assert two[1].startswith(f"waiting for another stages.repro: process {first.pid} since 20")
    assert two[0] == "1 stages are up to date\n"


def test_what_a_plain_dvc_repro_makes_is_waited_for(project: Path) -> None:
    (project / "dvc.yaml").write_text(
        "stages: {long: {cmd: python long.py --output out --seconds 6, outs: [out]}}"
    )
    first = start(*DVC, folder=project)
    pid_in(project / "pids")
    second = start(*REPRO, folder=project)
    one, two = (process.communicate(timeout=120) for process in (first, second))
    assert first.returncode == second.returncode == 0, (one, two)
    assert "waiting: 'out' is busy" in two[0].replace(os.path.abspath(project) + "/", "")
    assert f"(PID {first.pid})" in two[0] and ran(two[0]) == []


def test_a_second_ctrl_c_is_not_needed(project: Path) -> None:
    """A stage that does not listen to Ctrl-C is killed after a while."""
    text = (project / "long.py").read_text()
    (project / "long.py").write_text(
        text.replace("import click", "import click, signal\nsignal.signal(2, signal.SIG_IGN)")
    )
    process = start(
        sys.executable, "-c",
        "import stages.running.slots as slots; slots.SECONDS_TO_END = 2; "
        "from stages.repro import main; main()",
        folder=project,
    )  # fmt: skip
    stage = pid_in(project / "pids")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 1 and ends(stage) and time.monotonic() - began < 30


@pytest.mark.parametrize("left", ["", '{"write": {"/a'])
def test_a_list_of_work_that_was_left_half_written(project: Path, left: str) -> None:
    (project / ".dvc/tmp").mkdir(exist_ok=True)
    (project / ".dvc/tmp/rwlock").write_text(left)
    (project / "dvc.yaml").write_text("stages: {a: {cmd: touch a, outs: [a]}}")
    assert "corrupted" in run(*DVC, folder=project).stderr
    done = run(*REPRO, folder=project)
    assert done.returncode == 0 and "left half written" in done.stdout, done.stdout + done.stderr
