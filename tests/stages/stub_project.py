"""Small DVC projects whose stages are shell commands, and ways to run and ask them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def project_in(folder: Path, pipeline: str) -> Path:
    run("git", "init", "-q", folder=folder)
    run("dvc", "init", "-q", folder=folder)
    run("dvc", "config", "core.analytics", "false", folder=folder)
    (folder / "dvc.yaml").write_text(pipeline)
    return folder


def environment() -> dict[str, str]:
    beside = Path(sys.executable).parent
    kept = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return kept | {"PATH": f"{beside}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=240
    )


def start(*command: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


REPRO = (sys.executable, "-m", "stages.repro")


def repro(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(*REPRO, *arguments, folder=folder)


def dry(folder: Path, *arguments: str) -> tuple[dict[str, str], dict[str, str]]:
    """What `stages.repro --dry` says would run, and why; what would be fetched, and from where."""
    done = repro(folder, "--dry", *arguments)
    assert done.returncode == 0, done.stderr
    said: dict[str, dict[str, str]] = {"run": {}, "fetch": {}}
    for line in done.stdout.splitlines():
        verb, name, how = line.split(" ", 2)
        said[verb][name.removesuffix(":")] = how
    return said["run"], said["fetch"]


def ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if "Running stage '" in line]


def written(path: Path) -> str:
    """What a process writes there, once it has."""
    for _ in range(1200):
        if path.exists() and path.read_text().strip():
            return path.read_text().strip()
        time.sleep(0.05)
    raise AssertionError(f"{path} was never written")


def ends(pid: int, seconds: float = 30) -> bool:
    """Whether the process ends within that time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def commit(folder: Path) -> None:
    run("git", "add", "--all", folder=folder)
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    run("git", *identity, "commit", "-qm", "all", folder=folder)


def colleague_of(project: Path, team: Path) -> Path:
    """A clone of what the first one has committed and pushed."""
    remote = ("dvc", "remote", "add", "--default", "team", str(team / "remote"))
    run(*remote, folder=project)
    run("dvc", "push", folder=project)
    commit(project)
    run("git", "clone", "-q", str(project), "colleague", folder=team)
    return team / "colleague"
