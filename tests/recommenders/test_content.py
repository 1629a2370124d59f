"""The content store: live rows among banked ones, and models that cannot tell them apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lmm4rec.features.features import Features
from lmm4rec.recommenders import CONTENT, recommender_class
from lmm4rec.recommenders.shared.base import Recommender
from lmm4rec.recommenders.shared.content import JOINED, Content, ContentConfig
from tests.recommenders.test_recommenders import section
from tests.toy import checkerboard, kind_features

USERS, POSITIVES, NEGATIVES = torch.tensor([[0, 1, 2, 5], [2, 3, 4, 3], [5, 2, 9, 8]])
LIVE = {"image": torch.tensor([2, 4, 5, 8, 9]), "text": torch.tensor([2, 3, 5, 8])}
MISSING = {"image": [3, 7], "text": [4]}
TRAINED = [name for name in CONTENT if issubclass(recommender_class(name), Recommender)]


def features_of(seed: int) -> Features:
    features = kind_features(seed)
    for name, rows in MISSING.items():
        features.present[name][rows] = False
        features.matrices[name][rows] = 0.0
    return features


def with_rows(features: Features, rows: dict[str, Tensor], new: Features) -> Features:
    matrices = {name: matrix.copy() for name, matrix in features.matrices.items()}
    for name, chosen in rows.items():
        matrices[name][chosen.numpy()] = new.matrices[name][chosen.numpy()]
    return Features(features.item_ids, matrices, features.present)


def embeddings_of(features: Features) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(features.matrices[name])[rows].requires_grad_()
        for name, rows in LIVE.items()
    }


@pytest.mark.parametrize("scaling", ["none", "unit", "standard"])
@pytest.mark.parametrize("missing", ["mean", "zero"])
@pytest.mark.parametrize("joined", [True, False])
def test_live_rows_among_banked_ones_are_as_if_all_had_been_read(
    scaling: Any, missing: Any, joined: bool
) -> None:
    config = ContentConfig(modalities=["image", "text"], missing=missing, scaling=scaling)
    order = ("text", "image") if joined else None
    bank, new = features_of(1), features_of(2)
    content = Content(features_of(0), config, joined_in=order)  # type: ignore[arg-type]
    content.refresh(bank)
    embeddings = embeddings_of(new)
    expected = Content(with_rows(bank, LIVE, new), config, joined_in=order)  # type: ignore[arg-type]
    with content.live(LIVE, embeddings):
        for name in content.names:
            torch.testing.assert_close(content.table(name), expected.table(name))
            rows = torch.tensor([3, 2, 2])
            torch.testing.assert_close(content.rows(name, rows), expected.table(name)[rows])
        loss = sum(content.table(name).square()[:, :3].sum() for name in content.names)
    gradients = torch.autograd.grad(loss, list(embeddings.values()), allow_unused=True)
    reached = [gradient is not None and bool(gradient.any()) for gradient in gradients]
    assert reached == [not joined, True]  # the first columns are the text's where they are joined
    settled = Content(bank, config, joined_in=order)  # type: ignore[arg-type]
    assert all(torch.equal(content.table(name), settled.table(name)) for name in content.names)


def test_one_items_missing_picture_takes_the_mean_with_its_gradient() -> None:
    config = ContentConfig(modalities=["image"], missing="mean", scaling="none")
    content = Content(features_of(0), config)
    content.refresh(features_of(1))
    embeddings = embeddings_of(features_of(2))
    with content.live(LIVE, embeddings):
        content.rows("image", torch.tensor([3])).sum().backward()
    gradient = embeddings["image"].grad
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.full_like(gradient, 1 / 28))  # 30 items, 2 without


def model_of(name: str, features: Features) -> Any:
    torch.manual_seed(0)
    changes = {"train_features": False} if name in ("freedom", "bm3", "lattice", "mgcn") else {}
    return recommender_class(name)(checkerboard(), features, section(name, **changes))


def total_loss(model: Any) -> Tensor:
    model.begin_epoch(np.random.default_rng(3))
    torch.manual_seed(4)
    terms = model.losses(USERS, POSITIVES, NEGATIVES)
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize("name", TRAINED)
def test_a_model_on_refreshed_content_equals_one_built_on_it(name: str) -> None:
    model, expected = model_of(name, features_of(0)), model_of(name, features_of(1))
    model.content.refresh(features_of(1))
    model.content_changed()
    torch.testing.assert_close(total_loss(model), total_loss(expected))
    for found, wanted in zip(model.vectors(), expected.vectors(), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", TRAINED)
def test_a_model_reads_live_rows_and_sends_their_gradient_back(name: str) -> None:
    """Against a model whose tables hold the same rows, while its item graphs are the bank's."""
    bank, new = features_of(1), features_of(2)
    model, expected = model_of(name, features_of(0)), model_of(name, bank)
    model.content.refresh(bank)
    model.content_changed()
    expected.content_changed()
    expected.content.refresh(with_rows(bank, LIVE, new))
    embeddings = embeddings_of(new)
    with model.content.live(LIVE, embeddings):
        loss = total_loss(model)
    wanted = total_loss(expected)
    torch.testing.assert_close(loss, wanted)
    loss.backward()  # type: ignore[no-untyped-call]
    wanted.backward()  # type: ignore[no-untyped-call]
    for found, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found.grad, other.grad, rtol=1e-4, atol=1e-6)
    assert all(part.grad is not None and part.grad.any() for part in embeddings.values())


def test_joined_tables_have_one_name() -> None:
    config = ContentConfig(modalities=["image", "text"], missing="zero", scaling="none")
    content = Content(kind_features(), config, joined_in=("text", "image", "fused"))
    assert content.names == (JOINED,) and content.width(JOINED) == 24
    assert content.modalities == ("image", "text")
