"""Features of a catalogue: every item's picture and text through an encoder, resumable.

Items go in shards of `ROW_GROUP_ROWS`; a finished shard stands in the scratch folder and is not
computed again. Batches never cross shards, so a run that was killed and went on gives the bytes
of one that was not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from lmm4rec.catalogue import Catalogue
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.picture_texts import Batch, RawBatch, prepared
from lmm4rec.errors import InputError
from lmm4rec.features import Features, write_features
from lmm4rec.images import ROW_GROUP_ROWS
from lmm4rec.params import Section

log = logging.getLogger(__name__)

Shard = dict[str, NDArray[Any]]  # has_<modality> bool [n]; <modality> float32 [n, D]


class ExtractConfig(Section):
    """`encoders.<name>.extract` in params.yaml."""

    precision: Literal["float32", "bfloat16"]  # of the matrix products; features are float32
    fused: bool  # also one vector of picture and text together


@dataclass(frozen=True)
class Pace:
    """What changes speed alone."""

    batch_size: int
    workers: int
    device: torch.device


def extract(
    encoder: Encoder,
    catalogue: Catalogue,
    config: ExtractConfig,
    pace: Pace,
    scratch: Path,
    folder: Path,
    about: dict[str, object],
) -> None:
    """Write the features folder of a whole catalogue; `about` goes into about.json.

    A missing picture or text leaves a row of zeros and a flag that says so, in its own row alone.
    """
    widths = _widths(encoder, config)
    encoder.to(pace.device).eval()
    starts = range(0, len(catalogue), ROW_GROUP_ROWS)
    paths = {start: scratch / f"{start:09d}.safetensors" for start in starts}
    missing = [start for start in starts if not paths[start].exists()]
    begun = time.monotonic()
    batches = prepared(_raw(catalogue, missing, pace), encoder, pace.workers, pace.device)
    with tqdm(total=len(catalogue), unit=" items", desc="extracting") as progress:
        done = len(catalogue) - sum(_length(catalogue, start) for start in missing)
        progress.update(done)
        for start in missing:
            shard = _empty(_length(catalogue, start), widths)
            for first in range(0, len(shard["has_image"]), pace.batch_size):
                stop = min(first + pace.batch_size, len(shard["has_image"]))
                _fill(shard, first, encoder, next(batches), config, pace.device)
                progress.update(stop - first)
            _save(shard, paths[start])
    seconds = time.monotonic() - begun
    log.info("%d items in %.1f s", len(catalogue) - done, seconds)
    write_features(folder, _features(catalogue, list(paths.values()), widths), about)


def describe(encoder: Encoder, config: ExtractConfig) -> dict[str, object]:
    """What about.json says of the encoder: how a picture and a text became vectors."""
    return {
        "family": encoder.family,
        "dims": _widths(encoder, config),
        "preprocessing": _spelled(encoder.image_transform),
        "pooling": encoder.pooling,
        "normalised": True,
        "precision": config.precision,
        "dtype": "float32",
    }


def _widths(encoder: Encoder, config: ExtractConfig) -> dict[str, int]:
    widths = {"image": encoder.image_dim, "text": encoder.text_dim}
    if not config.fused:
        return widths
    if encoder.fused_dim is None:
        raise InputError(
            f"params.yaml: extract.fused is true, but {encoder.family} encodes picture and text "
            "apart; set it to false"
        )
    return {**widths, "fused": encoder.fused_dim}


def _length(catalogue: Catalogue, start: int) -> int:
    return min(ROW_GROUP_ROWS, len(catalogue) - start)


def _raw(catalogue: Catalogue, starts: list[int], pace: Pace) -> Iterator[RawBatch]:
    for start in starts:
        part = catalogue.part(start)
        for first in range(0, len(part.texts), pace.batch_size):
            rows = range(first, min(first + pace.batch_size, len(part.texts)))
            yield part.raw(rows, None)


def _empty(rows: int, widths: dict[str, int]) -> Shard:
    shard: Shard = {name: np.zeros((rows, width), np.float32) for name, width in widths.items()}
    return shard | {f"has_{name}": np.zeros(rows, bool) for name in ("image", "text")}


@torch.inference_mode()
def _fill(
    shard: Shard,
    first: int,
    encoder: Encoder,
    batch: Batch,
    config: ExtractConfig,
    device: torch.device,
) -> None:
    """Encode one batch into the shard's rows from `first` on."""
    batch = batch.to(device)
    picture_rows, text_rows = batch.picture_rows.numpy(), batch.text_rows.numpy()
    shard["has_image"][first + picture_rows] = True
    shard["has_text"][first + text_rows] = True
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        if len(picture_rows):
            shard["image"][first + picture_rows] = _array(encoder.encode_images(batch.pixels))
        if len(text_rows):
            shard["text"][first + text_rows] = _array(encoder.encode_texts(batch.tokens))
        if config.fused:
            pixels, tokens, rows = batch.pairs()
            if len(rows):
                fused = _array(encoder.encode_pairs(pixels, tokens))
                shard["fused"][first + rows.numpy()] = fused


def _array(embeddings: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = embeddings.float().cpu().numpy()
    return array


def _save(shard: Shard, path: Path) -> None:
    unfinished = path.with_suffix(".unfinished")
    save_file(shard, unfinished)
    unfinished.replace(path)


def _features(catalogue: Catalogue, paths: list[Path], widths: dict[str, int]) -> Features:
    shards = [load_file(path) for path in paths]
    joined = {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}
    present = {name: joined[f"has_{name}"] for name in ("image", "text")}
    if "fused" in widths:
        present["fused"] = present["image"] & present["text"]
    return Features(catalogue.item_ids, {name: joined[name] for name in widths}, present)


def _spelled(transform: Any) -> str:
    """The transform in one line that is the same in every process."""
    own_words: Any = type(transform).__repr__
    if own_words is not object.__repr__:
        return " ".join(repr(transform).split())
    settings = ", ".join(f"{name}={value}" for name, value in vars(transform).items())
    return f"{type(transform).__name__}({' '.join(settings.split())})"
