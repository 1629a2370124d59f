"""Items per second of extraction, end to end, beside the bare model's on ready batches:

    python -m tests.benchmarks.extraction [--device cuda] [--precision bfloat16]
        [--batch-sizes 32,128] [--workers 0,1] [--threads 2] [--items 256] [NAME ...]

Extraction reads stored JPEGs of 256 pixels and texts from Parquet, decodes, tokenizes, encodes,
and writes shards and the features folder (`lmm4rec.features.extraction.extract`). The bare model
encodes the same batches, decoded, tokenized and on the device beforehand. Both take turns; medians
stand, and their ratio is to be 0.9 or more. "work" is the same ratio of processor seconds, those of
decoding processes included: a busy machine moves it less. "matrix" is the share of the rate of a
large matrix product, measured in the same run. Weights are random and vocabularies small; no time
depends on them.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image

from lmm4rec.catalogue.pictures.images import ROW_GROUP_ROWS
from lmm4rec.devices import choose_device
from lmm4rec.encoders import encoder_class
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.clip import clip
from lmm4rec.encoders.clip.network import ClipTokenizer
from lmm4rec.encoders.picture_texts import Batch, prepared
from lmm4rec.encoders.unified import beit3, vlmo
from lmm4rec.features.efficiency import device_kind, flops_per_item, matrix_rate
from lmm4rec.features.extraction import ExtractConfig, Pace, _encode, _raw, extract
from lmm4rec.features.items import Catalogue
from tests.catalogue.toy_catalogue import write_bare_items, write_pictures

TEXT = "a warm red winter jacket with pockets for men and women in the snow made of wool"
WORDS = TEXT.split()


class Cost(NamedTuple):
    seconds: float
    processor_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=list(ENCODERS), help=", ".join(ENCODERS))
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch-sizes", type=_numbers, default=[128])
    parser.add_argument("--workers", type=_numbers, default=[1])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    logging.disable()
    device = choose_device(asked.device)
    print(f"{device_kind(device)}, {asked.precision}, {asked.items} items, {asked.repeats} turns")
    columns = ("batch", "workers", "bare/s", "extract/s", "ratio", "work", "matrix")
    print(f"{'':12}" + "".join(f"{column:>10}" for column in columns))
    with tempfile.TemporaryDirectory() as folder:
        items = generated_catalogue(Path(folder), asked.items)
        for name in asked.names:
            torch.manual_seed(0)
            encoder = ENCODERS[name]().eval().to(device)
            for batch_size in asked.batch_sizes:
                for workers in asked.workers:
                    pace = Pace(batch_size, workers, device)
                    (bare, bare_work), (whole, work) = costs(encoder, items, asked, pace, folder)
                    flops = sum(flops_per_item(encoder).values())
                    share = flops / bare / matrix_rate(asked.precision, device)
                    print(
                        f"{name:12}{batch_size:10}{workers:10}{1 / bare:10.1f}{1 / whole:10.1f}"
                        f"{bare / whole:10.3f}{bare_work / work:10.3f}{share:10.2f}", flush=True,
                    )  # fmt: skip


def costs(
    encoder: Encoder, items: Catalogue, asked: argparse.Namespace, pace: Pace, folder: str
) -> list[Cost]:
    """What an item costs the bare model, and extraction; they take turns."""
    config = ExtractConfig(precision=asked.precision, fused=False)
    starts = list(range(0, len(items), ROW_GROUP_ROWS))
    raw = prepared(_raw(items, starts, pace, config.fused), encoder, 0, pace.device)
    ready = [batch.to(pace.device) for batch in raw]

    def bare() -> None:
        forward(encoder, ready, config, pace.device)

    def whole() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            extract(encoder, items, config, pace, Path(scratch), Path(folder, "features"), {})

    forward(encoder, ready[:1], config, pace.device)  # warms up
    turns = [(cost(bare), cost(whole)) for _ in range(asked.repeats)]
    return [
        Cost(*(statistics.median(column) / len(items) for column in zip(*costs, strict=True)))
        for costs in zip(*turns, strict=True)
    ]


def forward(
    encoder: Encoder, ready: list[Batch], config: ExtractConfig, device: torch.device
) -> None:
    for batch in ready:
        _encode(encoder, batch, config, device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def cost(call: Callable[[], None]) -> Cost:
    before, start = os.times(), time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    # the first four: user and system, of this process and of those that have ended
    return Cost(seconds, sum(os.times()[:4]) - sum(before[:4]))


def generated_catalogue(folder: Path, count: int) -> Catalogue:
    """Pictures with the structure and size of photographs (15 kB), texts of 10 to 120 words."""
    rng = np.random.default_rng(0)
    ids = [f"i{row:06d}" for row in range(count)]
    texts = [" ".join(rng.choice(WORDS, rng.integers(10, 120))) for _ in ids]
    pictures = [{"item_id": i, "status": "ok", "bytes": photograph(rng)} for i in ids]
    write_bare_items(folder, ids, texts)
    write_pictures(folder, pictures, [])
    return Catalogue(folder, folder)


def photograph(rng: np.random.Generator) -> bytes:
    coarse = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
    smooth = np.asarray(coarse.resize((256, 256), Image.Resampling.BICUBIC), np.int16)
    grainy = (smooth + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grainy).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def vit_b_16() -> Encoder:
    model = open_clip.get_model_config("ViT-B-16-quickgelu")
    assert model is not None
    config = clip.ClipConfig(model=model, preprocess=asdict(PreprocessCfg()))
    return clip.Clip(config, ClipTokenizer(config.model["text_cfg"], None))


def vlmo_base_plus() -> Encoder:
    pieces = vlmo.train_wordpiece([TEXT], vlmo.TINY_VOCABULARY, 40)
    return vlmo.Vlmo(vlmo.base_plus().model_copy(update={"vocab_size": pieces.size}), pieces)


def beit3_base() -> Encoder:
    pieces = beit3.train_sentencepiece([TEXT], beit3.TINY_VOCABULARY, 64)
    changes = {"vocab_size": pieces.size, "unused_vocab_rows": 0}
    return beit3.Beit3(beit3.base().model_copy(update=changes), pieces)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


ENCODERS: dict[str, Callable[[], Encoder]] = {
    "clip-tiny": lambda: encoder_class("clip", "").tiny(WORDS),
    "beit3-tiny": lambda: encoder_class("beit3", "").tiny(WORDS),
    "vlmo-tiny": lambda: encoder_class("vlmo", "").tiny(WORDS),
    "unimodal-tiny": lambda: encoder_class("unimodal", "").tiny(WORDS),
    "clip": vit_b_16,
    "vlmo": vlmo_base_plus,
    "beit3": beit3_base,
}


if __name__ == "__main__":
    main()
