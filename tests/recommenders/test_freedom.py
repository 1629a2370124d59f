"""FREEDOM against a dense version of its equations, and the thinning of its graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch import Tensor

from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.graphs.user_item import propagated_rows
from lmm4rec.recommenders.freedom import kept_edges, modality_weights
from tests.graphs.dense_graphs import (
    cosines,
    interactions,
    mean_of_layers,
    nearest,
    normalised,
    projected,
    raw_features,
    symmetric,
)
from tests.recommenders.test_baselines import (
    NEGATIVES,
    POSITIVES,
    USERS,
    assert_same,
    built,
    dense_loss,
)
from tests.toy import N_ITEMS, N_USERS, checkerboard, pairs

SHARES = {"image": 0.3, "text": 0.7}


def item_graph(k: int) -> Tensor:
    graph = torch.zeros(N_ITEMS, N_ITEMS)
    for name, share in SHARES.items():
        graph += share * normalised((nearest(cosines(raw_features(name)), k) != 0).float())
    return graph


@pytest.mark.parametrize("train_features", [True, False])
@pytest.mark.parametrize(("layers", "item_layers", "k"), [(2, 1, 5), (1, 2, 4), (0, 0, 100)])
def test_freedom_equals_its_equations(
    layers: int, item_layers: int, k: int, train_features: bool
) -> None:
    model = built(
        "freedom",
        layers=layers,
        item_layers=item_layers,
        neighbours=k,
        image_weight=0.3,
        content_weight=0.5,
        train_features=train_features,
    )
    model.begin_epoch(np.random.default_rng(5))
    thinned = model.thinned.on(torch.device("cpu")).to_dense()
    similar = torch.linalg.matrix_power(item_graph(k), item_layers) @ model.table[N_USERS:]

    def final(adjacency: Tensor) -> tuple[Tensor, Tensor]:
        nodes = mean_of_layers(adjacency, model.table, layers)
        return nodes[:N_USERS], nodes[N_USERS:] + similar

    users, items = final(thinned)
    terms = {"bpr": dense_loss(users[USERS], items[POSITIVES], items[NEGATIVES])}
    for name in ("image", "text"):
        content = projected(model, name)
        loss = dense_loss(users[USERS], content[POSITIVES], content[NEGATIVES])
        terms[f"bpr_{name}"] = 0.5 * loss
    assert_same(model, terms)
    for found, expected in zip(
        model.vectors(), final(symmetric(interactions(checkerboard()))), strict=True
    ):
        torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)
    trained = dict(model.named_parameters())
    assert ("content.image" in trained) == train_features


def test_the_thinned_graph_is_normalised_on_what_is_kept() -> None:
    model = built("freedom", edge_dropout=0.75)
    whole = interactions(checkerboard())
    model.begin_epoch(np.random.default_rng(1))
    first = model.thinned.on(torch.device("cpu")).to_dense()
    kept = (first[:N_USERS, N_USERS:] > 0).float()
    assert kept.sum() == int(whole.sum()) // 4
    assert (kept <= whole).all()
    torch.testing.assert_close(first, symmetric(kept))
    model.begin_epoch(np.random.default_rng(2))
    assert not torch.equal(first, model.thinned.on(torch.device("cpu")).to_dense())


def test_edges_of_popular_nodes_go_more_often() -> None:
    """User 0 has items 0..3, item 0 has users 0..4: degrees 4 x 5 against 4 x 1 and 1 x 5."""
    edges = pairs([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (2, 0), (3, 0), (4, 0)])
    weights = 1 / np.sqrt([20, 4, 4, 4, 5, 5, 5, 5])
    counts = np.zeros(8)
    for seed in range(4000):
        kept = kept_edges(edges, 0.875, np.random.default_rng(seed))
        assert len(kept) == 1
        counts[(edges.users == kept.users) & (edges.items == kept.items)] += 1
    np.testing.assert_allclose(counts / 4000, weights / weights.sum(), atol=0.02)


@pytest.mark.parametrize(("dropout", "n_kept"), [(0.8, 2), (0.9, 1), (0.95, 0), (0.0, 10)])
def test_the_floor_of_the_share_is_kept(dropout: float, n_kept: int) -> None:
    edges = pairs([(user, 0) for user in range(10)])
    kept = kept_edges(edges, dropout, np.random.default_rng(0))
    assert len(kept) == n_kept == len(set(kept.users.tolist()))


def test_shares_of_the_modalities() -> None:
    assert modality_weights(["image", "text"], 0.1) == [0.1, 0.9]
    assert modality_weights(["text"], 0.1) == modality_weights(["image"], 0.1) == [1.0]
    assert modality_weights(["text", "fused"], 0.1) == [0.5, 0.5]
    assert modality_weights(["text", "image", "fused"], 0.2) == [0.4, 0.2, 0.4]


@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_rows_of_a_directed_propagation_equal_the_whole(n_layers: int) -> None:
    dense = torch.randn(9, 9) * (torch.rand(9, 9) < 0.4)
    graph = SparseMatrix(csr_array(dense.numpy()))
    nodes = torch.randn(9, 4, requires_grad=True)
    rows, weights = torch.tensor([1, 4, 8]), torch.randn(3, 4)
    whole = torch.linalg.matrix_power(dense, n_layers) @ nodes
    found = propagated_rows(graph, nodes, n_layers, rows)
    torch.testing.assert_close(found, whole[rows], rtol=1e-4, atol=1e-5)
    (ours,) = torch.autograd.grad((found * weights).sum(), nodes)
    (theirs,) = torch.autograd.grad((whole[rows] * weights).sum(), nodes)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
