"""End-to-end training: against training by hand, and that nothing else changes a result."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.item_batches import ItemBatches
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.encoders.tuning.tuning import ADAM_BETAS, ADAM_EPS
from lmm4rec.end2end.live import LiveEncoder
from lmm4rec.end2end.step import JointLoss
from lmm4rec.end2end.training import train_end_to_end
from lmm4rec.errors import InputError
from lmm4rec.recommenders import CONTENT, UNTRAINED, recommender_class
from lmm4rec.recommenders.shared.content import JOINED
from lmm4rec.training.model_selection import Validator
from lmm4rec.training.sampling import TripleSampler
from lmm4rec.training.training import TrainingConfig, adam, train
from tests.encoders.encoder_contract import tiny
from tests.end2end.toy_end2end import (
    CPU,
    protocol,
    rates,
    recommender_section,
    task,
    toy_encoder,
    toy_source,
)
from tests.toy import N_ITEMS, checkerboard

TRAINED = sorted(CONTENT.keys() - UNTRAINED)


def test_with_everything_live_it_is_plain_joint_training(tmp_path: Path) -> None:
    """One step an epoch holds the whole catalogue: as if there were no bank, bit for bit."""
    view, source = checkerboard(), toy_source(complete=True)
    assert len(np.unique(view.train.items)) == N_ITEMS
    config = protocol(batch_size=10_000, alignment_weight=0.3, refresh_steps=1, maximum_epochs=4)
    encoder = toy_encoder()
    found, _, _ = train_end_to_end(
        encoder, task(encoder, config=config, source=source), 100, tmp_path, CPU
    )
    expected, users, items = joint_training_by_hand(source, config.maximum_epochs)
    for ours, theirs in zip(encoder.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert np.array_equal(found.users, users) and np.array_equal(found.items, items)


def joint_training_by_hand(
    source: PicturesWithTexts, epochs: int
) -> tuple[Encoder, np.ndarray, np.ndarray]:
    """VBPR on the encoder's output for all items, all of it in one graph; last vectors."""
    encoder = toy_encoder()
    own = task(encoder, source=source)
    [batch] = ItemBatches(encoder, source, 0).batches([np.arange(N_ITEMS)])
    live = LiveEncoder(encoder, ("image", "text"), "float32", 100, CPU)
    bank = live.all(own.items, own.view.item_ids)
    torch.manual_seed(1)
    model: Any = own.build(bank)
    encoded: dict[str, Tensor] = {}
    model.content.table = lambda name: encoded[name]
    optimizer = adam(model)
    encoder_optimizer = torch.optim.AdamW(
        encoder.parameters(), lr=1e-3, betas=ADAM_BETAS, eps=ADAM_EPS, weight_decay=0, fused=True
    )
    best, kept = -1.0, None
    validator = Validator(own.view, 5)
    for epoch in range(1, epochs + 1):
        [triples] = TripleSampler(own.view.train, own.view.n_users, 1).epoch(epoch, 10_000)
        images, texts = encoder.encode_images(batch.pixels), encoder.encode_texts(batch.tokens)
        encoded[JOINED] = torch.cat([texts, images], dim=1)
        rows = (triples.users, triples.positives, triples.negatives)
        terms = model.losses(*(torch.from_numpy(part).long() for part in rows))
        loss = torch.stack([*terms.values(), 0.3 * encoder.alignment_loss(images, texts)]).sum()
        optimizer.zero_grad()
        encoder_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        encoder_optimizer.step()
        with torch.no_grad():
            images, texts = encoder.encode_images(batch.pixels), encoder.encode_texts(batch.tokens)
        encoded[JOINED] = torch.cat([texts, images], dim=1)
        users, items = (part.detach().numpy().copy() for part in model.vectors())
        recall = validator.recall(torch.from_numpy(users), torch.from_numpy(items))
        if recall > best:
            best, kept = recall, (copy.deepcopy(encoder), users, items)
    assert kept is not None
    return kept


@pytest.mark.parametrize("name", TRAINED)
def test_every_recommender_trains_an_encoder(name: str, tmp_path: Path) -> None:
    """By the recommendation loss alone: no alignment, no weight decay."""
    encoder = tiny("clip")
    before = copy.deepcopy(encoder.state_dict())
    config = protocol(alignment_weight=0.0, batch_size=64, maximum_epochs=3)
    own = task(encoder, name, config, learning_rate=0.005)
    _, history, curve = train_end_to_end(encoder, own, 100, tmp_path, CPU)
    losses = [row["recommendation_loss"] for row in curve]
    assert losses[-1] < losses[0]  # type: ignore[operator]
    assert [row["encoder_drift"] > 0 for row in curve] == [True] * 3  # type: ignore[operator]
    after = encoder.state_dict()
    for tower in ("visual", "text"):
        moved = [name for name in before if not torch.equal(before[name], after[name])]
        assert [name for name in moved if tower in name]
    assert len(history.validation) == 3


