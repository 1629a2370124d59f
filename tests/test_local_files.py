"""Files outside the project: another content is noticed, another time is not, and each is named."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lmm4rec import local_files
from lmm4rec.errors import InputError
from lmm4rec.local_files import LocalFiles, LocalRecord

KEY = "datasets.mine.source"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    (folder / "products.csv").write_text("id,title\n1,a\n")
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (folder / "images" / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def files(theirs: Path) -> LocalFiles:
    return {str(theirs): ("products.csv", "images")}


@pytest.fixture
def record(tmp_path: Path, files: LocalFiles) -> LocalRecord:
    """What was read under revision 1."""
    found = LocalRecord(KEY, tmp_path / "sources/mine.json", tmp_path / "scratch")
    with found.kept(1, files):
        pass
    return found


def edit(folder: Path) -> None:
    (folder / "products.csv").write_text("id,title\n1,b\n")  # of the same size


def edit_as_if_nothing_were(folder: Path) -> None:
    path = folder / "products.csv"
    before = path.stat()
    edit(folder)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (edit, "products.csv: was changed"),
    (edit_as_if_nothing_were, "products.csv: was changed"),
    (lambda folder: (folder / "products.csv").write_text(""), "products.csv: was changed"),
    (lambda folder: (folder / "products.csv").unlink(), "products.csv: was removed"),
    (lambda folder: (folder / "images/2.jpg").write_bytes(b"2.jpeg"), "2.jpg: was changed"),
    (lambda folder: (folder / "images/2.jpg").write_bytes(b"2.jpq"), "2.jpg: was changed"),
    (lambda folder: (folder / "images/2.jpg").unlink(), "2.jpg: was removed"),
    (lambda folder: (folder / "images/4.jpg").write_bytes(b""), "4.jpg: was added"),
    (
        lambda folder: (folder / "images/1.jpg").rename(folder / "images/4.jpg"),
        "1.jpg: was removed (as were 1 other files beside it)",
    ),
    (lambda folder: shutil.rmtree(folder / "images"), "1.jpg: was removed (as were 2 other"),
]


@pytest.mark.parametrize(("change", "what"), CHANGES)
@pytest.mark.parametrize("aged", [False, True])
def test_another_content_stops_and_is_named(
    theirs: Path,
    record: LocalRecord,
    change: Callable[[Path], object],
    what: str,
    aged: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if aged:  # so that sums are known by size and times
        monkeypatch.setattr(local_files, "_SETTLED_NANOSECONDS", 0)
        record.refuse_changes(1)
    change(theirs)
    for _ in range(2):  # it stays so
        with pytest.raises(InputError) as caught:
            record.refuse_changes(1)
        said = str(caught.value)
        assert f"{what}" in said and str(theirs) in said and "\n" not in said
        assert f"since it was read under revision 1; raise {KEY}.revision in params.yaml" in said
    record.refuse_changes(2)  # the advice works


def age(folder: Path) -> None:
    """As if every file had been there for an hour."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)


def test_what_was_put_back_is_as_it_was(theirs: Path, record: LocalRecord) -> None:
    before = (theirs / "products.csv").read_text()
    edit(theirs)
    with pytest.raises(InputError):
        record.refuse_changes(1)
    (theirs / "products.csv").write_text(before)
    record.refuse_changes(1)


def test_another_time_is_a_sum_and_no_stop(
    theirs: Path, record: LocalRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_files, "_SETTLED_NANOSECONDS", 0)
    record.refuse_changes(1)
    summed: list[str] = []
    digest = local_files.hashlib.file_digest

    def noted(stream: Any, name: str) -> Any:
        summed.append(Path(stream.name).name)
        return digest(stream, name)

    monkeypatch.setattr(local_files.hashlib, "file_digest", noted)
    record.refuse_changes(1)
    assert summed == []
    os.utime(theirs / "images/2.jpg", (1, 1))
    record.refuse_changes(1)
    record.refuse_changes(1)
    assert summed == ["2.jpg"]


