"""The training loop: patience, the epoch that is kept, and what it may not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lmm4rec.catalogue.corpus import TrainingView, read_training_view
from lmm4rec.errors import InputError
from lmm4rec.recommenders import recommender_class
from lmm4rec.training.model_selection import Validator
from lmm4rec.training.training import TrainingConfig, train
from tests.recommenders.test_recommenders import section
from tests.toy import N_ITEMS, checkerboard, ids, pairs

CPU = torch.device("cpu")


def protocol(**changes: int) -> TrainingConfig:
    values = {
        "batch_size": 64,
        "maximum_epochs": 30,
        "patience": 3,
        "validate_every": 1,
        "validation_cutoff": 5,
    }
    return TrainingConfig(**(values | changes))


def fitted(config: TrainingConfig, seed: int = 1):  # type: ignore[no-untyped-def]
    view = checkerboard()
    torch.manual_seed(seed)
    model = recommender_class("bpr")(view, None, section("bpr"))
    return (*train(model, view, config, seed, CPU), view)


def test_stops_after_patience_validations_without_a_better_one() -> None:
    _, history, _ = fitted(protocol(patience=3, maximum_epochs=500))
    last = history.validation[-1][0]
    assert last == len(history.losses) == history.best_epoch + 3


def test_returns_the_best_epoch_and_not_the_last() -> None:
    vectors, history, view = fitted(protocol(patience=3, maximum_epochs=500))
    again = Validator(view, 5).recall(
        torch.from_numpy(vectors.users), torch.from_numpy(vectors.items)
    )
    assert again == history.best_recall
    shorter, _, _ = fitted(protocol(maximum_epochs=history.best_epoch, patience=500))
    assert shorter.users.tobytes() == vectors.users.tobytes()


def test_validates_every_so_many_epochs_and_at_the_end() -> None:
    _, history, _ = fitted(protocol(validate_every=4, maximum_epochs=10, patience=100))
    assert [epoch for epoch, _ in history.validation] == [4, 8, 10]


def test_validation_recall_by_hand() -> None:
    """Item vectors rank items 0, 1, 2, ...; the user has 0 in training, 1 and 9 in validation."""
    view = TrainingView(ids("u", 1), ids("i", N_ITEMS), pairs([(0, 0)]), pairs([(0, 1), (0, 9)]))
    users = torch.ones(1, 1)
    items = -torch.arange(N_ITEMS, dtype=torch.float32)[:, None]
    assert Validator(view, 5).recall(users, items) == 0.5
    assert Validator(view, 9).recall(users, items) == 1.0  # item 0 is left out: 9 is the ninth
    assert Validator(view, 8).recall(users, items) == 0.5


def test_without_validation_interactions() -> None:
    view = checkerboard()
    empty = TrainingView(view.user_ids, view.item_ids, view.train, pairs([]))
    with pytest.raises(InputError, match=r"no validation interactions.*preprocess\.split"):
        Validator(empty, 5)


def write_corpus(folder: Path, test_item: str) -> Path:
    rows = [("u1", "a", "train"), ("u1", "b", "validation"), ("u1", test_item, "test")]
    users, items, splits = (list(column) for column in zip(*rows, strict=True))
    table = pa.table({"user_id": users, "item_id": items, "split": splits})
    pq.write_table(table, folder / "interactions.parquet")
    pq.write_table(pa.table({"item_id": ["a", "b", "c", "d"]}), folder / "item_ids.parquet")
    return folder


def test_the_training_view_is_blind_to_the_test_split(tmp_path: Path) -> None:
    views = []
    for item in ("c", "d"):
        folder = tmp_path / item
        folder.mkdir()
        views.append(read_training_view(write_corpus(folder, item)))
    first, second = views
    assert first.user_ids.equals(second.user_ids) and first.item_ids.equals(second.item_ids)
    for split in ("train", "validation"):
        one, other = getattr(first, split), getattr(second, split)
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_array_equal(one.users, other.users)
        assert len(one) == 1
    assert not hasattr(first, "test")


def test_a_validation_item_outside_the_items_table_is_named(tmp_path: Path) -> None:
    write_corpus(tmp_path, "c")
    pq.write_table(pa.table({"item_id": ["a"]}), tmp_path / "item_ids.parquet")
    with pytest.raises(InputError, match="item_id 'b' of the validation split is unknown"):
        read_training_view(tmp_path)
