"""Locks that end with their holder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmm4rec.errors import InputError
from stages.running.holding import Held, hold, hold_patiently


def test_one_holds_and_the_next_hears_who(tmp_path: Path) -> None:
    first = hold(tmp_path, "a")
    second = hold(tmp_path, "b")
    with pytest.raises(Held) as refused:
        hold(tmp_path, "a")
    assert str(refused.value).startswith(f"process {os.getpid()} since 20")
    first.release()
    hold(tmp_path, "a").release()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_one_that_has_not_said_who_it_is_yet(tmp_path: Path) -> None:
    first = hold(tmp_path, "a")
    [path] = tmp_path.iterdir()
    path.write_text("")
    with pytest.raises(Held, match="another process"):
        hold(tmp_path, "a")
    first.release()


def test_what_a_dead_one_said_leaves_no_trace(tmp_path: Path) -> None:
    hold(tmp_path, "a").release()
    path = tmp_path / "ca978112ca1bbdca.json"
    path.write_text("x" * 5000)
    lock = hold(tmp_path, "a")
    assert json.loads(path.read_text())["what"] == "a"
    lock.release()


def test_many_take_turns(tmp_path: Path) -> None:
    """Also in the moment in which a holder removes its file."""
    code = (
        "import sys; from pathlib import Path; from stages.running.holding import hold_patiently\n"
        "counter = Path(sys.argv[1]).parent / 'counter'\n"
        "for _ in range(50):\n"
        "    lock = hold_patiently(Path(sys.argv[1]), 'a', lambda _: None, 60)\n"
        "    counter.write_text(str(int(counter.read_text()) + 1)); lock.release()\n"
    )
    (tmp_path / "counter").write_text("0")
    command = [sys.executable, "-c", code, tmp_path / "locks"]
    some = [subprocess.Popen(command) for _ in range(4)]
    assert [one.wait() for one in some] == [0] * 4
    assert (tmp_path / "counter").read_text() == "200"


def test_patience(tmp_path: Path) -> None:
    """The system releases what a killed process held."""
    code = (
        "import sys, time; from pathlib import Path; from stages.running.holding import hold\n"
        "lock = hold(Path(sys.argv[1]), 'a'); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    told: list[str] = []
    with pytest.raises(Held):
        hold_patiently(tmp_path, "a", told.append, patience=0.5)
    assert len(told) == 1 and f"process {holder.pid} since" in told[0]

    def kill(_: str) -> None:
        holder.kill()

    hold_patiently(tmp_path, "a", kill, patience=20).release()
    holder.communicate()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\).*writable"):
        hold(tmp_path / "file/locks", "a")
