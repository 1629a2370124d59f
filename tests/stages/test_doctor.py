"""`python -m stages.doctor`: what DVC takes on trust is read again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.cli import main as dvc

from stages.running.health import examine, half_files, locks, other_versions

ROOT = Path(__file__).parents[2]
PIPELINE = """
stages:
  folder: {cmd: mkdir made && echo one > made/a && echo two > made/b, outs: [made]}
  file: {cmd: cat made/a made/b > both, deps: [made], outs: [both]}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    for command in (["init", "--no-scm", "-q"], ["repro", "-q"]):
        assert dvc(command) == 0
    yield tmp_path


def doctor(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.doctor", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def object_with(content: str) -> Path:
    objects = [path for path in Path(".dvc/cache").rglob("*") if path.is_file()]
    return next(path for path in objects if path.read_text() == content)


def spoil(path: Path) -> None:
    """Other bytes of the same length, written and dated as DVC left them."""
    dates = path.stat()
    path.chmod(0o644)
    path.write_text(path.read_text().swapcase())
    path.chmod(dates.st_mode)
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))


def test_all_is_well(project: Path) -> None:
    done = doctor()
    assert (done.returncode, done.stdout.strip()) == (0, "All is well.")


@pytest.mark.parametrize("content", ["one\n", "one\ntwo\n"])
def test_a_damaged_object_is_found_and_mended(project: Path, content: str) -> None:
    """As the attack showed: DVC restores it without a word."""
    spoil(object_with(content))
    place = Path("made/a") if content == "one\n" else Path("both")
    place.unlink()
    assert dvc(["checkout", "-q"]) == 0 and place.read_text() == content.swapcase()
    done = doctor()
    assert done.returncode == 1
    assert "damaged in the cache" in done.stdout and str(place) in done.stdout
    assert doctor("--mend").returncode == 0
    assert dvc(["repro", "-q"]) == 0
    assert place.read_text() == content
    assert doctor().stdout.strip() == "All is well."


def test_a_damaged_folder_listing_is_found(project: Path) -> None:
    listing = next(Path(".dvc/cache").rglob("*.dir"))
    spoil(listing)
    sentences = [finding.sentence for finding in examine(project)]
    assert any(str(listing) in sentence for sentence in sentences), sentences


def test_a_changed_output_is_named_with_its_stage(project: Path) -> None:
    Path("both").unlink()
    Path("both").write_text("other\n")
    (finding,) = examine(project)
    assert finding.sentence.startswith("both: not as file left it; run `dvc checkout file`")
    assert finding.harmful and not finding.useless
    doctor("--mend")
    assert Path("both").read_text() == "other\n"  # a person's own work is never deleted
    assert dvc(["checkout", "--force", "-q", "file"]) == 0
    assert list(examine(project)) == []


def test_half_files_are_named_but_scratch_is_not(tmp_path: Path) -> None:
    for name in ("data/vectors/demo/.1.unfinished", "data/scratch/train-1/a.unfinished"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "dvc.lock.unfinished").write_text("")
    found = [finding.useless[0].name for finding in half_files(tmp_path)]
    assert found == [".1.unfinished", "dvc.lock.unfinished"]


@pytest.mark.parametrize(
    ("content", "said", "harmful"),
    [
        ('{"write": {"a": {"pid": 999999999, "cmd": "x"}}}', "999999999", False),
        ('{"read": {"a": [{"pid": 999999999, "cmd": "x"}]}}', "999999999", False),
        ('{"write": {"a": {"pi', "cannot read its list", True),
        ("[1]", "cannot read its list", True),
    ],
)
def test_locks_of_the_dead(tmp_path: Path, content: str, said: str, harmful: bool) -> None:
    (tmp_path / "rwlock").write_text(content)
    (finding,) = locks(tmp_path)
    assert said in finding.sentence and finding.harmful == harmful


def test_locks_of_the_living_are_left_alone(tmp_path: Path) -> None:
    assert list(locks(tmp_path)) == []
    (tmp_path / "rwlock").write_text(f'{{"write": {{"a": {{"pid": {os.getpid()}, "cmd": "x"}}}}}}')
    assert list(locks(tmp_path)) == []


def test_other_versions_are_named(tmp_path: Path) -> None:
    path = tmp_path / "constraints.txt"
    assert list(other_versions(path)) == []
    path.write_text("# tested\nnumpy==0.1\nno-such-package==1\n")
    (finding,) = other_versions(path)
    assert finding.sentence.startswith("numpy ") and "0.1 was tested" in finding.sentence
    assert [one.sentence for one in other_versions(ROOT / "constraints.txt")] == []
