"""Every writer under every limit: the whole file or a sentence, and what stood there stays."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import save_file

from lmm4rec.arrays import write_array
from lmm4rec.doors import finished_name, unwritable, writing
from lmm4rec.encoders.tuning.tuning_curve import write_curve
from lmm4rec.errors import InputError
from lmm4rec.folders import disk_sentence, refuse_unwritable, whole_file, whole_folder, write_json
from lmm4rec.resuming import save_state
from lmm4rec.tables import write_table

NUMBERS = np.random.default_rng(1).random(3001).astype(np.float32)  # no whole number of pages


def with_safetensors(path: Path) -> None:
    with whole_file(path) as unfinished:
        save_file({"numbers": NUMBERS}, unfinished)


WRITERS: dict[str, Callable[[Path], None]] = {
    "arrays": lambda path: write_array(path, NUMBERS),
    "tables": lambda path: write_table(pa.table({"numbers": NUMBERS}), path),
    "JSON": lambda path: write_json(path, NUMBERS.tolist()),
    "states": lambda path: save_state(path, {"numbers": torch.from_numpy(NUMBERS)}),
    "weights": with_safetensors,
    "curves": lambda path: write_curve(path, [{"epoch": epoch} for epoch in range(3001)]),
}


def _limited(write: Callable[[Path], None], path: Path, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write(path)
    except InputError:
        os._exit(3)  # a traceback ends with 1
    os._exit(0)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_whose_file_may_not_grow(writer: str, tmp_path: Path) -> None:
    write, path = WRITERS[writer], tmp_path / "folder" / "file"
    write(path)
    content = path.read_bytes()
    size = len(content)
    # what C's buffers hold at the end is what is lost without a word, where it can be
    limits = [0, 1, 127, size // 2, 4096, size - 4096, size - 1000, size - 4, size - 1, size]
    for limit in limits:
        path.write_bytes(b"before")
        process = multiprocessing.get_context("fork").Process(
            target=_limited, args=(write, path, limit)
        )
        process.start()
        process.join(60)
        fits = limit >= size
        assert process.exitcode == (0 if fits else 3), limit
        assert path.read_bytes() == (content if fits else b"before"), limit
        assert [one.name for one in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "x"), "the disk is full; make room there"),
        (OSError(errno.EDQUOT, "x"), "the quota of this disk is used up; make room there"),
        (OSError(errno.EROFS, "x"), "the disk is read-only; make it writable"),
        (PermissionError(errno.EACCES, "x"), "writing there is not permitted; make it and its"),
        (PermissionError(errno.EPERM, "x"), "writing there is not permitted; make it and its"),
        (OSError(errno.EBUSY, "x"), "a disk is mounted there; mount it a folder higher"),
        (OSError(errno.ENAMETOOLONG, "x"), "the name is too long for this disk; shorten the names"),
        (OSError(errno.EIO, "x"), "the disk fails; use another one"),
        (OSError(errno.ESTALE, "x"), "the network's disk is gone; mount it again"),
        (FileNotFoundError(errno.ENOENT, "x"), "its folder was removed meanwhile; leave it there"),
    ],
)
def test_what_the_system_says(error: OSError, sentence: str) -> None:
    with (
        pytest.raises(InputError, match=f"^a/b: {sentence}.* and run this again$"),
        writing(Path("a/.b.unfinished")),
    ):
        raise error


@pytest.mark.parametrize(
    "error",
    [OSError("no number"), OSError(errno.EINVAL, "x"), OSError(errno.EBADF, "x"), ValueError("x"),
     RuntimeError("x"), KeyError("x")],
)  # fmt: skip
def test_a_mistake_of_ours_keeps_its_traceback(error: Exception, tmp_path: Path) -> None:
    assert unwritable(error, Path("a")) is None
    for around in (writing, whole_file, whole_folder):
        with pytest.raises(type(error)) as caught, around(tmp_path / "a"):  # type: ignore[operator]
            raise error
        assert caught.value is error and not list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_a_mistake_within_a_folder(tmp_path: Path) -> None:
    """Who writes into a folder that he has not made has a mistake to mend."""
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "a") as folder:
        (folder / "b" / "c").write_text("")


@pytest.mark.parametrize("inside", [True, False])
def test_a_full_disk_within_a_folder_names_the_file(inside: bool, tmp_path: Path) -> None:
    named, sentence = ("other/file", "other/file") if inside else (None, str(tmp_path / "a"))
    with (
        pytest.raises(InputError, match=f"^{sentence}: the disk is full"),
        whole_folder(tmp_path / "a"),
    ):
        raise OSError(errno.ENOSPC, "x", named)
    assert not list(tmp_path.iterdir())


def test_of_a_copy_that_finds_no_room_the_target_is_named() -> None:
    error = OSError(errno.ENOSPC, "x", "from", None, "to")
    assert str(disk_sentence(error, Path("a"))).startswith("to: the disk is full")
    assert disk_sentence(PermissionError(errno.EACCES, "x"), Path("a")) is None


def test_a_place_below_a_file_is_refused_before_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="a file stands where one of its folders is to be"):
        refuse_unwritable(tmp_path / "file" / "a" / "b")
    refuse_unwritable(tmp_path / "folders" / "to" / "come")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_this_person_may_not_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(InputError, match="writing there is not permitted; make it and its folder"):
        refuse_unwritable(tmp_path / "a")


def test_names_of_unfinished_files_are_those_they_will_have() -> None:
    assert finished_name(Path("a/.b.unfinished/.c.npy.unfinished")) == Path("a/b/c.npy")
    assert finished_name(Path("a/b.unfinished/.d")) == Path("a/b.unfinished/.d")
