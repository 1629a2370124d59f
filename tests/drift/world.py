"""The fixed world of the golden numbers: NumPy draws all of it."""

from __future__ import annotations

import contextlib
import io
import os
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import torch
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML
from torch import Tensor, nn

from lmm4rec.catalogue.corpus import INTERACTIONS_SCHEMA
from lmm4rec.encoders.base import Encoder
from lmm4rec.tables import write_table
from tests.catalogue import toy_catalogue as toy
from tests.encoders.encoder_contract import COLOURS, SHAPES, tiny

N_ITEMS, N_USERS = 30, 18
ROOMS = ("corpus", "images", "weights")  # of data/, where a stage finds its inputs


def picture(rng: np.random.Generator, kind: int) -> Image.Image:
    """72 x 56 pixels: waves of a colour that tells the kind, sharp edges, and noise."""
    rows, columns = np.mgrid[:72, :56]
    waves = np.sin(rows / (3 + kind) + rng.uniform(0, 6)) * np.cos(columns / 5)
    pixels = 90 + 50 * waves[..., None] + 60 * np.eye(3)[kind] + rng.normal(0, 12, (72, 56, 3))
    pixels[10 + 15 * kind : 18 + 15 * kind, 5:50] = 230
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def items() -> tuple[list[bytes | None], list[str]]:
    """Pictures as PNG, which loses nothing, and texts of every length; some are missing."""
    rng = np.random.default_rng(11)
    pictures: list[bytes | None] = []
    texts = []
    for row in range(N_ITEMS):
        stream = io.BytesIO()
        picture(rng, row % 3).save(stream, "PNG")
        pictures.append(stream.getvalue())
        words = " ".join(rng.permutation([*COLOURS, *SHAPES]))  # no text like another
        texts.append(f"A {words}, Caf\u00e9 &amp; no. 7" + " for the house" * (12 * (row == 8)))
    for row in (toy.NO_PICTURE, toy.NEITHER):
        pictures[row] = None
    for row in (toy.NO_TEXT, toy.NEITHER):
        texts[row] = " "
    return pictures, texts


def write_project(project: Path, params: dict[str, Any]) -> None:
    """A project with the catalogue `toy`, in which users like every third item."""
    toy.write_catalogue(project, *items())
    rows = [
        {"user_id": f"u{user:02d}", "item_id": f"i{item:05d}", "rating": 5.0, "timestamp": 0,
         "split": "validation" if item >= N_ITEMS - 6 else "train"}
        for user in range(N_USERS) for item in range(user % 3, N_ITEMS, 3)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=INTERACTIONS_SCHEMA)
    write_table(table, project / "data/corpus/toy/interactions.parquet")
    write_params(project, params)


def write_params(project: Path, params: dict[str, Any]) -> None:
    with (project / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(params, stream)


def run_stage(project: Path, name: str, *options: str, mirror: Path | None = None) -> None:
    """A stage as dvc.yaml calls it, in this process; nothing of the environment's own options."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LMM4REC_")}
    clean |= {} if mirror is None else {"LMM4REC_MIRROR": str(mirror)}
    main = import_module(f"stages.{name}").main
    with contextlib.chdir(project), mock.patch.dict(os.environ, clean, clear=True):
        done = CliRunner().invoke(main, list(options), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def run_on_catalogue(project: Path, name: str, *options: str) -> None:
    """A stage in which the encoder `small` meets the catalogue `toy`; its output is data/output."""
    inputs = [part for room in ROOMS for part in (f"--{room}", f"data/{room}/toy")]
    common = ["--output", "data/output", "--device", "cpu", "--workers", "0"]
    run_stage(project, name, "--encoder", "small", *inputs, *common, *options)


@torch.no_grad()
def draw(network: nn.Module, seed: int = 20240131) -> None:
    """Give it weights that a rule of NumPy's draws, of sizes with which training goes on."""
    rng = np.random.default_rng(seed)
    for name, parameter in sorted(network.named_parameters()):
        if parameter.ndim == 0:
            continue  # the learned scales of similarities begin at a constant
        drawn = torch.from_numpy(rng.standard_normal(parameter.shape, dtype=np.float32))
        if parameter.ndim > 1:
            parameter.copy_(drawn * parameter[0].numel() ** -0.5)
        else:
            parameter.copy_(0.1 * drawn + float(name.endswith("weight")))


def drawn(family: str) -> Encoder:
    """The family's tiny encoder with such weights."""
    encoder = tiny(family)
    draw(encoder)
    return encoder


def save_weights(encoder: Encoder, project: Path) -> dict[str, Tensor]:
    """Put it where `run_on_catalogue` looks; its state, as it is now."""
    folder = project / "data/weights/toy"
    folder.mkdir(parents=True)
    encoder.save(folder)
    return {name: value.clone() for name, value in encoder.state_dict().items()}
