"""A small catalogue on disk for the encoder stages: some pictures and texts are missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from lmm4rec.catalogue.corpus import ITEMS_SCHEMA, PICTURES_SCHEMA, write_items
from lmm4rec.catalogue.pictures.images import (
    IMAGES,
    IMAGES_SCHEMA,
    MORE_IMAGES,
    MORE_IMAGES_SCHEMA,
    ROW_GROUP_ROWS,
)
from lmm4rec.folders import write_json
from lmm4rec.tables import write_table
from tests.encoders.encoder_contract import COLOURS, SHAPES, jpeg, tiny

ROOT = Path(__file__).parents[2]
NO_PICTURE, NO_TEXT, NEITHER = 3, 5, 7  # rows of the items that lack something

PARAMS = """
encoders:
  toy:
    revision: 1
    extract: {precision: float32, fused: false}
    finetune: {seed: 1, epochs: 3, batch_size: 32, learning_rate: 1e-3, weight_decay: 0.1,
      warmup_share: 0.1, layer_decay: 0.9, gradient_norm: 1.0, validation_share: 0.2,
      augment: true, precision: float32, tune: {kind: all}}
"""


def toy_items(count: int, seed: int = 0) -> tuple[list[bytes | None], list[str]]:
    """Pictures and texts that agree on a colour and a shape."""
    rng = np.random.default_rng(seed)
    pictures: list[bytes | None] = []
    texts = []
    for _ in range(count):
        colour, place = str(rng.choice(list(COLOURS))), int(rng.integers(len(SHAPES)))
        noise = rng.integers(-15, 15, (64, 64, 3)) + np.array(COLOURS[colour])
        noise[16 * place : 16 * place + 12, 8:56] = 255
        pictures.append(jpeg(Image.fromarray(noise.clip(0, 255).astype(np.uint8))))
        texts.append(f"{colour} {SHAPES[place]} number {rng.integers(100)}")
    for row in (NO_PICTURE, NEITHER):
        pictures[row] = None
    for row in (NO_TEXT, NEITHER):
        texts[row] = " "
    return pictures, texts


def write_catalogue(project: Path, pictures: list[bytes | None], texts: list[str]) -> None:
    """data/corpus/toy and data/images/toy as preprocess and images would leave them."""
    corpus, images = project / "data/corpus/toy", project / "data/images/toy"
    corpus.mkdir(parents=True)
    images.mkdir(parents=True)
    ids = [f"i{row:05d}" for row in range(len(texts))]
    write_bare_items(corpus, ids, texts)
    rows = [{"item_id": i, "status": "ok" if p else "no-link", "bytes": p}
            for i, p in zip(ids, pictures, strict=True)]  # fmt: skip
    write_pictures(images, rows, [])


def write_bare_items(corpus: Path, ids: list[str], texts: list[str]) -> None:
    """Items of a corpus with a text each and nothing else."""
    items = [{"item_id": i, "title": t, "text": t, "group": None, "interactions": 1}
             for i, t in zip(ids, texts, strict=True)]  # fmt: skip
    described = pa.Table.from_pylist(items, schema=ITEMS_SCHEMA).drop_columns(["image"])
    write_items(described, PICTURES_SCHEMA.empty_table(), corpus)


def write_pictures(
    folder: Path, rows: list[dict[str, object]], more: list[dict[str, object]]
) -> None:
    """The rows of images.parquet and of more_images.parquet, and about.json."""
    table = pa.Table.from_pylist(rows, schema=IMAGES_SCHEMA)
    write_table(table, folder / IMAGES, ROW_GROUP_ROWS)
    further = pa.Table.from_pylist(more, schema=MORE_IMAGES_SCHEMA)
    write_table(further, folder / MORE_IMAGES, ROW_GROUP_ROWS)
    without = sum(row["status"] == "no-link" for row in rows)
    named = len(rows) - without + len(more)
    about = {"items": len(rows), "pictures_by_status": {"no-link": without}}
    write_json(folder / "about.json", about | {"pictures_named": named})


def toy_project(project: Path, count: int, family: str = "clip") -> Path:
    """A project folder in which stages extract and finetune run with encoder `toy`."""
    (project / "params.yaml").write_text(PARAMS)
    write_catalogue(project, *toy_items(count))
    weights = project / "data/weights/toy"
    weights.mkdir(parents=True)
    tiny(family).save(weights)
    return project


def stage_command(name: str, output: str, *options: str) -> list[str]:
    inputs = ["--weights", "data/weights/toy", "--corpus", "data/corpus/toy"]
    inputs += ["--images", "data/images/toy", "--output", output, "--workers", "0"]
    return [sys.executable, "-m", f"stages.{name}", "--encoder", "toy", *inputs, *options]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(project: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, timeout=300
    )


def kill_once_there(project: Path, command: list[str], pattern: str) -> None:
    """Start a stage and kill it as soon as a file of `pattern` stands in its scratch folder."""
    process = subprocess.Popen(command, cwd=project, env=environment(), stderr=subprocess.DEVNULL)
    while not list((project / "data/scratch").glob(pattern)):
        assert process.poll() is None, "the stage ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
