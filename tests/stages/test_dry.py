"""`stages.repro --dry` says what would run and what would be fetched, in whatever state."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lmm4rec.params import read_params
from stages import repro as stages_repro
from tests.stages.stub_project import ROOT, colleague_of, commit, dry, project_in, ran, repro, run
from tests.study.studies import study

PIPELINE = """
stages:
  names: {cmd: echo well > names, outs: [names], always_changed: true, meta: {schedule: first}}
  raw: {cmd: mkdir raw && echo raw > raw/all, deps: [names], outs: [raw]}
  heavy: {cmd: cat raw/all > heavy, deps: [raw], params: [heavy.size], outs: [heavy]}
  light: {cmd: cat heavy > light, deps: [heavy, code.py], outs: [light]}
  lighter: {cmd: cat light > lighter, deps: [light], outs: [lighter]}
  speed:
    {cmd: cat heavy > speed.json, deps: [heavy], metrics: [speed.json: {cache: false}]}
"""
NAMES = {"raw", "heavy", "light", "lighter", "speed"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = project_in(tmp_path_factory.mktemp("first"), PIPELINE)
    (folder / "params.yaml").write_text("heavy:\n  size: 1\n")
    (folder / "code.py").write_text("pass\n")
    assert set(dry(folder)[0]) == NAMES  # nothing is here, not even the raw folder
    done = repro(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    commit(folder)
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """The finished project, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "project"))


def outs(folder: Path) -> list[Path]:
    return [folder / name for name in ("names", "raw", "heavy", "light", "lighter")]


