"""What an encoder costs: parameters, operations per item, items per second, and memory.

Parameters and operations are counted, the rest is measured and belongs to the machine and the
moment. Pictures are noise of 256 pixels and texts fill the encoder's longest input, as the
descriptions of real catalogues do; both are prepared beforehand.

Operations are those of matrix products and convolutions (torch.utils.flop_counter), a
multiply-add counting as two.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lmm4rec.encoders.base import Encoder, TextBatch
from lmm4rec.encoders.tuning.trainable import Trainable, Tune

BATCH_SIZES = {"cpu": (8, 32), "cuda": (32, 64, 128, 256, 512, 1024)}  # tried; the fastest stands
TIMED_BATCHES = 3  # of each size, after one that warms up; their median stands
TIMED_PRODUCTS = 8  # the best stands: it is to show what the device can do
PICTURE_PIXELS = 256
LONG_TEXT = "a warm red winter jacket with pockets " * 40
COUNTED = ("flops_per_item", "parameters")  # the same on every machine
MATRIX_SIDES = {"cpu": 2048, "cuda": 8192}  # of the product that shows what the device can do


@dataclass(frozen=True)
class Pairs:
    """B ready pairs on a device."""

    pixels: Tensor  # [B, 3, S, S]
    tokens: TextBatch  # each [B, L]

    @classmethod
    def generated(cls, encoder: Encoder, count: int, device: torch.device) -> Pairs:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (PICTURE_PIXELS, PICTURE_PIXELS, 3), np.uint8)
        pixels = encoder.image_transform(Image.fromarray(noise)).expand(count, -1, -1, -1)
        tokens = encoder.tokenizer([LONG_TEXT] * count)
        moved = {name: values.to(device) for name, values in tokens.items()}
        return cls(pixels.contiguous().to(device), moved)


def efficiency(
    encoder: Encoder, precision: str, tune: Tune, device: torch.device
) -> dict[str, object]:
    """The encoder's line of the table; `tune` says what fine-tuning would train.

    The encoder must not be used afterwards: the counting adapts it.
    """
    encoder.to(device).eval()
    batch_size, rate = fastest(encoder, precision, device)
    memory = peak_memory_mib(device)  # before the counting, which needs gradients
    flops = flops_per_item(encoder)
    share = rate * sum(flops.values()) / matrix_rate(precision, device)
    return {
        "device": device_kind(device),
        "precision": precision,
        "batch_size": batch_size,
        "items_per_second": round(rate, 1),
        "share_of_matrix_rate": round(share, 3),
        "peak_memory_mib": round(memory),
        "flops_per_item": flops,
        "parameters": parameter_counts(encoder, tune),
    }


def parameter_counts(encoder: Encoder, tune: Tune) -> dict[str, int]:
    """All of them; those that image and text vectors depend on; those that fine-tuning trains.

    What both towers share counts in each.
    """
    pairs = Pairs.generated(encoder, 1, encoder.device)
    counts = {
        "total": sum(p.numel() for p in encoder.parameters()),
        "image_tower": _reached(encoder, encoder.encode_images(pairs.pixels)),
        "text_tower": _reached(encoder, encoder.encode_texts(pairs.tokens)),
    }
    groups = Trainable(encoder, tune).groups(1.0, 0.0, 1.0)
    return counts | {"trained": sum(p.numel() for group in groups for p in group["params"])}


def _reached(encoder: Encoder, embedding: Tensor) -> int:
    parameters = [p for p in encoder.parameters() if p.requires_grad]  # others are constants
    gradients = torch.autograd.grad(embedding.sum(), parameters, allow_unused=True)
    pairs = zip(parameters, gradients, strict=True)
    return sum(p.numel() for p, gradient in pairs if gradient is not None)


def flops_per_item(encoder: Encoder) -> dict[str, int]:
    """Operations of one picture and of one text of full length, forward."""
    pairs = Pairs.generated(encoder, 1, encoder.device)
    return {
        "image": _counted(partial(encoder.encode_images, pairs.pixels)),
        "text": _counted(partial(encoder.encode_texts, pairs.tokens)),
    }


def _counted(call: Callable[[], object]) -> int:
    # With gradients and plain attention no fused operation hides its products from the counter.
    counter = FlopCounterMode(display=False)
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        call()
    return int(counter.get_total_flops())


def fastest(encoder: Encoder, precision: str, device: torch.device) -> tuple[int, float]:
    """The batch size with the highest rate, and that rate: pairs per second, forward."""
    rates: dict[int, float] = {}
    for size in BATCH_SIZES[device.type]:
        try:
            pairs = Pairs.generated(encoder, size, device)
            rates[size] = size / forward_seconds(encoder, pairs, precision, TIMED_BATCHES)
        except torch.cuda.OutOfMemoryError:
            break  # larger ones do not fit either
    best = max(rates, key=lambda size: rates[size])
    return best, rates[best]


def forward_seconds(encoder: Encoder, pairs: Pairs, precision: str, repeats: int) -> float:
    """Median time of image and text embeddings of a ready batch, after one that warms up."""
    device = pairs.pixels.device

    @torch.inference_mode()
    def forward() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            encoder.encode_images(pairs.pixels)
            encoder.encode_texts(pairs.tokens)

    return statistics.median(seconds_of(forward, repeats, device))


def matrix_rate(precision: str, device: torch.device) -> float:
    """Operations per second of one large square matrix product, the best of a few."""
    side, kind = MATRIX_SIDES[device.type], getattr(torch, precision)
    left, right = (torch.ones(side, side, dtype=kind, device=device) for _ in range(2))
    return 2 * side**3 / min(seconds_of(lambda: left @ right, TIMED_PRODUCTS, device))


def seconds_of(call: Callable[[], object], repeats: int, device: torch.device) -> list[float]:
    """Times of `repeats` calls, after one that is not timed; waits for a CUDA device."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return times[1:]


def peak_memory_mib(device: torch.device) -> float:
    """On CUDA what tensors took at most; on CPU the whole process, its libraries included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def device_kind(device: torch.device) -> str:
    """What kind of device it is, and never which machine."""
    if device.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}"
