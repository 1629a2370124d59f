"""After stage weights nothing asks the network: no stage opens a socket, whatever the encoder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogue import toy_catalogue as toy
from tests.encoders.test_encoders import WITH_TINY

# Python runs it first. An attempt is written down, as a library might hide the error.
WATCH = """
import socket
from pathlib import Path

def refuse(*given, **options):
    Path("sockets.log").open("a").write(f"{given}\\n")
    raise OSError("no network here")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
"""
STAGES = """
import sys
from stages.extract import main as extract
from stages.finetune import main as finetune

inputs = ["--encoder", "toy", "--weights", "data/weights/toy", "--corpus", "data/corpus/toy",
          "--images", "data/images/toy", "--workers", "0", "--device", "cpu"]
extract([*inputs, "--output", "data/features"], standalone_mode=False)
tuned = ["--output", "data/tuned", "--curve", "data/curve.csv", "--metrics", "data/recall.json"]
finetune([*inputs, *tuned], standalone_mode=False)
"""


def run(project: Path, code: str) -> subprocess.CompletedProcess[str]:
    (project / "sitecustomize.py").write_text(WATCH)
    environment = toy.environment()
    environment["PYTHONPATH"] = f"{project}:{environment['PYTHONPATH']}"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=project, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", WITH_TINY)
def test_extracting_and_fine_tuning(family: str, tmp_path: Path) -> None:
    project = toy.toy_project(tmp_path, 40, family)
    done = run(project, STAGES)
    assert done.returncode == 0, done.stderr
    assert (project / "data/features/image.npy").exists()
    assert (project / "data/tuned/model.safetensors").exists()
    assert not (project / "sockets.log").exists()


def test_the_watch_sees_an_attempt(tmp_path: Path) -> None:
    done = run(tmp_path, "import requests; requests.get('http://127.0.0.1:9/')")
    assert done.returncode != 0
    assert (tmp_path / "sockets.log").exists()
