"""The table of faults in weights and saved states: refused by the file's and the tensor's name."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import BaseModel
from safetensors.numpy import save_file as save_shard
from safetensors.torch import save_file

from lmm4rec.encoders.files.checkpoints import load_exactly, read_checkpoint, write_encoder
from lmm4rec.errors import InputError
from lmm4rec.features import extraction
from lmm4rec.resuming import Savepoint, load_state, save_state, tensor_not_finite

CPU = torch.device("cpu")
NAN = float("nan")


def state(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(2, 3), "bias": torch.ones(2), **changed}


def load(path: Path) -> torch.nn.Module:
    model = torch.nn.Linear(3, 2)
    load_exactly(model, read_checkpoint(path), str(path))
    return model


STATES: dict[str, tuple[dict[Any, Any], str]] = {
    "NaN": (state(bias=torch.tensor([1.0, NAN])), "tensor bias holds NaN or infinity"),
    "infinity": (state(weight=torch.full((2, 3), -torch.inf)), "tensor weight holds NaN"),
    "half of infinity": (state(bias=torch.full((2,), torch.inf).half()), "tensor bias holds NaN"),
    "whole numbers": (state(bias=torch.ones(2, dtype=torch.int64)), "bias is torch.int64, not tor"),
    "truth values": (state(weight=torch.ones(2, 3).bool()), "weight is torch.bool, not torch"),
    "complex numbers": (
        state(bias=torch.ones(2, dtype=torch.complex64)),
        "bias is torch.complex64",
    ),
}


@pytest.mark.parametrize("fault", STATES)
@pytest.mark.parametrize("write", [save_file, torch.save])
def test_weights_with_a_fault_are_refused(fault: str, write: Any, tmp_path: Path) -> None:
    content, sentence = STATES[fault]
    path = tmp_path / "model.safetensors"
    write(content, path)
    with pytest.raises(InputError, match=rf"model\.safetensors: .*{sentence}"):
        load(path)
    write(state(), path)
    assert (load(path).bias == 1).all()


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "numbers as names": (
        lambda path: torch.save({1: torch.ones(2), None: 3}, path), "holds no named tensors"
    ),
    "a number beside names": (lambda path: torch.save({1: torch.ones(2), **state()}, path), ""),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps(np.ones(3))), "would run code|whole"),
    "an old pickle": (lambda path: path.write_bytes(pickle.dumps([1], 0)), "not a whole"),
    "nothing": (lambda path: path.write_bytes(b""), "not a whole checkpoint"),
    "a header of 2**60 bytes": (
        lambda path: path.write_bytes((2**60).to_bytes(8, "little") + b"{"), "not a whole"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FILES)
def test_files_that_are_no_weights(fault: str, tmp_path: Path) -> None:
    write, sentence = FILES[fault]
    path = tmp_path / "model.safetensors"
    write(path)
    if not sentence:
        assert set(read_checkpoint(path)) == {"weight", "bias"}
        return
    with pytest.raises(InputError, match=rf"model\.safetensors: .*({sentence})"):
        read_checkpoint(path)


class Config(BaseModel):
    size: int = 3


def test_an_encoder_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        model.bias[1] = NAN
    with pytest.raises(InputError, match=r"model\.safetensors: tensor bias holds NaN"):
        write_encoder(tmp_path, "toy", Config(), model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"model": {"a": torch.ones(2), "b": torch.tensor([NAN])}}, "model.b"),
        ({"optimizer": {"state": {0: {"moment": torch.tensor(torch.inf)}}}}, "optimizer.state.0.m"),
        ({"curve": [torch.ones(1), (torch.tensor(NAN),)]}, "curve.1.0"),
    ],
)
def test_a_saved_state_that_is_not_finite(
    content: dict[str, Any], name: str, tmp_path: Path
) -> None:
    save_state(tmp_path / "latest.pt", content)
    with pytest.raises(InputError, match=rf"latest\.pt: tensor {name}.* holds NaN or infinity"):
        Savepoint(tmp_path).load(CPU)


def test_numbers_beside_tensors_may_be_anything() -> None:
    sound = {"losses": [NAN], "rows": torch.ones(2, dtype=torch.int64), "w": torch.ones(1)}
    assert tensor_not_finite(sound) is None


@pytest.mark.parametrize("damage", [lambda c: c[:-20], lambda c: b"", lambda c: b"\x80" + c[1:]])
def test_a_damaged_state_is_refused_by_name(damage: Any, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    save_state(path, {"a": torch.ones(99)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"best\.pt: not a whole saved state .*delete its folder"):
        load_state(path, CPU)


def test_a_shard_of_features_that_is_not_finite_is_not_kept(tmp_path: Path) -> None:
    vectors = np.ones((3, 2), np.float32)
    vectors[1, 0] = np.nan
    shard = {"image": np.ones((3, 2), np.float32), "text": vectors, "has_text": np.ones(3, bool)}
    with pytest.raises(InputError, match=r"0\.safetensors: the vector of item 'b' .* text vectors"):
        extraction._refuse_not_finite(shard, pa.array(["a", "b", "c"]), tmp_path / "0.safetensors")


def test_a_damaged_shard_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "0.safetensors"
    save_shard({"image": np.ones((3, 2), np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"0\.safetensors: not a whole shard .*delete it and run"):
        extraction._load(path)
