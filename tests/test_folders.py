"""Outputs are whole or absent; scratch folders are found again by the same inputs only."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmm4rec.errors import InputError
from lmm4rec.folders import fingerprint, read_json, scratch_folder, whole_folder, write_json


def test_a_failure_leaves_the_old_folder_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with whole_folder(target) as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), whole_folder(target) as folder:
        (folder / "a").write_text("half")
        raise RuntimeError
    assert (target / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_leftovers_of_a_dead_process_are_cleared(tmp_path: Path) -> None:
    dead = tmp_path / ".out.unfinished"
    dead.mkdir()
    (dead / "rubbish").write_text("x")
    with whole_folder(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []


def test_scratch_is_named_by_its_inputs(tmp_path: Path) -> None:
    first = scratch_folder(tmp_path, "extract", {"a": 1, "b": 2}, "hash")
    assert scratch_folder(tmp_path, "extract", {"b": 2, "a": 1}, "hash") == first
    assert scratch_folder(tmp_path, "extract", {"a": 1, "b": 3}, "hash") != first


def test_fingerprints_see_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    (tmp_path / "a").write_text("2")
    changed = fingerprint(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({before, changed, fingerprint(tmp_path)}) == 3


def test_json_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(InputError, match="dvc pull"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"x\.json: not valid JSON"):
        read_json(path)
    write_json(path, {"b": 1, "a": 2})
    assert path.read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
