"""Features of a catalogue: every item's picture and text through an encoder, resumable.

Items go in shards of `ROW_GROUP_ROWS`; a finished shard stands in the scratch folder and is not
computed again. Batches never cross shards, so a run that was killed and went on gives the bytes
of one that was not, and so do several processes that share the shards.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from lmm4rec.catalogue.pictures.images import ROW_GROUP_ROWS
from lmm4rec.distributed import is_main, own_part, wait_for_all
from lmm4rec.doors import reading
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.item_batches import Embeddings, embedded
from lmm4rec.encoders.picture_texts import Batch, PicturesWithTexts, RawBatch, prepared
from lmm4rec.errors import InputError
from lmm4rec.features.features import (
    SOURCES_ADVICE,
    Features,
    refuse_not_finite,
    write_features,
)
from lmm4rec.features.items import Catalogue
from lmm4rec.features.mean_directions import MeanDirections
from lmm4rec.folders import whole_file, whole_folder
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
    output: Path,
    about: dict[str, object],
) -> None:
    """Write the features folder `output` of a whole catalogue; `about` goes into about.json.

    A missing picture or text leaves a row of zeros and a flag that says so, in its own row alone.
    An item of which several pictures are kept gets the mean direction of their vectors.
    With several processes each computes its part of the shards and the main one writes the folder.
    """
    widths = _widths(encoder, config)
    encoder.to(pace.device).eval()
    starts = range(0, len(catalogue), ROW_GROUP_ROWS)
    paths = {start: scratch / f"{start:09d}.safetensors" for start in starts}
    missing = [start for start in starts if not paths[start].exists()]
    wait_for_all()  # a shard that is finished now is missing to nobody
    begun = time.monotonic()
    own = [int(start) for start in own_part(np.array(missing, dtype=np.int64))]
    _encode_shards(encoder, catalogue, config, pace, {start: paths[start] for start in own})
    wait_for_all()
    count = sum(_length(catalogue, start) for start in missing)
    seconds = time.monotonic() - begun
    log.info("%d items in %.1f s (%.1f items/s)", count, seconds, count / seconds)
    if is_main():
        features = _features(catalogue, list(paths.values()), widths)
        with whole_folder(output) as folder:
            write_features(folder, features, about)


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


def _encode_shards(
    encoder: Encoder,
    catalogue: Catalogue,
    config: ExtractConfig,
    pace: Pace,
    paths: dict[int, Path],
) -> None:
    """Compute the shards that begin at the items `paths` names, and save each."""
    widths = _widths(encoder, config)
    raw = _raw(catalogue, list(paths), pace, config.fused)
    batches = prepared(raw, encoder, pace.workers, pace.device)
    vectors = _vectors(encoder, batches, config, pace.device)
    total, quiet = sum(_length(catalogue, start) for start in paths), not is_main()
    with tqdm(total=total, unit=" items", desc="extracting", disable=quiet) as progress:
        for start, path in paths.items():
            shard = _empty(_length(catalogue, start), widths)
            for first in range(0, len(shard["has_image"]), pace.batch_size):
                _fill(shard, first, next(vectors))
                progress.update(min(pace.batch_size, len(shard["has_image"]) - first))
            rows, means = catalogue.further_rows(start), MeanDirections(shard)
            for first in range(0, len(rows), pace.batch_size):
                means.add(rows[first : first + pace.batch_size], next(vectors))
            means.settle(rows)
            _refuse_not_finite(shard, catalogue.item_ids.slice(start), path)
            _save(shard, path)


def _refuse_not_finite(shard: Shard, item_ids: pa.Array, path: Path) -> None:
    """Before the shard is kept: otherwise every later run would find it there."""
    for name, values in shard.items():
        if values.dtype == np.float32:
            advice = f"the encoder makes such {name} vectors: {SOURCES_ADVICE}"
            refuse_not_finite(values, item_ids, path, advice)


def _raw(
    catalogue: Catalogue, starts: list[int], pace: Pace, with_fused: bool
) -> Iterator[RawBatch]:
    """Of each shard its items, then the further pictures of those that have several."""
    for start in starts:
        yield from _batches(catalogue.part(start), pace)
        further = catalogue.further(start)
        if not with_fused:  # their texts have been encoded
            further = PicturesWithTexts(further.pictures, [""] * len(further.texts))
        yield from _batches(further, pace)


def _batches(part: PicturesWithTexts, pace: Pace) -> Iterator[RawBatch]:
    for first in range(0, len(part.texts), pace.batch_size):
        yield part.raw(range(first, min(first + pace.batch_size, len(part.texts))), None)


def _empty(rows: int, widths: dict[str, int]) -> Shard:
    shard: Shard = {name: np.zeros((rows, width), np.float32) for name, width in widths.items()}
    return shard | {f"has_{name}": np.zeros(rows, bool) for name in ("image", "text")}


def _vectors(
    encoder: Encoder, batches: Iterator[Batch], config: ExtractConfig, device: torch.device
) -> Iterator[Embeddings]:
    """The vectors of each batch, in order.

    A batch is asked for its vectors only once the next one is under way: a CUDA device then has
    work while the processor waits, unpacks and fetches.
    """
    waiting: Embeddings | None = None
    for batch in _on_device(batches, device):
        vectors = _encode(encoder, batch, config, device)
        if waiting is not None:
            yield waiting
        waiting = vectors
    if waiting is not None:
        yield waiting


def _on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Copies to a CUDA device run beside its computations, in a stream of their own."""
    if device.type != "cuda":
        yield from batches
        return
    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(copying):
            moved = batch.to(device)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        for tensor in (moved.pixels, *moved.tokens.values()):
            tensor.record_stream(computing)  # its memory is not free before they are through
        yield moved


@torch.inference_mode()
def _encode(
    encoder: Encoder, batch: Batch, config: ExtractConfig, device: torch.device
) -> Embeddings:
    """Embeddings by modality with the rows of the batch they belong to, still on the device."""
    modalities = ("image", "text", "fused") if config.fused else ("image", "text")
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        return embedded(encoder, batch, modalities)


def _fill(shard: Shard, first: int, vectors: Embeddings) -> None:
    """Put the vectors of one batch into the shard's rows from `first` on."""
    for name, (rows, values) in vectors.items():
        shard[name][first + rows.numpy()] = values.float().cpu().numpy()
        if name != "fused":
            shard[f"has_{name}"][first + rows.numpy()] = True


def _save(shard: Shard, path: Path) -> None:
    with whole_file(path) as unfinished:
        save_file(shard, unfinished)


def _load(path: Path) -> Shard:
    with reading(path, "a whole shard", "delete it and run stage extract again"):
        return load_file(path)


def _features(catalogue: Catalogue, paths: list[Path], widths: dict[str, int]) -> Features:
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise InputError(
            f"{absent[0]}: another process of this run computed it elsewhere; let all machines "
            "share the project's folder"
        )
    shards = [_load(path) for path in paths]
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
