"""TorchScript archives: their tensors, and nothing of what they would do."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from lmm4rec.encoders.files.checkpoints import read_checkpoint
from lmm4rec.encoders.files.torchscript import is_torchscript, torchscript_tensors
from lmm4rec.errors import InputError
from tests.encoders.files.armed_archive import WRITTEN, armed_archive, scripted


class Program(nn.Module):
    """Parameters, buffers and, between them, values of the types that programs keep."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(3, 4))
        self.blocks = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.register_buffer("length", torch.tensor(77))
        self.sizes, self.rates, self.flags = [1, 2], [0.5], [True]
        self.tensors = [torch.ones(2)]
        self.names, self.pair, self.nothing = {"a": 1.5}, (1, "a"), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    program = Program().half()
    scripted(program, tmp_path / "program.pt")
    return tmp_path / "program.pt", program.state_dict()


def test_tensors_are_torchs_own_under_their_names(
    archive: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    path, state = archive
    assert is_torchscript(path)
    found = torchscript_tensors(path)
    assert found.keys() == state.keys()
    for name, values in state.items():
        assert found[name].dtype == values.dtype and torch.equal(found[name], values)
        assert not found[name].requires_grad


def test_nothing_of_an_archive_runs(tmp_path: Path) -> None:
    target = tmp_path / WRITTEN
    path = armed_archive(tmp_path / "armed.pt", target)
    for read in (torchscript_tensors, read_checkpoint):
        with pytest.raises(InputError, match=r"armed\.pt: a(rchive)? TorchScript archive"):
            read(path)
    assert not target.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(str(path))  # the archive is armed indeed
    assert target.exists()


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """The archive with other members' contents; None leaves one out."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            changed = change(name, content)
            if changed is not None:
                new.writestr(name, changed)


class Touching:
    def __reduce__(self) -> tuple[object, tuple[object]]:
        return (Path.touch, (Path(WRITTEN),))


def tree(replacement: bytes) -> Callable[[str, bytes], bytes | None]:
    return lambda name, content: replacement if name.endswith("/data.pkl") else content


@pytest.mark.parametrize(
    "change",
    [
        tree(pickle.dumps(Touching(), protocol=2)),
        tree(b"cos\nsystem\n(U\x1etouch written-by-the-archive\ntR."),
        tree(b"c__torch__.M\nTouch\n)\x81}U\x01ac__builtin__\neval\nU\x011\x85Rsb."),
        tree(b""),
        tree(b"\x80\x02."),
        tree(b"\x80\x02}."),
        tree(b"\x80\x02K\x01."),
        tree(b"\x80\x02r\xff\xff\xff\xff."),
        tree(b"\x80\x02\x8a" + b"\xff" * 40),
        tree(b"garbage"),
        lambda name, content: None if name.endswith("/data.pkl") else content,
        lambda name, content: None if "/data/" in name else content,
        lambda name, content: content[:-1] if "/data/" in name else content,
        lambda name, content: b"17" if name.endswith("/byteorder") else content,
    ],
)
def test_damaged_and_hostile_archives_are_one_sentence(
    archive: tuple[Path, dict[str, torch.Tensor]],
    change: Callable[[str, bytes], bytes | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path, _ = archive
    rewritten(path, change)
    with pytest.raises(InputError, match=r"program\.pt: a TorchScript archive that is damaged"):
        torchscript_tensors(path)
    assert not Path(WRITTEN).exists()


def test_flipped_bytes_are_tensors_or_a_sentence(
    archive: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    path, _ = archive
    whole = path.read_bytes()
    at = range(0, len(whole), max(1, len(whole) // 150))
    for position in at:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x5A]) + whole[position + 1 :])
        if is_torchscript(path):
            try:
                torchscript_tensors(path)
            except InputError:
                continue


def test_an_archive_that_unpacks_to_more_than_its_size(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("bomb/constants.pkl", b"")
        bomb.writestr("bomb/data.pkl", b"\x80\x02}.")
        bomb.writestr("bomb/data/0", bytes(50_000_000))
    with pytest.raises(InputError, match="unpacks to more than its own size"):
        torchscript_tensors(path)


def test_modules_in_a_circle_end(archive: tuple[Path, dict[str, torch.Tensor]]) -> None:
    """A module that is its own part."""
    path, _ = archive
    rewritten(path, tree(b"\x80\x02c__torch__\nM\n)\x81q\x00}X\x04\x00\x00\x00selfh\x00sb."))
    assert torchscript_tensors(path) == {}


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" * 9])
def test_what_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(content)
    assert not is_torchscript(tmp_path / "w")
    assert not is_torchscript(tmp_path / "absent")


def test_state_dicts_are_no_archives(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(2), "n": struct.calcsize("q")}, buffer)
    (tmp_path / "w").write_bytes(buffer.getvalue())
    assert not is_torchscript(tmp_path / "w")
