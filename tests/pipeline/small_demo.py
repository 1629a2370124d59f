"""The project on a demo made small: a copy of the working tree in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx
from dvc.repo import Repo
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
SMALL = {
    "run.controls": ["noise"],
    "run.features": ["clip-tiny", "clip-tiny-tuned", "noise"],
    "run.recommenders": ["vbpr"],
    "run.id_recommenders": ["bpr"],
    "run.seeds": [1],
    "training.maximum_epochs": 3,
    "encoders.clip-tiny.weights.pairs": 256,
    "encoders.clip-tiny.weights.epochs": 1,
    "encoders.clip-tiny.finetune.epochs": 1,
}

END_TO_END = {
    "run.end2end": ["clip-tiny"],
    "run.end2end_recommenders": ["vbpr"],
    "end2end.maximum_epochs": 2,
    "end2end.freeze_epochs": 1,
}


class Clone:
    """A checkout of the project that DVC runs in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command here; its whole output. `dvc` is the one beside this Python."""
        programs = Path(sys.executable).parent
        environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            "LMM4REC_WORKERS": "0",
        }
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output
        return output

    def edit(self, changes: dict[str, Any]) -> None:
        """Set dotted keys of params.yaml, comments kept."""
        yaml = YAML()
        path = self.folder / "params.yaml"
        content = yaml.load(path.read_text())
        for key, value in changes.items():
            *above, last = key.split(".")
            section = content
            for step in above:
                section = section[step]
            assert last in section, key
            section[last] = value
        with path.open("w") as stream:
            yaml.dump(content, stream)

    def ran(self, output: str) -> set[str]:
        """The stages that an output of `dvc repro` says it ran (or, dry, would run first).

        All but `check`, which runs in any case and before every other.
        """
        lines = output.splitlines()
        named = [line.split("'")[1] for line in lines if line.startswith("Running stage '")]
        assert named[:1] == ["check"], output
        return set(named[1:])

    def would_run(self) -> set[str]:
        """The stages that `dvc repro` would execute now: the changed ones and all below them.

        A dry run names the changed ones only; what follows from them stands in DVC's graph.
        """
        # A stage whose input is still to be made ends the dry run: its cause stands above it.
        changed = self.ran(self.run("dvc", "repro", "--dry", check=False))
        with Repo(str(self.folder)) as repo:
            graph = repo.index.graph  # edges run from a stage to what it depends on
            below = {stage for stage in graph if stage.name in changed}
            for stage in list(below):
                below |= networkx.ancestors(graph, stage)
            names = {stage.name for stage in below}
        # What runs several stages at once must see the same.
        said = self.run(sys.executable, "-m", "stages.repro", "--dry").splitlines()
        named = {line.split()[1].rstrip(":") for line in said if line.startswith("run ")}
        assert named == names
        return names


def small_demo(folder: Path) -> Clone:
    """The files that git knows or would know, but for results; params.yaml as SMALL says."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if name.startswith("data/") or name == "dvc.lock" or not (ROOT / name).is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    clone = Clone(folder)
    clone.edit(SMALL)
    clone.run("git", "init", "--quiet")
    return clone
