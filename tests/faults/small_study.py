"""Every stage on a study of a minute, each in a fork of this process: no second import of torch.

A fork may be given a file system of its own making: folders that are read-only, or full.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from ruamel.yaml import YAML

from lmm4rec.folders import fingerprint
from tests.pipeline.small_demo import ROOT, SMALL

CLONE_NEWNS = 0x00020000  # <sched.h>
SECONDS = 120  # that a stage may take
SIZES = SMALL | {
    "run.features": ["clip-tiny"],
    "run.id_recommenders": [],
    "run.tuned": ["clip-tiny"],
    "datasets.demo.source.users": 60,
    "datasets.demo.source.items": 50,
    "training.maximum_epochs": 1,
    "encoders.clip-tiny.weights.pairs": 24,
    "encoders.clip-tiny.weights.batch_size": 8,
    "encoders.clip-tiny.finetune.batch_size": 8,
    "end2end.maximum_epochs": 1,
    "end2end.freeze_epochs": 0,
}
CATALOGUE = (
    "--encoder clip-tiny --weights data/weights/clip-tiny --corpus data/corpus/demo "
    "--images data/images/demo --workers 0 --device cpu"
)
VECTORS = "data/vectors/demo/clip-tiny/vbpr/1"
METRICS = "data/metrics/demo/clip-tiny/vbpr/1.json"
COMMANDS = {
    "check": "--features data/features --records data/sources --output data/checked/checked.txt",
    "download": "--dataset demo --output data/raw/demo --record data/sources/datasets/demo.json",
    "preprocess": "--dataset demo --raw data/raw/demo --output data/corpus/demo",
    "images": "--dataset demo --raw data/raw/demo --corpus data/corpus/demo "
    "--output data/images/demo",
    "weights": "--encoder clip-tiny --output data/weights/clip-tiny "
    "--record data/sources/encoders/clip-tiny.json --workers 0 --device cpu",
    "extract": f"{CATALOGUE} --output data/features/demo/clip-tiny",
    "finetune": f"{CATALOGUE} --output data/tuned/demo/clip-tiny "
    "--curve data/curves/demo/clip-tiny.csv --metrics data/metrics/demo/tuning/clip-tiny.json",
    "control": "--control noise --reference data/features/demo/clip-tiny "
    "--output data/controls/demo/noise",
    "train": "--recommender vbpr --seed 1 --corpus data/corpus/demo --device cpu "
    f"--features data/features/demo/clip-tiny --output {VECTORS}",
    "evaluate": f"--corpus data/corpus/demo --vectors {VECTORS} "
    f"--output data/evaluations/demo/clip-tiny/vbpr/1 --metrics {METRICS}",
    "end2end": f"{CATALOGUE} --recommender vbpr --seed 1 --vectors data/joint/vectors "
    "--output data/end2end/demo --curve data/curves/demo/joint.csv",
    "report": "--dataset demo --metrics data/metrics/demo --about data/corpus/demo/about.json "
    "--efficiency data/metrics/efficiency --output data/reports/demo",
    "efficiency": "--encoder clip-tiny --weights data/weights/clip-tiny --device cpu "
    "--output data/efficiency/clip-tiny.json --measured data/efficiency/clip-tiny.measured.json",
}
"""Stage -> its options, in an order in which each finds what it reads."""
OUTPUT_OPTIONS = ("--output", "--record", "--curve", "--vectors", "--metrics", "--measured")
READS = {"evaluate": "--vectors", "report": "--metrics"}  # what these stages only read of it

# What takes seconds to import, imported once for all forks.
for _name in (
    "encoders.clip.clip",
    "end2end.training",
    "features.efficiency",
    "evaluation.evaluation",
):
    import_module(f"lmm4rec.{_name}")

Setting = Callable[[], None]  # what is done in the fork before the stage runs


@dataclass(frozen=True)
class Outcome:
    code: int
    said: str

    @property
    def last_line(self) -> str:
        return self.said.strip().splitlines()[-1] if self.said.strip() else ""


def outputs(stage: str) -> list[Path]:
    """What it writes, as its command names it."""
    words = COMMANDS[stage].split()
    named = [word for word in OUTPUT_OPTIONS if word in words and READS.get(stage) != word]
    return [Path(words[words.index(option) + 1]) for option in named]


def study(folder: Path) -> Path:
    """A folder in which nothing has run; params.yaml as SIZES says."""
    folder.mkdir(parents=True)
    yaml = YAML()
    content = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key, value in SIZES.items():
        *above, last = key.split(".")
        section = content
        for step in above:
            section = section[step]
        section[last] = value
    with (folder / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    return folder


def run(folder: Path, stage: str, *more: str, setting: Setting | None = None) -> Outcome:
    """The stage, in a fork; `more` options stand behind its own."""
    said = folder.parent / f"{folder.name}-said"
    # numba, which a fork of a process that has used it would break, is first used in the forks.
    context = multiprocessing.get_context("fork")
    command = [*COMMANDS[stage].split(), *more]
    process = context.Process(target=_run, args=(folder, stage, command, said, setting))
    process.start()
    process.join(SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"{stage} has not ended after {SECONDS} s")
    return Outcome(process.exitcode, said.read_text(encoding="utf-8"))


def _run(folder: Path, stage: str, command: list[str], said: Path, setting: Setting | None) -> None:
    with said.open("wb") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    os.chdir(folder)
    torch.set_num_threads(1)
    main = import_module(f"stages.{stage}").main
    if setting is not None:
        setting()
    main(command)


def without_outputs(whole: Path, stage: str, folder: Path) -> Path:
    """A copy of a study in which all but this stage has run; files are shared, not folders."""
    shutil.copytree(whole, folder, copy_function=os.link)
    for path in outputs(stage):
        _remove(folder / path)
    _remove(folder / "data/scratch")
    return folder


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def result(folder: Path, stage: str) -> dict[str, str]:
    """The bytes of all that it has written; of a measurement only that it stands."""
    found = {}
    for path in outputs(stage):
        whole = folder / path
        if whole.exists():
            is_measured = "measured" in path.name
            found[str(path)] = "measured" if is_measured else fingerprint(whole)
    return found


def leftovers(folder: Path) -> list[Path]:
    """What is half-written anywhere."""
    found = [*(folder / "data").rglob("*.unfinished"), *(folder / "data").rglob(".*.before")]
    return sorted(found)


def can_mount() -> bool:
    """Whether a process may have a file system of its own making."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_alone)
    process.start()
    process.join()
    return process.exitcode == 0


def _alone() -> None:
    """From here on this process's mounts are its own, and end with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("--make-rprivate", "/")


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def read_only(path: Path) -> Setting:
    """That folder, whose files stay in sight, takes nothing."""

    def setting() -> None:
        _alone()
        path.mkdir(parents=True, exist_ok=True)
        _mount("--bind", str(path), str(path))
        _mount("-o", "remount,ro,bind", str(path))

    return setting


def full(path: Path, free_bytes: int = 0) -> Setting:
    """That folder is an empty disk with so much room; folders without content need none."""

    def setting() -> None:
        _alone()
        path.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={free_bytes + (1 << 16)}", "tmpfs", str(path))
        (path / ".filler").write_bytes(bytes(1 << 16))

    return setting


def no_file_larger_than(size: int) -> Setting:
    """No privilege is needed to set this."""

    def setting() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return setting