def test_a_file_that_is_too_young_is_summed_again(theirs: Path, record: LocalRecord) -> None:
    """Within a clock's tick a file of the same size could change under the same times."""
    memories = [json.loads(path.read_text()) for path in record.scratch.rglob("*.json")]
    assert {entry[1] for memory in memories for entry in memory.values()} == {-1}


def test_the_record_is_the_same_wherever_the_same_is_read(
    tmp_path: Path, theirs: Path, record: LocalRecord, files: LocalFiles
) -> None:
    first = record.path.read_bytes()
    assert str(record.scratch) not in first.decode()
    age(theirs)
    shutil.rmtree(record.scratch)
    with record.kept(1, files):
        pass
    assert record.path.read_bytes() == first
    content = json.loads(first)["read"][str(theirs)]
    assert content["images"]["files"] == 3 and content["images"]["bytes"] == 15
    assert content["products.csv"].keys() == {"bytes", "sha256"}


def test_another_machine_compares_too(theirs: Path, record: LocalRecord) -> None:
    """The record travels in git; what a machine remembers does not."""
    shutil.rmtree(record.scratch)
    record.refuse_changes(1)
    (theirs / "images/2.jpg").unlink()
    shutil.rmtree(record.scratch)
    with pytest.raises(InputError, match=r"images: was changed, from 3 files of 15 bytes .* to 2"):
        record.refuse_changes(1)


def test_a_folder_that_is_not_here_is_passed_over(
    theirs: Path, record: LocalRecord, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(theirs)
    with caplog.at_level("INFO"):
        record.refuse_changes(1)
    assert "not on this machine, taken as it was read" in caplog.text


def test_only_what_is_read_now_is_compared(theirs: Path, record: LocalRecord) -> None:
    edit(theirs)
    record.refuse_changes(1, {str(theirs): ("images",)})
    record.refuse_changes(1, {"elsewhere": ("products.csv",)})
    with pytest.raises(InputError, match="products"):
        record.refuse_changes(1, {str(theirs): ("products.csv", "new.csv")})


def test_reading_anew_under_the_same_revision_is_refused(
    theirs: Path, record: LocalRecord, files: LocalFiles
) -> None:
    before = record.path.read_bytes()
    edit(theirs)
    with pytest.raises(InputError, match="was changed"), record.kept(1, files):
        pytest.fail("was read")
    assert record.path.read_bytes() == before
    with record.kept(2, files):
        pass
    record.refuse_changes(2)


def test_a_file_that_changes_while_it_is_read(
    theirs: Path, record: LocalRecord, files: LocalFiles
) -> None:
    before = record.path.read_bytes()
    changed = pytest.raises(InputError, match=r"products\.csv: changed while it was read; run this")
    with changed, record.kept(1, files):
        edit(theirs)
    assert record.path.read_bytes() == before


def test_hidden_files_and_folders_do_not_count(theirs: Path, record: LocalRecord) -> None:
    (theirs / "images/.DS_Store").write_bytes(b"x")
    (theirs / "images/thumbnails").mkdir()
    record.refuse_changes(1)


def test_a_single_file_as_weights_are(tmp_path: Path) -> None:
    weights = tmp_path / "mine.pt"
    weights.write_bytes(b"w")
    record = LocalRecord("encoders.mine.weights", tmp_path / "r.json", tmp_path / "scratch")
    with record.kept(1, {str(weights): (".",)}):
        pass
    record.refuse_changes(1)
    weights.write_bytes(b"v")
    with pytest.raises(InputError, match=r"mine\.pt: was changed .*encoders\.mine\.weights\.rev"):
        record.refuse_changes(1)
    weights.unlink()
    record.refuse_changes(1)


@pytest.mark.parametrize("text", ["{}", "[]", '{"revision": 1, "read": 3}', "<<<<<<< HEAD"])
def test_a_record_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.json"):
        LocalRecord(KEY, path, tmp_path).refuse_changes(1)


def test_a_memory_that_is_lost_or_broken_costs_sums_alone(
    theirs: Path, record: LocalRecord
) -> None:
    for path in record.scratch.rglob("*.json"):
        path.write_text("{")
    record.refuse_changes(1)
    edit(theirs)
    with pytest.raises(InputError):
        record.refuse_changes(1)