def remove(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_nothing_to_do(project: Path) -> None:
    """What always runs first makes nothing out of date, be its output here or not."""
    (project / "names").unlink()
    assert dry(project) == dry(project, "--pull") == ({}, {})


def test_each_kind_of_change_is_named(project: Path) -> None:
    (project / "code.py").write_text("1\n")
    assert dry(project)[0] == {"light": "code.py modified", "lighter": "after light"}
    (project / "params.yaml").write_text("heavy:\n  size: 2\n")
    late, fetched = dry(project)
    assert late == {
        "heavy": "params.yaml heavy.size modified",
        "light": "code.py modified",
        "lighter": "after light",
        "speed": "after heavy",
    }
    assert fetched == {}
    assert list(dry(project, "speed")[0]) == ["heavy", "speed"]
    (project / "dvc.yaml").write_text(PIPELINE.replace("cat raw/all", "cat raw/*"))
    assert dry(project)[0]["heavy"] == "its command, params.yaml heavy.size modified"
    (project / "lighter").write_text("by hand")
    assert dry(project)[0]["lighter"] == "lighter modified"
    for name in "abcd":
        (project / name).touch()
    (project / "dvc.yaml").write_text(PIPELINE.replace("code.py]", "code.py, a, b, c, d]"))
    said = "code.py modified, a modified, b modified and 2 more"
    assert dry(project)[0]["light"] == said


def test_outputs_that_are_lacking_come_from_the_cache(project: Path) -> None:
    remove(*outs(project))
    late, fetched = dry(project)
    assert late == {}
    assert fetched == {
        "raw": "cache, 4 bytes", "heavy": "cache, 4 bytes",
        "light": "cache, 4 bytes", "lighter": "cache, 4 bytes",
    }  # fmt: skip
    # And so it is: only what runs first runs.
    done = repro(project)
    assert done.returncode == 0 and ran(done.stdout) == ["names"], done.stdout + done.stderr


def test_a_part_of_the_cache(project: Path) -> None:
    remove(project / "raw", project / "light")
    (project / "lighter").chmod(0o644)
    shutil.rmtree(project / ".dvc/cache/files")
    late, fetched = dry(project)
    assert late["raw"] == "raw is not here" and late["light"] == "after heavy"
    assert fetched == {}


def test_a_clone_without_a_remote(project: Path, tmp_path: Path) -> None:
    run("git", "clone", "-q", str(project), "clone", folder=tmp_path)
    clone = tmp_path / "clone"
    late, fetched = dry(clone)
    assert late == {
        "raw": "raw is not here", "heavy": "after raw", "light": "after heavy",
        "lighter": "after light", "speed": "after heavy",
    }  # fmt: skip
    assert fetched == {}
    assert dry(clone, "--pull") == ({}, {})
    (clone / "code.py").write_text("1\n")
    late, fetched = dry(clone, "--pull")
    assert list(late) == ["light", "lighter"]
    assert fetched == {"heavy": "nowhere, 4 bytes"}


def test_a_clone_with_a_remote(project: Path, tmp_path: Path) -> None:
    other = colleague_of(project, tmp_path)
    assert dry(other, "--pull") == ({}, {})
    (other / "code.py").write_text("1\n")
    late, fetched = dry(other, "--pull")
    assert list(late) == ["light", "lighter"]
    assert fetched == {"heavy": "remote, 4 bytes"}
    assert not (other / "heavy").exists()
    run("dvc", "fetch", "heavy", folder=other)
    assert dry(other, "--pull")[1] == {"heavy": "cache, 4 bytes"}
    done = repro(other, "--pull")
    # The change brought the same bytes, which a dry run cannot know: `lighter` need not run.
    assert ran(done.stdout) == ["names", "light"], done.stdout + done.stderr
    assert (other / "heavy").exists() and not (other / "raw").exists()


FOLDERS = """
stages:
  raw: {cmd: mkdir raw && echo raw > raw/all, outs: [raw]}
  a: {cmd: mkdir -p said && cp raw/all said/a, deps: [raw], outs: [said/a]}
  b: {cmd: mkdir -p said && cp raw/all said/b, deps: [raw], outs: [said/b]}
  report: {cmd: cat said/* raw/all > report, deps: [said, raw/all, code.py], outs: [report]}
"""


@pytest.mark.slow
def test_a_folder_of_several_stages_and_a_file_of_one(tmp_path: Path) -> None:
    """Inputs that are no stage's output, but hold some or lie in one."""
    (tmp_path / "first").mkdir()
    project = project_in(tmp_path / "first", FOLDERS)
    (project / "code.py").write_text("pass\n")
    (project / ".gitignore").write_text("/said\n")  # or DVC puts a file there
    assert repro(project).returncode == 0
    other = colleague_of(project, tmp_path)
    assert dry(other, "--pull") == ({}, {})
    (other / "code.py").write_text("1\n")
    late, fetched = dry(other, "--pull")
    assert late == {"report": "code.py modified"}
    assert set(fetched) == {"said/a", "said/b", "raw"}
    run("dvc", "pull", "said/a", "said/b", folder=other)  # DVC fetches no such folder by itself
    assert set(dry(other, "--pull")[1]) == {"raw"}
    done = repro(other, "--pull")
    assert done.returncode == 0 and ran(done.stdout) == ["report"], done.stdout + done.stderr
    assert (other / "report").read_text() == "raw\n" * 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recommenders.vbpr.dimension": 8}, "dimension is not a parameter; did you mean"),
        ({"run.features": ["clip-tny"]}, "'clip-tny' is made by nothing under `run`"),
        ({"datasets.demo.preprocess.core": "three"}, "datasets.demo.preprocess.core should be"),
    ],
)
def test_what_check_would_refuse_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """A dry run does not come to stage check, and would plan stages that cannot be."""
    folder = project_in(tmp_path, PIPELINE)
    path = study(folder)
    content = read_params(path)
    for key, value in changes.items():
        *above, last = key.split(".")
        section = content
        for step in above:
            section = section[step]
        section[last] = value
    path.write_text(json.dumps(content))
    done = repro(folder, "--dry")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("Error: params.yaml: ") and said in done.stderr


def test_a_dry_run_looks_where_dvc_yaml_lets_check_look() -> None:
    words = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]["check"]["cmd"].split()
    said = dict(pairwise(words))
    assert said["--features"] == str(stages_repro.FEATURES)
    assert said["--records"] == str(stages_repro.RECORDS)
