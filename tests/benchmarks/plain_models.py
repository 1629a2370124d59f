"""How far from plain torch, and how far from what the machine can do, a training epoch is:

    python -m tests.benchmarks.plain_models [lightgcn-1 lightgcn-3 vbpr ...]

Each model of lmm4rec is timed in turn with the same mathematics written the obvious way (the whole
graph convolved as a torch COO matrix, the whole catalogue projected, in every step), at the size of
Amazon Sports, on the same batches, in one process: only the ratio is meant to be compared. The
floor is the time that the machine needs to move an epoch's bytes through memory, or to do its
floating-point operations, at the rates it reaches in this very run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lmm4rec.recommenders import recommender_class
from lmm4rec.recommenders.shared.content import JOINED
from lmm4rec.recommenders.shared.losses import bpr_loss, embedding_norms, row_scores
from lmm4rec.training.sampling import TripleSampler
from lmm4rec.training.training import TrainingConfig, _run_epoch, adam
from tests.benchmarks.recommenders import (
    BATCH_SIZE,
    SCALES,
    generated_features,
    generated_view,
    section,
)

REPEATS = 3
ADAM_STREAMS = 7  # reads of parameter, gradient and two moments; writes of all but the gradient
FLOAT_BYTES, EDGE_BYTES = 4, 8  # an edge: a float32 weight and an int32 column


class Floor(NamedTuple):
    """What an epoch cannot do without."""

    moved_bytes: float
    flops: float

    def seconds(self, bytes_per_second: float, flops_per_second: float) -> float:
        return max(self.moved_bytes / bytes_per_second, self.flops / flops_per_second)


class PlainLightGCN(nn.Module):
    """All layers of all nodes in every step, through autograd."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.config, self.n_users = model.config, model.n_users
        self.table = nn.Parameter(model.table.detach().clone())
        matrix = model.adjacency
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        places = torch.from_numpy(np.stack([rows, matrix.indices.astype(np.int64)]))
        values = torch.from_numpy(matrix.values)
        self.adjacency = torch.sparse_coo_tensor(places, values, matrix.shape).coalesce()

    def forward(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        layers = [self.table]
        for _ in range(self.config.layers):
            layers.append(torch.sparse.mm(self.adjacency, layers[-1]))
        final = torch.stack(layers, dim=1).mean(dim=1)
        user, positive, negative = (
            final[users],
            final[positives + self.n_users],
            final[negatives + self.n_users],
        )
        first = [self.table[rows] for rows in (users, positives + self.n_users)]
        penalty = embedding_norms(*first, self.table[negatives + self.n_users])
        loss = bpr_loss(row_scores(user, positive), row_scores(user, negative))
        return loss + self.config.regularisation * penalty


class PlainVBPR(nn.Module):
    """The whole catalogue projected in every step."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.config = model.config
        self.users = nn.Parameter(model.users.detach().clone())
        self.items = nn.Parameter(model.items.detach().clone())
        self.projection = nn.Linear(*reversed(model.projection.weight.shape))
        self.projection.load_state_dict(model.projection.state_dict())
        self.features = content_table(model)

    def forward(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        vectors = torch.cat([self.items, self.projection(self.features)], dim=1)
        user, positive, negative = self.users[users], vectors[positives], vectors[negatives]
        penalty = embedding_norms(user, positive, negative)
        loss = bpr_loss(row_scores(user, positive), row_scores(user, negative))
        return loss + self.config.regularisation * penalty


def content_table(model: Any) -> Tensor:
    """All of VBPR's content, text before image: [I, C]."""
    return model.content.table(JOINED)


def lightgcn_floor(model: Any, sampler: TripleSampler) -> Floor:
    """Adam over the table; the last layer's gradient; 2 (L - 1) whole products.

    A whole product reads the table and the matrix once (its repeated reads may hit a cache) and
    writes a table; the rows of the last layer are few, but their gradient reaches every node.
    """
    steps = -(-len(sampler) // BATCH_SIZE)
    table = model.table.numel() * FLOAT_BYTES
    edges = model.adjacency.indptr[-1] * EDGE_BYTES
    layers = model.config.layers
    a_step = ADAM_STREAMS * table + (edges + table) + 2 * (layers - 1) * (edges + 2 * table)
    products = 2 * layers * model.adjacency.indptr[-1] * 2 * model.table.shape[1]
    return Floor(float(steps * a_step), float(steps * products))


def vbpr_floor(model: Any, sampler: TripleSampler) -> Floor:
    """Adam over all tables; the distinct items' features read, multiplied forward and backward."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    width, dims = content_table(model).shape[1], model.config.dimensions
    moved, flops = 0.0, 0.0
    for triples in sampler.epoch(1, BATCH_SIZE):
        distinct = len(np.unique(np.concatenate([triples.positives, triples.negatives])))
        moved += FLOAT_BYTES * (ADAM_STREAMS * weights + 2 * distinct * width)
        flops += 2 * 2 * distinct * width * dims
    return Floor(moved, flops)


CASES: dict[str, tuple[str, type[nn.Module], Callable[[Any, TripleSampler], Floor]]] = {
    "lightgcn-1": ("lightgcn:layers=1", PlainLightGCN, lightgcn_floor),
    "lightgcn-3": ("lightgcn:layers=3", PlainLightGCN, lightgcn_floor),
    "vbpr": ("vbpr", PlainVBPR, vbpr_floor),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*CASES, []], help="all of them if none")
    names = parser.parse_args().names or list(CASES)
    bytes_per_second, flops_per_second = machine_rates()
    print(
        f"this machine: {bytes_per_second / 1e9:.1f} GB/s copied, "
        f"{flops_per_second / 1e9:.0f} GFLOP/s multiplied, {torch.get_num_threads()} threads"
    )
    print(
        f"{'':12} {'plain s':>8} {'ours s':>8} {'ratio':>6} {'GB':>6} {'GFLOP':>6} {'floor s':>8}"
    )
    for name in names:
        plain, ours, floor = compare(*CASES[name])
        least = floor.seconds(bytes_per_second, flops_per_second)
        print(
            f"{name:12} {plain:8.2f} {ours:8.2f} {plain / ours:6.1f} "
            f"{floor.moved_bytes / 1e9:6.1f} {floor.flops / 1e9:6.0f} {least:8.2f}",
            flush=True,
        )


def compare(
    asked: str, plain_class: type[nn.Module], floor_of: Callable[[Any, TripleSampler], Floor]
) -> tuple[float, float, Floor]:
    """Median seconds of an epoch, plain and ours, timed by turns; and the floor."""
    scale = SCALES["sports"]
    view = generated_view(scale)
    name = asked.split(":")[0]
    features = generated_features(view, scale) if name == "vbpr" else None
    torch.manual_seed(0)
    model = recommender_class(name)(view, features, section(asked))
    plain = plain_class(model)
    sampler = TripleSampler(view.train, view.n_users, 0)
    config = TrainingConfig(
        batch_size=BATCH_SIZE, maximum_epochs=9, patience=9, validate_every=1, validation_cutoff=20
    )
    ours_optimizer = adam(model)
    plain_optimizer = torch.optim.Adam(plain.parameters(), lr=model.config.learning_rate)
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for epoch in range(1, REPEATS + 2):  # the first one compiles and warms up
        start = time.perf_counter()
        _run_epoch(model, ours_optimizer, sampler, epoch, config, torch.device("cpu"))
        middle = time.perf_counter()
        plain_epoch(plain, plain_optimizer, sampler, epoch)
        if epoch > 1:
            seconds["ours"].append(middle - start)
            seconds["plain"].append(time.perf_counter() - middle)
    check_same(model, plain)
    return (
        statistics.median(seconds["plain"]),
        statistics.median(seconds["ours"]),
        floor_of(model, sampler),
    )


def plain_epoch(
    plain: nn.Module, optimizer: torch.optim.Optimizer, sampler: TripleSampler, epoch: int
) -> None:
    for triples in sampler.epoch(epoch, BATCH_SIZE):
        parts = (triples.users, triples.positives, triples.negatives)
        loss = plain(*(torch.from_numpy(rows).long() for rows in parts))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def check_same(model: nn.Module, plain: nn.Module) -> None:
    """After the same batches both hold the same weights, but for rounding: else no ratio counts."""
    others = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        ours, theirs = parameter.detach(), others[name].detach()
        gap = float((ours - theirs).norm() / ours.norm())
        if gap > 1e-2:
            raise SystemExit(f"{name} differs by {gap:.1e}: not the same mathematics")


def machine_rates() -> tuple[float, float]:
    """Bytes a second of a copy far larger than any cache; FLOP/s of a large float32 product."""
    source = torch.randn(64 << 20)
    target, square = torch.empty_like(source), torch.randn(2048, 2048)
    out = torch.empty_like(square)
    copy = min(_seconds(lambda: target.copy_(source)) for _ in range(5))
    product = min(_seconds(lambda: torch.mm(square, square, out=out)) for _ in range(5))
    return 2 * source.numel() * FLOAT_BYTES / copy, 2 * 2048**3 / product


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
