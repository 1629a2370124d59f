"""Seconds of a training epoch and of a validation, and peak memory, of recommenders at real size:

    python -m tests.benchmarks.recommenders [--scale sports|electronics] [NAME[:key=value,...] ...]

Each model runs in a process of its own, with its section of params.yaml (`freedom:train_features=
false` changes a value). The corpus and the features are generated; items are popular by Zipf's law.
An epoch that takes under ten seconds is timed five times, after one that compiles; its median
stands. Of one that takes over two minutes the first stands. "build" is the making of the model:
neighbour search, graphs, copies of the features.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
SHORT_SECONDS, LONG_SECONDS, REPEATS, BATCH_SIZE = 10.0, 120.0, 5, 2048


class Scale(NamedTuple):
    users: int
    items: int
    pairs: int
    image: int  # dims
    text: int


SCALES = {
    "sports": Scale(35_598, 18_357, 218_409, 4096, 384),
    "electronics": Scale(192_403, 63_001, 1_254_441, 512, 384),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="recommenders; all of them if none is named")
    parser.add_argument("--scale", choices=SCALES, default="sports")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.names[0], SCALES[arguments.scale])
        return
    from lmm4rec.recommenders import RECOMMENDERS

    print(f"{arguments.scale}: {SCALES[arguments.scale]}, batch {BATCH_SIZE}")
    print(f"{'':36} {'build s':>8} {'epoch s':>8} {'validation s':>12} {'peak GiB':>9}", flush=True)
    for name in arguments.names or sorted(RECOMMENDERS):
        command = [sys.executable, "-m", __spec__.name, "--one", "--scale", arguments.scale, name]
        subprocess.run(command, cwd=ROOT, check=True)


def measure(asked: str, scale: Scale) -> None:
    """Print one line for the recommender named `asked`."""
    import numpy as np
    import torch

    from lmm4rec.recommenders import CONTENT, recommender_class
    from lmm4rec.recommenders.shared.base import Recommender
    from lmm4rec.training.model_selection import Validator
    from lmm4rec.training.sampling import TripleSampler
    from lmm4rec.training.training import TrainingConfig, _run_epoch, adam

    name = asked.split(":")[0]
    view = generated_view(scale)
    features = generated_features(view, scale) if name in CONTENT else None
    torch.manual_seed(0)
    start = time.perf_counter()
    model = recommender_class(name)(view, features, section(asked))
    features = None  # the model has what it needs
    build = time.perf_counter() - start
    if not isinstance(model, Recommender):
        seconds = timed(model.scores)
        print(row(asked, build, seconds, None), flush=True)
        return
    config = TrainingConfig(
        batch_size=BATCH_SIZE, maximum_epochs=9, patience=9, validate_every=1, validation_cutoff=20
    )
    sampler, validator = TripleSampler(view.train, view.n_users, 0), Validator(view, 20)
    optimizer, device = adam(model), torch.device("cpu")

    def epoch() -> None:
        model.begin_epoch(np.random.default_rng(0))
        _run_epoch(model, optimizer, sampler, 1, config, device)

    epoch_seconds = timed(epoch)
    validation_seconds = timed(lambda: validator.recall(*model.vectors()))
    print(row(asked, build, epoch_seconds, validation_seconds), flush=True)


def row(asked: str, build: float, epoch: float, validation: float | None) -> str:
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = "-" if validation is None else f"{validation:.2f}"
    return f"{asked:36} {build:8.2f} {epoch:8.2f} {seconds:>12} {peak_gib:9.2f}"


def section(asked: str) -> Any:
    """The recommender's section of params.yaml with the changes after the colon."""
    from ruamel.yaml import YAML

    from lmm4rec.params import check_section
    from lmm4rec.recommenders import recommender_class

    name, _, changes = asked.partition(":")
    yaml = YAML(typ="safe")
    values = dict(yaml.load((ROOT / "params.yaml").read_text())["recommenders"][name])
    for change in filter(None, changes.split(",")):
        key, _, value = change.partition("=")
        values[key] = yaml.load(value)
    return check_section(values, recommender_class(name).Config, f"recommenders.{name}", ROOT)


def generated_view(scale: Scale) -> Any:
    """Every user has at least the rounded-down mean number of items; one more in validation."""
    import numpy as np
    import pyarrow as pa

    from lmm4rec.catalogue.corpus import Pairs, TrainingView

    rng = np.random.default_rng(0)
    popularity = 1 / (10 + np.arange(scale.items))
    popularity /= popularity.sum()
    users = np.arange(scale.pairs) % scale.users
    items = rng.choice(scale.items, scale.pairs, p=popularity)
    held_out = np.arange(scale.users), rng.choice(scale.items, scale.users, p=popularity)
    distinct = np.unique(np.stack([users, items]), axis=1)
    train, validation = (
        Pairs(rows[0].astype(np.int32), rows[1].astype(np.int32)) for rows in (distinct, held_out)
    )
    ids = (pa.array([f"{n:07d}" for n in range(count)]) for count in (scale.users, scale.items))
    return TrainingView(*ids, train=train, validation=validation)


def generated_features(view: Any, scale: Scale) -> Any:
    import numpy as np

    from lmm4rec.features.features import Features

    rng = np.random.default_rng(1)
    matrices = {
        name: rng.standard_normal((scale.items, dims), dtype=np.float32)
        for name, dims in (("image", scale.image), ("text", scale.text))
    }
    present = {name: np.ones(scale.items, bool) for name in matrices}
    return Features(view.item_ids, matrices, present)


def timed(run: Callable[[], object]) -> float:
    """Seconds of a run: the second one, or the median of five where that is short.

    The first compiles, which takes seconds: where it takes minutes it is the only one.
    """
    seconds: list[float] = []
    while len(seconds) < 2 or (seconds[1] < SHORT_SECONDS and len(seconds) <= REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
        if seconds[0] > LONG_SECONDS:
            return seconds[0]
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
