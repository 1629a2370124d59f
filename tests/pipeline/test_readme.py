"""The README's commands are real: they name stages, keys, targets and options that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.strip()
]
GROUPS = ("remote", "params", "metrics", "plots", "exp", "queue")  # of DVC's commands
DVC = Path(sys.executable).parent / "dvc"


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in README and "TODO" not in README


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_targets_exist(command: str) -> None:
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("dvc ")])
def test_dvc_commands_and_options_exist(command: str) -> None:
    words = command.split()[1:]
    verbs = words[:2] if words[0] in GROUPS else words[:1]
    usage = subprocess.run([DVC, *verbs, "--help"], capture_output=True, text=True, check=True)
    for option in (word for word in words if word.startswith("--")):
        assert option in usage.stdout, (command, option)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python -m stages.")])
def test_stage_commands_and_options_exist(command: str) -> None:
    _, _, module, *rest = command.split()
    usage = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for option in (word for word in rest if word.startswith("--")):
        assert option in usage.stdout, (command, option)


def test_stages_named_in_the_readme_exist() -> None:
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    named = {name.split("@")[0] for name in re.findall(r"\b[a-z0-9-]+@[a-z]+-", README)}
    assert named and named <= set(stages)


def test_parameters_named_in_the_readme_exist() -> None:
    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    keys = re.findall(
        r"\b((?:recommenders|encoders|run|training|datasets)\.[a-z0-9_.-]+[a-z0-9])", README
    )
    assert keys
    for key in keys:
        here = params
        for step in key.split("."):
            assert step in here, key
            here = here[step]


def test_every_table_of_the_report_stands_in_the_readme_as_it_was_made() -> None:
    """The demo's numbers are copied from a run's results.md, whole lines and unrounded."""
    rows = [
        line for line in README.splitlines() if re.match(r"\| \w+ \| [\w-]+ \| 0\.\d{4} ± ", line)
    ]
    assert len(rows) >= 8
