"""A step of end-to-end training at real size: CLIP ViT-B/16 under VBPR, a catalogue like Sports.

    python -m tests.benchmarks.end2end_step [--device cuda] [--triples 2048]
        [--micro-batches 64 256 1024] [--checkpointing]

Weights and pictures are random; the step is the library's own. Each micro-batch size runs in a
process of its own. Columns: distinct items of the step; items a second forward (without graph) and
in a whole step (every pass, both backward passes and both optimizers); the share of the device's
matrix rate that the step's arithmetic reaches (a product of two large matrices in the same
precision, timed in the same process; arithmetic as torch counts it, the second forward pass
included); peak memory, of the device or, on CPU, of the process.

On CUDA matrix products are in bfloat16, on CPU in float32. Where open_clip is not installed, towers
of the same sizes made of torch's own blocks stand in for its.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PICTURE, TEXT_TOKENS, VOCABULARY, WIDTH = 224, 77, 49408, 512
REPEATS = 5


def main() -> None:
    import torch

    has_cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda" if has_cuda else "cpu")
    parser.add_argument("--triples", type=int, default=2048 if has_cuda else 8)
    sizes = [64, 256, 1024] if has_cuda else [2, 4, 16]
    parser.add_argument("--micro-batches", type=int, nargs="+", default=sizes)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        measure(arguments, torch.device(arguments.device))
        return
    print(
        f"{'micro-batch':>11} {'items':>6} {'forward/s':>10} {'step/s':>8} {'share':>6} {'GiB':>6}"
    )
    for size in arguments.micro_batches:
        command = [sys.executable, "-m", __spec__.name, "--one", str(size), *sys.argv[1:]]
        subprocess.run(command, cwd=ROOT, check=True)


def measure(arguments: argparse.Namespace, device: Any) -> None:
    """Print one line."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from lmm4rec.end2end.live import LiveEncoder
    from lmm4rec.end2end.step import JointLoss
    from lmm4rec.training.training import adam

    torch.manual_seed(0)
    encoder = vit_b16().to(device).eval()
    if arguments.checkpointing:
        encoder.checkpoint_activations()
    precision = "bfloat16" if device.type == "cuda" else "float32"
    live = LiveEncoder(encoder, ("image", "text"), precision, arguments.one, device)
    model, triples, items = recommender(arguments.triples, device)
    [parts] = live.served(RandomItems(), [items])
    loss = JointLoss(live, model, alignment_weight=0.1)
    optimizers = adam(model), torch.optim.AdamW(encoder.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward(triples, parts)
        for optimizer in optimizers:
            optimizer.step()

    @torch.no_grad()
    def forward() -> None:
        for part in parts:
            live.encode([part])

    with FlopCounterMode(display=False) as counted:
        step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = timed(step, device)
    peak = (
        torch.cuda.max_memory_allocated(device) / 2**30
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    )
    forward_seconds = timed(forward, device)
    share = counted.get_total_flops() / seconds / matrix_rate(device)
    print(
        f"{arguments.one:11} {len(items):6} {len(items) / forward_seconds:10.1f} "
        f"{len(items) / seconds:8.1f} {share:6.0%} {peak:6.1f}",
        flush=True,
    )


def matrix_rate(device: Any) -> float:
    """Operations a second of one large matrix product."""
    import torch

    side = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    left @ right
    return 2 * side**3 / timed(lambda: left @ right, device)


def timed(run: Callable[[], object], device: Any) -> float:
    """Median seconds of a few runs."""
    import torch

    seconds = []
    for _ in range(REPEATS):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def recommender(n_triples: int, device: Any) -> Any:
    """VBPR with its bank, one batch of triples, and the distinct items in it."""
    import numpy as np

    from lmm4rec.features.features import Features
    from lmm4rec.recommenders.vbpr import VBPR
    from lmm4rec.training.sampling import TripleSampler
    from lmm4rec.training.training import on_device
    from tests.benchmarks.recommenders import SCALES, generated_view, section

    view = generated_view(SCALES["sports"])
    rng = np.random.default_rng(0)
    matrices = {
        name: rng.standard_normal((view.n_items, WIDTH), dtype=np.float32) / WIDTH**0.5
        for name in ("image", "text")
    }
    present = {name: np.ones(view.n_items, bool) for name in matrices}
    bank = Features(view.item_ids, matrices, present)
    model = VBPR(view, bank, section("vbpr")).to(device)
    model.content.refresh(bank)
    triples = next(TripleSampler(view.train, view.n_users, 0).epoch(1, n_triples))
    items = np.unique(np.concatenate([triples.positives, triples.negatives])).astype(np.int64)
    return model, on_device(triples, device), items


class RandomItems:
    """Pictures of noise, texts of any tokens."""

    def batches(self, order: Any) -> Any:
        import torch

        from lmm4rec.encoders.picture_texts import Batch

        for rows in order:
            every = torch.arange(len(rows))
            tokens = torch.randint(1, VOCABULARY - 2, (len(rows), TEXT_TOKENS))
            tokens[:, -1] = VOCABULARY - 1  # the end, which is read out
            pixels = torch.randn(len(rows), 3, PICTURE, PICTURE)
            yield Batch(pixels, every, {"tokens": tokens}, every)


def vit_b16() -> Any:
    if importlib.util.find_spec("open_clip") is None:
        from tests.benchmarks.plain_clip import PlainClip

        return PlainClip(PICTURE, TEXT_TOKENS, VOCABULARY, WIDTH)
    import open_clip

    from lmm4rec.encoders.clip.clip import Clip, ClipConfig, tiny
    from lmm4rec.encoders.clip.network import ClipTokenizer

    settings = open_clip.get_model_config("ViT-B-16")
    assert settings is not None
    config = ClipConfig(model=settings, preprocess=tiny().preprocess | {"size": PICTURE})
    return Clip(config, ClipTokenizer(settings["text_cfg"], None))


if __name__ == "__main__":
    main()
