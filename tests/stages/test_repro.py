"""`python -m stages.repro` on small pipelines whose stages tell when they ran."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

from tests.stages.stub_project import ROOT, colleague_of, dry, project_in, ran, repro, run

# Stages `a` and `b` each wait for the other's sign, so that they end only if they run together.
MEET = """
import os, pathlib, sys, time
me, other = sys.argv[1:]
pathlib.Path(me + ".here").touch()
for _ in range(600):
    if pathlib.Path(other + ".here").exists():
        break
    time.sleep(0.1)
else:
    sys.exit("nobody came")
gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
pathlib.Path(me).write_text(os.environ["OMP_NUM_THREADS"] + gpu)
"""
PIPELINE = """
stages:
  names: {cmd: 'printf "1 of 2\\r2 of 2\\n"; touch names', outs: [names], meta: {schedule: first}}
  a: {cmd: python meet.py a b, outs: [a]}
  b: {cmd: python meet.py b a, outs: [b]}
  speed: {cmd: ls *.busy > speed || true, deps: [a], outs: [speed], meta: {schedule: alone}}
  c: {cmd: touch c.busy && sleep 1 && cat a b > c && rm c.busy, deps: [a, b], outs: [c]}
  d: {cmd: touch d.busy && sleep 1 && cp c d && rm d.busy, deps: [c], outs: [d]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "meet.py").write_text(MEET)
    return project_in(tmp_path, PIPELINE)


