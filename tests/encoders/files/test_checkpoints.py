"""Checkpoint files: what is read, and what is refused with which sentence."""

import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lmm4rec.encoders.files.checkpoints import read_checkpoint
from lmm4rec.errors import InputError


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


def test_no_code_in_a_checkpoint_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"a": torch.zeros(3)}, "extra": Payload()}, tmp_path / "w.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    for name in ("w.pth", "raw.pth"):
        with pytest.raises(InputError, match=r"pth: (holds Python objects|truncated, damaged)"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "touched").exists()


def torch_bytes(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def safetensors_bytes(tmp_path):
    save_file({"a": torch.zeros(100)}, tmp_path / "whole")
    return (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda _: b"", "not a whole checkpoint"),
        (lambda _: b"\n<!DOCTYPE html><html>not found</html>", "a web page, not a checkpoint"),
        (lambda _: b"these are no weights at all", "not a whole checkpoint"),
        (lambda _: torch_bytes({"a": torch.zeros(9999)})[:-500], "not a whole checkpoint"),
        (lambda _: torch_bytes({"a": torch.zeros(9999)})[:300], "not a whole checkpoint"),
        (lambda folder: safetensors_bytes(folder)[:-8], "not a whole checkpoint"),
        (lambda folder: safetensors_bytes(folder)[:5], "not a whole checkpoint"),
        (lambda _: torch_bytes({"epoch": 3}), "holds no named tensors"),
        (lambda _: torch_bytes(torch.zeros(3)), "holds no named tensors"),
        (lambda _: torch_bytes({"model": {}}), "holds no named tensors"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, sentence):
    path = tmp_path / "weights.pth"
    path.write_bytes(content(tmp_path))
    with pytest.raises(InputError, match=rf"weights\.pth: {sentence}"):
        read_checkpoint(path)


@pytest.mark.parametrize("length", [0x80, 0x4B50, 0x3C20, 0x2080, 0x3C08])
def test_safetensors_whose_length_looks_like_another_format(tmp_path: Path, length: int) -> None:
    """The header's length fills the first bytes: it may read as a pickle, a zip or a web page."""
    given = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(3)}, given)
    content = given.read_bytes()
    header, values = content[8:-12].rstrip(), content[-12:]
    given.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + values)
    torch.testing.assert_close(read_checkpoint(given)["a"], torch.ones(3))


def test_absent_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="absent: cannot be read; run the stage"):
        read_checkpoint(tmp_path / "absent")


def test_torchscript_archives_are_refused(tmp_path):
    class Scale(torch.nn.Module):
        def forward(self, x):
            return x * 2

    torch.jit.trace(Scale(), torch.zeros(1)).save(tmp_path / "clip.pt")
    with pytest.raises(InputError, match=r"clip\.pt: a TorchScript archive"):
        read_checkpoint(tmp_path / "clip.pt")


def test_a_model_without_weights_draws_none_and_keeps_the_compiler_out() -> None:
    code = (
        "import sys; from torch import nn;"
        "from lmm4rec.encoders.files.checkpoints import without_weights\n"
        "with without_weights():\n"
        "    model = nn.Sequential(nn.Linear(3, 2), nn.Embedding(4, 2), nn.LayerNorm(2))\n"
        "    nn.init.trunc_normal_(model[0].weight); nn.init.normal_(model[1].weight)\n"
        "assert all(p.is_meta and p.requires_grad for p in model.parameters())\n"
        "assert [tuple(p.shape) for p in model[0].parameters()] == [(2, 3), (2,)]\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
