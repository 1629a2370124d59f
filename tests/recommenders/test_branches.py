"""One-sided convolution and the branches with a shared user table, against dense mathematics."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.sparse import csr_array

from lmm4rec.graphs.bipartite import one_sided_convolution, one_sided_convolution_rows
from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.graphs.user_item import interaction_matrix, normalised_interactions
from lmm4rec.recommenders.shared import branches as module
from lmm4rec.recommenders.shared.branches import SharedUserBranches, propagated_features_fit
from lmm4rec.recommenders.shared.losses import info_nce
from tests.graphs.dense_graphs import mean_of_layers
from tests.recommenders.dense_branches import branch, inputs_of, unit_content
from tests.toy import N_ITEMS, N_USERS, checkerboard, pairs

OWN, OTHER = torch.tensor([0, 3, 29]), torch.tensor([1, 2, 17, 39])


def some_graph() -> csr_array:
    """The training graph without item 3 and user 2: isolated nodes on both sides."""
    view = checkerboard()
    keep = (view.train.items != 3) & (view.train.users != 2)
    edges = type(view.train)(view.train.users[keep], view.train.items[keep])
    return normalised_interactions(interaction_matrix(edges, N_USERS, N_ITEMS))


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3, 4])
def test_one_sided_convolution_equals_the_dense_one(n_layers: int) -> None:
    matrix = SparseMatrix(some_graph())
    scaled = torch.from_numpy(some_graph().toarray())
    adjacency = torch.zeros(N_USERS + N_ITEMS, N_USERS + N_ITEMS)
    adjacency[:N_USERS, N_USERS:], adjacency[N_USERS:, :N_USERS] = scaled, scaled.T
    start = torch.randn(N_ITEMS, 5).requires_grad_()
    nodes = mean_of_layers(adjacency, torch.cat([torch.zeros(N_USERS, 5), start]), n_layers)
    own, other = one_sided_convolution(matrix, start.detach(), n_layers)
    torch.testing.assert_close(torch.cat([other, own]), nodes.detach())
    found = one_sided_convolution_rows(matrix, start, n_layers, OWN, OTHER)
    expected = nodes[N_USERS + OWN], nodes[OTHER]
    weights = torch.randn(len(OWN), 5), torch.randn(len(OTHER), 5)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two)
    ours, theirs = (
        torch.autograd.grad(sum((w * x).sum() for w, x in zip(weights, rows, strict=True)), start)
        for rows in (found, expected)
    )
    torch.testing.assert_close(ours[0], theirs[0])


@pytest.mark.parametrize("propagate", [True, False])
@pytest.mark.parametrize("n_layers", [0, 1, 3])
def test_both_ways_to_the_rows_equal_the_dense_branches(propagate: bool, n_layers: int) -> None:
    torch.manual_seed(0)
    content = unit_content("image", "text")
    model = SharedUserBranches(
        checkerboard(), content, dims=6, n_layers=n_layers, propagate_features=propagate
    )
    dense = [branch(model.users, start, n_layers) for start in inputs_of(model).values()]
    users, items = (torch.cat(side, dim=1) for side in zip(*dense, strict=True))
    for found, expected in zip(model.all(), (users, items), strict=True):
        torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)
    found_rows = model.rows(OTHER, OWN)
    weights = torch.randn(len(OTHER), 18), torch.randn(len(OWN), 18)
    gradients = []
    for rows in (found_rows, (users[OTHER], items[OWN])):
        total = torch.stack([(w * x).sum() for w, x in zip(weights, rows, strict=True)]).sum()
        gradients.append(torch.autograd.grad(total, list(model.parameters())))
    torch.testing.assert_close(found_rows[0], users[OTHER], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found_rows[1], items[OWN], rtol=1e-5, atol=1e-6)
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def test_content_that_changes_leaves_nothing_propagated() -> None:
    content = unit_content("image", "text")
    model = SharedUserBranches(checkerboard(), content, 4, 2, propagate_features=True)
    held = [name for name, _ in model.named_buffers() if name.startswith("propagated_")]
    assert len(held) == 6  # image, text and how far they reach, of users and of items
    before = model.rows(OTHER, OWN)
    for _ in range(2):  # a second time there is nothing to forget
        model.content_changed()
        assert not [name for name, _ in model.named_buffers() if name.startswith("propagated_")]
        for now, then in zip(model.rows(OTHER, OWN), before, strict=True):
            torch.testing.assert_close(now, then, rtol=1e-5, atol=1e-6)


def test_wide_features_propagate_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    content = unit_content("text")
    tables = []
    for columns in (5, 256):
        monkeypatch.setattr(module, "_COLUMNS", columns)
        model = SharedUserBranches(checkerboard(), content, 4, 2, propagate_features=True)
        tables.append(model.propagated_text_users)
    assert torch.equal(*tables)


def test_features_that_do_not_fit_are_not_propagated(monkeypatch: pytest.MonkeyPatch) -> None:
    """70 nodes x 12 dims x 4 bytes = 3,360."""
    content = unit_content("text")
    monkeypatch.setattr(module, "PROPAGATED_BYTES", 3360)
    assert propagated_features_fit(checkerboard(), content)
    monkeypatch.setattr(module, "PROPAGATED_BYTES", 3359)
    assert not propagated_features_fit(checkerboard(), content)


def test_normalised_interactions_by_hand() -> None:
    """User 0 has items 0 and 1, user 1 has item 1; item 2 and user 2 are isolated."""
    matrix = normalised_interactions(interaction_matrix(pairs([(0, 0), (0, 1), (1, 1)]), 3, 3))
    expected = torch.tensor([[0.5**0.5, 0.5, 0.0], [0.0, 0.5**0.5, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(torch.from_numpy(matrix.toarray()), expected)


def test_info_nce_by_hand() -> None:
    """Logits (2, 0) and (0, 2) at temperature 0.5: log(1 + e^-2) = 0.126928 for both rows."""
    rows = torch.eye(2)
    assert info_nce(rows, rows, 0.5).item() == pytest.approx(0.1269280)
    # Row 0 (1) sees 0, its own, and 1; row 1 (3) sees 0 and 3, its own.
    left, right = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [1.0]])
    expected = (math.log(1 + math.e) + math.log(1 + math.exp(-3))) / 2
    assert info_nce(left, right, 1.0).item() == pytest.approx(expected)
    # A further negative of each row: 2 for row 0, 3 x -1 for row 1.
    others = [torch.tensor([[2.0], [-1.0]])]
    expected = math.log(1 + math.e + math.exp(2)) + math.log(1 + math.exp(-3) + math.exp(-6))
    assert info_nce(left, right, 1.0, others).item() == pytest.approx(expected / 2)
