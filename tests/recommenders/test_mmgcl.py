"""MMGCL against a dense, obvious version of its equations, on the graphs it drew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lmm4rec.errors import InputError
from lmm4rec.graphs.bipartite import edge_dropout, node_dropout
from lmm4rec.graphs.user_item import interaction_matrix
from lmm4rec.recommenders.mmgcl import MMGCL
from tests.recommenders.dense_branches import (
    NEGATIVES,
    POSITIVES,
    USERS,
    assert_same,
    branch,
    inputs_of,
    unit,
)
from tests.recommenders.test_recommenders import section
from tests.toy import N_ITEMS, N_USERS, checkerboard, kind_features

VIEW = checkerboard()
INTERACTIONS = interaction_matrix(VIEW.train, N_USERS, N_ITEMS)


def built(**changes: Any) -> MMGCL:
    torch.manual_seed(0)
    return MMGCL(VIEW, kind_features(), section("mmgcl", **changes))


def linear(layer: Any, rows: Tensor) -> Tensor:
    return rows @ layer.weight.T + layer.bias


def in_batch(left: Tensor, right: Tensor, others: list[Tensor], temperature: float) -> Tensor:
    terms = []
    for b in range(len(left)):
        candidates = [*right, *(other[b] for other in others)]
        scores = torch.stack([left[b] @ candidate for candidate in candidates]) / temperature
        terms.append(torch.log(torch.exp(scores).sum()) - scores[b])
    return torch.stack(terms).mean()


@pytest.mark.parametrize("masked", ["image", "text"])
def test_mmgcl_equals_its_equations(masked: str) -> None:
    weights = {"image": float(masked == "image"), "text": float(masked == "text")}
    model = built(mask_weights=weights, temperature=0.4, contrast_weight=0.7, dropout=0.3)
    model.begin_epoch(np.random.default_rng(5))
    found = model.losses(USERS, POSITIVES, NEGATIVES)
    draws = np.random.default_rng(5)
    draws.choice(2, p=list(weights.values()))  # the modality, then the graphs
    edges = torch.from_numpy(edge_dropout(INTERACTIONS, 0.3, draws).toarray())
    nodes = torch.from_numpy(node_dropout(INTERACTIONS, 0.3, draws).toarray())

    inputs, table, layers = inputs_of(model.branches), model.branches.users, model.config.layers
    whole = {name: branch(table, start, layers) for name, start in inputs.items()}
    first = {name: branch(table, start, layers, edges) for name, start in inputs.items()}
    second = whole | {masked: branch(table, inputs[masked], layers, nodes)}

    def users(signals: dict[str, Any]) -> Tensor:
        return linear(model.read_user, torch.cat([users for users, _ in signals.values()], dim=1))

    def items(signals: dict[str, Any], rows: dict[str, Tensor]) -> Tensor:
        parts = [of_items[rows[name]] for name, (_, of_items) in signals.items()]
        return linear(model.read_item, torch.cat(parts, dim=1))

    same = dict.fromkeys(inputs, POSITIVES)
    one_swapped = same | {masked: NEGATIVES}
    both_swapped = {"id": POSITIVES, "image": NEGATIVES, "text": NEGATIVES}
    margin = users(whole)[USERS] * (
        items(whole, same) - items(whole, dict.fromkeys(inputs, NEGATIVES))
    )
    challenging = [unit(items(first, one_swapped)), unit(items(second, both_swapped))]
    user_views = unit(users(first)[USERS]), unit(users(second)[USERS])
    item_views = unit(items(first, same)), unit(items(second, same))
    expected = {
        "bpr": -torch.log(torch.sigmoid(margin.sum(1))).mean(),
        "contrast_users": 0.7 * in_batch(*user_views, [], 0.4),
        "contrast_items": 0.7 * in_batch(*item_views, challenging, 0.4),
    }
    assert_same(model, found, expected)
    everything = dict.fromkeys(inputs, torch.arange(N_ITEMS))
    torch.testing.assert_close(model.vectors()[0], users(whole).detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        model.vectors()[1], items(whole, everything).detach(), rtol=1e-5, atol=1e-6
    )


def test_edge_dropout_keeps_so_many_edges_of_the_graph() -> None:
    counts = np.zeros(INTERACTIONS.shape)
    for seed in range(400):
        kept = edge_dropout(INTERACTIONS, 0.3, np.random.default_rng(seed))
        assert kept.nnz == 252  # of 360
        counts += kept.toarray()
    assert (counts[INTERACTIONS.toarray() == 0] == 0).all()
    # Binomial(400, 0.7): mean 280, standard deviation 9.2; uniform over edges.
    assert np.abs(counts[INTERACTIONS.toarray() == 1] - 280).max() < 5 * 9.2


def test_node_dropout_isolates_so_many_nodes() -> None:
    dense, kept = (
        INTERACTIONS.toarray(),
        node_dropout(INTERACTIONS, 0.3, np.random.default_rng(1)).toarray(),
    )
    gone_users, gone_items = kept.sum(1) == 0, kept.sum(0) == 0
    assert gone_users.sum() == 12 and gone_items.sum() == 9  # 0.3 of 40 and of 30
    np.testing.assert_array_equal(kept, dense * ~gone_users[:, None] * ~gone_items)


@pytest.mark.parametrize("dropout", [edge_dropout, node_dropout])
def test_no_dropout_is_the_whole_graph(dropout: Any) -> None:
    kept = dropout(INTERACTIONS, 0.0, np.random.default_rng(1))
    np.testing.assert_array_equal(kept.toarray(), INTERACTIONS.toarray())


def test_views_differ_from_batch_to_batch_and_follow_the_generator() -> None:
    model = built()
    model.begin_epoch(np.random.default_rng(5))
    first, second = (model.losses(USERS, POSITIVES, NEGATIVES) for _ in range(2))
    model.begin_epoch(np.random.default_rng(5))
    again = model.losses(USERS, POSITIVES, NEGATIVES)
    assert first["contrast_items"] == again["contrast_items"] != second["contrast_items"]
    assert first["bpr"] == second["bpr"]


def test_modalities_that_are_never_drawn_are_refused() -> None:
    with pytest.raises(InputError, match=r"mask_weights.*\['text'\]"):
        built(modalities=["text"], mask_weights={"image": 1.0})
    with pytest.raises(InputError, match="mask_weights"):
        built(mask_weights={"image": -1.0, "text": 2.0})