def test_a_frozen_encoder_stays(tmp_path: Path) -> None:
    encoder = tiny("clip")
    before = copy.deepcopy(encoder.state_dict())
    own = task(encoder, config=protocol(freeze_epochs=3))
    _, _, curve = train_end_to_end(encoder, own, 100, tmp_path, CPU)
    assert all(torch.equal(before[name], after) for name, after in encoder.state_dict().items())
    assert [row["encoder_drift"] for row in curve] == [0.0] * 3
    assert [row["alignment_loss"] for row in curve] == [None] * 3


def test_frozen_epochs_equal_ordinary_training(tmp_path: Path) -> None:
    encoder = tiny("clip")
    own = task(encoder, config=protocol(freeze_epochs=3))
    found, history, _ = train_end_to_end(encoder, own, 100, tmp_path, CPU)
    bank = LiveEncoder(encoder, ("image", "text"), "float32", 100, CPU).all(
        own.items, own.view.item_ids
    )
    torch.manual_seed(1)
    model = recommender_class("vbpr")(own.view, bank, recommender_section("vbpr"))
    config = TrainingConfig(
        batch_size=128, maximum_epochs=3, patience=10, validate_every=1, validation_cutoff=5
    )
    expected, same = train(model, own.view, config, 1, CPU)
    assert np.array_equal(found.users, expected.users)
    assert np.array_equal(found.items, expected.items)
    assert history == same


def test_patience_counts_from_the_thaw(tmp_path: Path) -> None:
    encoder = toy_encoder()
    own = task(encoder, config=protocol(freeze_epochs=30, patience=2, maximum_epochs=200))
    _, history, _ = train_end_to_end(encoder, own, 100, tmp_path, CPU)
    assert len(history.losses) == max(history.best_epoch, 30) + 2


def test_encoder_and_vectors_are_of_the_best_epoch(tmp_path: Path) -> None:
    whole = protocol(maximum_epochs=12, freeze_epochs=2)
    encoder = toy_encoder()
    vectors, history, _ = train_end_to_end(encoder, task(encoder, config=whole), 9, tmp_path, CPU)
    assert 2 < history.best_epoch < 12
    shorter = protocol(maximum_epochs=history.best_epoch, freeze_epochs=2)
    (tmp_path / "again").mkdir()
    other = toy_encoder()
    expected, _, _ = train_end_to_end(
        other, task(other, config=shorter), 9, tmp_path / "again", CPU
    )
    assert np.array_equal(vectors.items, expected.items)
    assert np.array_equal(vectors.users, expected.users)
    for one, two in zip(encoder.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(("every", "bank_encodings"), [(None, 2), (2, 4), (1, 6)])
def test_the_bank_is_refreshed_as_often_as_asked(
    every: int | None, bank_encodings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five steps an epoch of 360 triples: every second one is 2 and 4, the fifth is the epoch's."""
    calls = []
    whole = LiveEncoder.all

    def counted(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        return whole(self, *arguments)

    monkeypatch.setattr(LiveEncoder, "all", counted)
    encoder = toy_encoder()
    config = protocol(refresh_steps=every, batch_size=72, maximum_epochs=1)
    train_end_to_end(encoder, task(encoder, config=config), 100, tmp_path, CPU)
    assert len(calls) == bank_encodings


def test_items_that_lack_a_modality_stand_in_no_ones_way(tmp_path: Path) -> None:
    """Pictures of two items alone, in most steps of none; a text of every second item."""
    source = toy_source()
    pictures = [picture if row in (2, 9) else None for row, picture in enumerate(source.pictures)]
    texts = [text if row % 2 else "" for row, text in enumerate(source.texts)]
    encoder = tiny("clip")
    config = protocol(batch_size=4, maximum_epochs=1)
    own = task(encoder, config=config, source=PicturesWithTexts(pictures, texts))
    vectors, history, curve = train_end_to_end(encoder, own, 3, tmp_path, CPU)
    assert np.isfinite(vectors.items).all() and history.best_epoch == 1
    assert curve[0]["alignment_loss"] == 0.0  # no item has both: 9 has, but it is alone


def test_memory_that_runs_out_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any) -> Any:
        raise torch.OutOfMemoryError

    encoder = toy_encoder()
    monkeypatch.setattr(JointLoss, "backward", exhausted)
    with pytest.raises(
        InputError,
        match=r"^100 items encoded at once: needs more memory .*; set LMM4REC_MICRO",
    ):
        train_end_to_end(encoder, task(encoder), 100, tmp_path, CPU)


def test_a_diverging_loss_stops_with_advice(tmp_path: Path) -> None:
    encoder = toy_encoder()
    own = task(encoder, encoder_config=rates().model_copy(update={"learning_rate": 1e308}))
    with pytest.raises(InputError, match=r"diverged in epoch 1.*encoder's end2end.learning_rate"):
        train_end_to_end(encoder, own, 100, tmp_path, CPU)
