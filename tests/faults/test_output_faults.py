"""The table of faults of what is written to: one sentence, nothing half-written, nothing lost.

Every stage meets every one of them on each of its outputs and in scratch; afterwards it is run as
if nothing had been, and comes to the bytes of a run that met none.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lmm4rec.resuming import Savepoint
from tests.faults.small_study import (
    COMMANDS,
    Outcome,
    Setting,
    can_mount,
    full,
    leftovers,
    no_file_larger_than,
    outputs,
    read_only,
    result,
    run,
    without_outputs,
)

pytestmark = pytest.mark.slow

FULL = "the disk is full; make room there and run this again"
READ_ONLY = "the disk is read-only; make it writable and run this again"
TORCH = "cannot be written; make room there and run this again"  # it does not say why
LIMIT = "larger than a file may be there; raise `ulimit -f`, or use another disk and run this again"
IN_THE_WAY = "a file stands where a folder is to be; move it away and run this again"
FOLDER_IN_THE_WAY = "a folder stands where a file is to be; move it away and run this again"
ON_OUTPUTS = {"read-only": (read_only, READ_ONLY), "full": (full, FULL)}
OUTPUTS = [(stage, str(path)) for stage in COMMANDS for path in outputs(stage)]
IN_SCRATCH = {
    "read-only": {
        **dict.fromkeys(["download", "images", "weights", "extract"], READ_ONLY),
        **dict.fromkeys(["finetune", "train", "end2end", "check"], READ_ONLY),
    },
    "full": {
        **dict.fromkeys(["images", "extract", "check"], FULL),
        **dict.fromkeys(["weights", "finetune", "train", "end2end"], TORCH),
    },
}
SCRATCH = [(fault, stage) for fault, stages in IN_SCRATCH.items() for stage in stages]
LIMITED = {stage: LIMIT for stage in COMMANDS if stage not in ("check", "efficiency")}
LIMITED |= dict.fromkeys(["weights", "finetune", "end2end"], f"{LIMIT}|{TORCH}")
needs_mounts = pytest.mark.skipif(not can_mount(), reason="may not mount a disk of its own")


def refused(done: Outcome, sentence: str) -> None:
    assert done.code == 1 and "Traceback" not in done.said, done.said
    assert re.fullmatch(rf"Error: (?:datasets\.demo: )?{sentence}", done.last_line), done.said
    assert done.said.count("Error: ") == 1, done.said


def unharmed(folder: Path, stage: str, whole: Path, *, had_begun: bool = True) -> None:
    """What stands is what an unbroken run makes, and the next run makes the rest."""
    expected = result(whole, stage)
    assert not leftovers(folder)
    assert result(folder, stage).items() <= expected.items()
    if not had_begun:
        assert not result(folder, stage)
        return
    done = run(folder, stage)
    assert done.code == 0, done.said
    assert result(folder, stage) == expected and not leftovers(folder)


def save_always(setting: Setting) -> Setting:
    """Trainings save their state after every epoch, not every half minute."""

    def both() -> None:
        Savepoint.__init__.__defaults__ = (-1.0,)  # type: ignore[attr-defined]
        setting()

    return both


@needs_mounts
@pytest.mark.parametrize("fault", ON_OUTPUTS)
@pytest.mark.parametrize(("stage", "output"), OUTPUTS)
def test_an_output_that_cannot_be_written(
    stage: str, output: str, fault: str, whole: Path, tmp_path: Path
) -> None:
    setting, sentence = ON_OUTPUTS[fault]
    folder = without_outputs(whole, stage, tmp_path / "project")
    done = run(folder, stage, setting=setting((folder / output).parent))
    place = Path(output).parent
    first = next(path for path in outputs(stage) if path.parent == place)  # that is asked after
    named = str(first) if fault == "read-only" else rf"{place}/\S+"
    refused(done, f"{named}: {sentence}")
    unharmed(folder, stage, whole, had_begun=fault == "full")


@needs_mounts
@pytest.mark.parametrize(("fault", "stage"), SCRATCH)
def test_scratch_that_cannot_be_written(
    fault: str, stage: str, whole: Path, tmp_path: Path
) -> None:
    folder = without_outputs(whole, stage, tmp_path / "project")
    setting = save_always(ON_OUTPUTS[fault][0](folder / "data/scratch"))
    done = run(folder, stage, setting=setting)
    refused(done, rf"data/scratch/\S+: {IN_SCRATCH[fault][stage]}")
    unharmed(folder, stage, whole, had_begun=fault == "full")


@pytest.mark.parametrize("stage", LIMITED)
def test_files_that_may_not_grow(stage: str, whole: Path, tmp_path: Path) -> None:
    """As on a disk that is full in the midst of a file, and without leave to mount one."""
    folder = without_outputs(whole, stage, tmp_path / "project")
    done = run(folder, stage, setting=no_file_larger_than(500))
    refused(done, rf"data/\S+: ({LIMITED[stage]})")
    unharmed(folder, stage, whole)


@pytest.mark.parametrize("stage", COMMANDS)
def test_something_else_in_the_place_of_an_output(stage: str, whole: Path, tmp_path: Path) -> None:
    folder = without_outputs(whole, stage, tmp_path / "project")
    output = outputs(stage)[0]
    if output.suffix:
        (folder / output).mkdir(parents=True)
        sentence = FOLDER_IN_THE_WAY
    else:
        (folder / output).write_text("mine")
        sentence = IN_THE_WAY
    refused(run(folder, stage), f"{output}: {sentence}")
    assert output.suffix or (folder / output).read_text() == "mine"
    (folder / output).rmdir() if output.suffix else (folder / output).unlink()
    unharmed(folder, stage, whole)


@pytest.mark.parametrize("stage", ["preprocess", "control", "train", "evaluate", "report"])
def test_what_stood_stays_where_the_new_finds_no_room(
    stage: str, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(whole, folder)
    refused(run(folder, stage, setting=no_file_larger_than(500)), rf"data/\S+: {LIMIT}")
    assert result(folder, stage) == result(whole, stage) and not leftovers(folder)