def test_stages_run_together_and_measurements_alone(project: Path) -> None:
    done = repro(project, "--jobs", "2", "--devices", "5,7")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert "5 of 6 stages are out of date; 2 at once" in said
    assert "[a] > python meet.py a b" in said
    assert "[names] 2 of 2" in said and "[names] 1 of 2" not in said  # a progress bar's last state
    assert said.index("[names]") < said.index("[a]")
    assert "up to date" in said.splitlines()[-1]
    assert (project / "speed").read_text() == ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = str(max(1, (cores or 1) // 2))
    assert {(project / name).read_text() for name in "ab"} == {threads + "5", threads + "7"}
    lock = (project / "dvc.lock").read_text()
    assert dumps_yaml(parse_yaml_for_update(lock, "dvc.lock")) == lock  # as DVC itself writes it
    assert run("dvc", "status", folder=project).stdout.strip() == (
        "Data and pipelines are up to date."
    )

    again = repro(project, "--jobs", "2")
    assert again.returncode == 0 and "Running" not in again.stdout
    assert dry(project) == ({}, {})


def test_targets_and_what_they_need_run_and_nothing_else(project: Path) -> None:
    assert list(dry(project, "c")[0]) == ["a", "b", "c"]
    assert repro(project, "c").returncode == 0
    assert (project / "c").exists() and not (project / "d").exists()
    # A stage below a changed one is late although its own inputs are not changed yet.
    (project / "meet.py").write_text(MEET + "# again\n")
    (project / "dvc.yaml").write_text(PIPELINE.replace("cat a b > c", "cat b a > c"))
    assert list(dry(project)[0]) == ["speed", "c", "d"]


SHARED = """
stages:
  raw: {cmd: echo raw > raw, outs: [raw]}
  heavy: {cmd: cat raw > heavy, deps: [raw], outs: [heavy]}
  light: {cmd: cat heavy > light, deps: [heavy], outs: [light]}
  lighter: {cmd: cat light > lighter, deps: [light], outs: [lighter]}
  other: {cmd: cat raw > other, deps: [raw], outs: [other]}
"""


@pytest.mark.slow
def test_a_colleagues_change_runs_on_what_is_fetched_for_it(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    team = tmp_path_factory.mktemp("team")
    (project / "dvc.yaml").write_text(SHARED)
    assert repro(project).returncode == 0
    other = colleague_of(project, team)
    added = "  new: {cmd: cat other > new, deps: [other], outs: [new]}\n"
    (other / "dvc.yaml").write_text(SHARED.replace("cat heavy >", "cat heavy heavy >") + added)
    late, fetched = dry(other, "--pull")
    assert set(late) == {"light", "lighter", "new"}
    assert fetched == {"heavy": "remote, 4 bytes", "other": "remote, 4 bytes"}
    done = repro(other, "--pull", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(ran(done.stdout)) == {"light", "lighter", "new"}
    assert done.stdout.splitlines()[-1] == "6 stages are up to date"
    assert (other / "lighter").read_text() == "raw\nraw\n"
    assert (other / "heavy").exists() and (other / "other").exists()
    assert not (other / "raw").exists()


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_failure_is_named_and_its_dependents_do_not_run(project: Path, keep_going: bool) -> None:
    (project / "dvc.yaml").write_text(
        "stages:\n"
        "  well: {cmd: touch well, outs: [well]}\n"
        "  bad: {cmd: 'echo the cause >&2; exit 3', deps: [well], outs: [bad]}\n"
        "  after: {cmd: cp bad after, deps: [bad], outs: [after]}\n"
        "  last: {cmd: cp after last, deps: [bad, after], outs: [last]}\n"
        "  least: {cmd: cp last least, deps: [last, after], outs: [least]}\n"
        "  good: {cmd: sleep 1 && touch good, outs: [good]}\n"
        "  later: {cmd: cp good later, deps: [good], outs: [later]}\n"
        "  latest: {cmd: cp later latest, deps: [later, good], outs: [latest]}\n"
    )
    done = repro(project, "--jobs", "1", *(["--keep-going"] if keep_going else []))
    assert done.returncode == 1
    assert "[bad] the cause" in done.stdout
    assert done.stderr.strip().startswith("Error: bad failed, see the lines above")
    assert "[bad] failed after" in done.stdout
    assert "what is done stays done" in done.stderr and "Traceback" not in done.stderr
    assert (project / "well").exists() and not (project / "after").exists()
    assert (project / "latest").exists() == keep_going


@pytest.mark.parametrize(
    ("pipeline", "arguments", "said"),
    [
        (PIPELINE, ["--jobs", "3", "--devices", "0,1"], "name as many devices as jobs"),
        (PIPELINE, ["nothing"], "'nothing'"),
        ("stages: {a: {cmd: 'echo ${run.name}'}}\n", [], "run.name"),
        ("stages: [\n", [], "dvc.yaml"),
    ],
)
def test_errors_are_one_sentence(
    project: Path, pipeline: str, arguments: list[str], said: str
) -> None:
    (project / "dvc.yaml").write_text(pipeline)
    done = repro(project, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ") and said in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_what_runs_in_any_case_and_what_needs_it(project: Path) -> None:
    (project / "dvc.yaml").write_text(
        "stages:\n"
        "  ask: {cmd: echo > ask, outs: [ask], always_changed: true}\n"
        "  use: {cmd: cp ask use, deps: [ask], outs: [use]}\n"
    )
    assert repro(project).returncode == 0
    assert dry(project)[0] == {"ask": "runs in any case", "use": "after ask"}
    done = repro(project)
    assert done.returncode == 0 and ran(done.stdout) == ["ask"], done.stdout + done.stderr


def test_a_stage_that_undoes_another_is_named(project: Path) -> None:
    (project / "dvc.yaml").write_text(
        "stages:\n"
        "  a: {cmd: echo 1 > a, outs: [a]}\n"
        "  b: {cmd: chmod +w a && echo 2 > a && touch b, deps: [a], outs: [b]}\n"
    )
    done = repro(project)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: a has run and is out of date again (a modified)")


def test_misspelt_parameters_are_named_before_dvc_reads_them(project: Path) -> None:
    shutil.copyfile(ROOT / "params.yaml", project / "params.yaml")
    assert dry(project)[0].keys() == {"a", "b", "c", "d", "speed"}
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("\n  seeds:", "\n  sedes:", 1))
    done = repro(project, "--dry")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("Error: params.yaml: run.sedes")
