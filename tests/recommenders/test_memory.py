"""What a recommender holds does not grow with the epochs, and blocks are blocks by bytes."""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest
import torch

from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.recommenders import CONTENT, RECOMMENDERS, UNTRAINED, itemknn, recommender_class
from lmm4rec.training.training import TrainingConfig, train
from tests.recommenders.test_recommenders import CPU, section
from tests.toy import checkerboard, kind_features

TRAINED = sorted(set(RECOMMENDERS) - UNTRAINED)


def graphs_alive() -> int:
    return sum(type(one) is SparseMatrix for one in gc.get_objects())


@pytest.mark.parametrize("name", TRAINED)
def test_no_graph_outlives_its_epoch(name: str) -> None:
    """Without the cycle collector, which comes when it likes and here would come too late."""
    view = checkerboard()
    alive = []
    for epochs in (2, 8):
        torch.manual_seed(1)
        features = kind_features() if name in CONTENT else None
        model = recommender_class(name)(view, features, section(name))
        protocol = TrainingConfig(
            batch_size=64, maximum_epochs=epochs, patience=9, validate_every=1, validation_cutoff=5
        )
        gc.collect()
        before = graphs_alive()
        gc.disable()
        try:
            train(model, view, protocol, 1, CPU)
            alive.append(graphs_alive() - before)
        finally:
            gc.enable()
        del model
    assert alive[1] <= alive[0] and alive[0] <= 4


@pytest.mark.parametrize("bytes_allowed", [1, 20 * 70 * 3, 1 << 30])
def test_blocks_of_any_size_find_the_same_neighbours(
    bytes_allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = checkerboard()
    model = recommender_class("itemknn")(view, kind_features(), section("itemknn", neighbours=5))
    whole = model.similarities().toarray()
    monkeypatch.setattr(itemknn, "BLOCK_BYTES", bytes_allowed)
    np.testing.assert_allclose(model.similarities().toarray(), whole, rtol=1e-6)


@pytest.mark.parametrize("n_items", [1, 593, 20_000, 1_000_000])
def test_a_block_has_the_bytes_it_may_have(n_items: int) -> None:
    blocks = list(itemknn.blocks_of_rows(n_items))
    assert blocks[0].start == 0 and blocks[-1].stop >= n_items
    assert all(one.stop == other.start for one, other in itertools.pairwise(blocks))
    rows = blocks[0].stop - blocks[0].start
    assert rows == 1 or 20 * n_items * rows <= itemknn.BLOCK_BYTES
