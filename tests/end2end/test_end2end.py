"""End-to-end training: whose gradient, from which rows, and that nothing else changes a result."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lmm4rec.encoders import FAMILIES
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.item_batches import ItemBatches
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.encoders.tuning.trainable import TuneAll, TuneLastBlocks, TuneLora
from lmm4rec.encoders.tuning.tuning import ADAM_BETAS, ADAM_EPS
from lmm4rec.end2end import training
from lmm4rec.end2end.config import modalities_to_encode
from lmm4rec.end2end.live import LiveEncoder
from lmm4rec.end2end.step import JointLoss
from lmm4rec.end2end.training import train_end_to_end
from lmm4rec.errors import InputError
from lmm4rec.recommenders import CONTENT, UNTRAINED, recommender_class
from lmm4rec.recommenders.shared.content import JOINED
from lmm4rec.resuming import Savepoint
from lmm4rec.training.model_selection import Validator
from lmm4rec.training.sampling import TripleSampler
from lmm4rec.training.training import TrainingConfig, adam, train
from tests.encoders.encoder_contract import tiny
from tests.end2end.toy_end2end import (
    CPU,
    NO_PICTURE,
    NO_TEXT,
    protocol,
    rates,
    recommender_section,
    task,
    toy_encoder,
    toy_source,
)
from tests.toy import N_ITEMS, checkerboard

TRIPLES = torch.tensor([[0, 1, 2, 5, 9], [2, 3, 4, 7, 9], [5, 2, 10, 8, 12]])
ITEMS = np.array([2, 3, 4, 5, 7, 8, 9, 10, 12])  # 3 has no picture, 5 no text, 7 neither
TRAINED = sorted(CONTENT.keys() - UNTRAINED)


class Step:
    """One step on TRIPLES, every other item in the bank of the encoder's first weights."""

    def __init__(
        self, encoder: Encoder, name: str, micro_batch: int, weight: float, **changes: Any
    ) -> None:
        own = task(encoder, name, protocol(alignment_weight=weight), **changes)
        self.live = LiveEncoder(encoder, own.modalities, "float32", micro_batch, CPU)
        bank = self.live.all(own.items, own.view.item_ids)
        torch.manual_seed(0)
        self.model: Any = own.build(bank)
        self.model.content.refresh(bank)
        self.model.content_changed()
        self.encoder, self._items = encoder, own.items
        self._loss = JointLoss(self.live, self.model, weight)

    def backward(self) -> tuple[Tensor, list[Tensor | None], list[Tensor | None]]:
        """The loss, and the gradients of encoder and recommender."""
        self.encoder.zero_grad(set_to_none=True)
        self.model.zero_grad(set_to_none=True)
        self.model.begin_epoch(np.random.default_rng(0))
        torch.manual_seed(5)
        [parts] = self.live.served(self._items, [ITEMS])
        terms = self._loss.backward(tuple(TRIPLES), parts)  # type: ignore[arg-type]
        gradients = [[p.grad for p in part.parameters()] for part in (self.encoder, self.model)]
        return torch.stack(list(terms.values())).sum(), *gradients  # type: ignore[return-value]


@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize("micro_batch", [4, 100])
@pytest.mark.parametrize("scaling", ["none", "unit", "standard"])
def test_the_encoders_gradient_equals_a_finite_difference(
    scaling: str, micro_batch: int, weight: float
) -> None:
    """Along random directions, in double precision, the bank held fixed."""
    step = Step(toy_encoder(), "vbpr", micro_batch, weight, scaling=scaling)
    _, gradients, _ = step.backward()
    parameters = list(step.encoder.parameters())
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        direction = [torch.randn(p.shape, generator=generator).double() for p in parameters]
        slope = sum(
            float((g * d).sum()) for g, d in zip(gradients, direction, strict=True) if g is not None
        )
        sides = []
        for sign in (1e-6, -1e-6):
            with torch.no_grad():
                for parameter, d in zip(parameters, direction, strict=True):
                    parameter.add_(d, alpha=sign)
            sides.append(float(step.backward()[0]))
            with torch.no_grad():
                for parameter, d in zip(parameters, direction, strict=True):
                    parameter.sub_(d, alpha=sign)
        assert abs(slope) > 1e-4
        assert slope == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-6)


def test_the_recommendation_loss_alone_reaches_both_towers() -> None:
    _, gradients, _ = Step(toy_encoder(), "vbpr", 100, weight=0.0).backward()
    assert all(gradient is not None and bool(gradient.any()) for gradient in gradients)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("modalities", [["image", "text"], ["fused"]])
def test_gradient_caching_equals_one_pass(family: str, modalities: list[str]) -> None:
    encoder = tiny(family)
    if "fused" in modalities and encoder.fused_dim is None:
        pytest.skip("has no fused vectors")
    found = [
        Step(encoder, "vbpr", micro_batch, 0.5, modalities=modalities).backward()
        for micro_batch in (100, 4, 1)
    ]
    (loss, *expected), *others = found
    for cached, *gradients in others:
        torch.testing.assert_close(cached, loss, rtol=1e-5, atol=1e-6)
        for ours, theirs in zip(gradients, expected, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert (one is None) == (other is None)
                if one is not None and other is not None:
                    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpointed_activations_give_the_same_gradients(family: str) -> None:
    encoder = tiny(family)
    plain = Step(copy.deepcopy(encoder), "vbpr", 4, 0.5).backward()
    calls = []
    block = encoder.layers()[0]
    first = block[0] if isinstance(block, torch.nn.ModuleList) else block
    own = first.forward
    first.forward = lambda *a, **k: (calls.append(torch.is_grad_enabled()), own(*a, **k))[1]
    encoder.checkpoint_activations()
    again = Step(encoder, "vbpr", 4, 0.5).backward()
    for ours, theirs in zip(again[1], plain[1], strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
    assert calls.count(True) > calls.count(False) / 2  # run again with graph, in the backward pass


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


TUNES = [
    TuneAll(kind="all"),
    TuneLastBlocks(kind="last-blocks", blocks=1),
    TuneLora(kind="lora", rank=2, alpha=4),
]


class Killed(Exception):
    pass


@pytest.mark.parametrize("tune", TUNES, ids=["all", "last-blocks", "lora"])
def test_a_killed_run_goes_on_to_the_same_result(
    tune: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = protocol(maximum_epochs=4, freeze_epochs=1, refresh_steps=4, batch_size=36)

    def run(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        torch.manual_seed(int(np.random.default_rng().integers(1000)))  # nothing may hang on it
        encoder = tiny("clip")
        own = task(encoder, "bm3", config, rates(tune=tune, warmup_steps=6))
        return encoder, *train_end_to_end(encoder, own, 100, folder, CPU)

    encoder, vectors, history, curve = run(tmp_path / "whole")
    monkeypatch.setattr(training, "Savepoint", lambda folder: Savepoint(folder, 0))
    whole_epoch = training._Run._train
    for stop in (2, 4):
        with monkeypatch.context() as context:

            def until(self: Any, number: int, is_frozen: bool, stop: int = stop) -> Any:
                if number == stop:
                    raise Killed
                return whole_epoch(self, number, is_frozen)

            context.setattr(training._Run, "_train", until)
            with pytest.raises(Killed):
                run(tmp_path / "killed")
    again, found, same, same_curve = run(tmp_path / "killed")
    assert same == history and same_curve == curve
    assert np.array_equal(found.users, vectors.users)
    assert np.array_equal(found.items, vectors.items)
    assert encoder.state_dict().keys() == tiny("clip").state_dict().keys()
    for name, values in encoder.state_dict().items():
        assert torch.equal(values, again.state_dict()[name])


@pytest.mark.parametrize("tune", TUNES[1:], ids=["last-blocks", "lora"])
def test_what_is_not_tuned_stays(tune: Any, tmp_path: Path) -> None:
    encoder = tiny("clip")
    before = copy.deepcopy(encoder.state_dict())
    train_end_to_end(encoder, task(encoder, encoder_config=rates(tune=tune)), 100, tmp_path, CPU)
    moved = {n for n, values in encoder.state_dict().items() if not torch.equal(values, before[n])}
    assert moved and "model.text.token_embedding.weight" not in moved
    assert not [name for name in moved if ".resblocks.0.ln" in name]
    assert all(parameter.requires_grad for parameter in encoder.parameters())


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


def test_the_bank_has_the_flags_of_the_catalogue() -> None:
    encoder = tiny("clip")
    own = task(encoder)
    for decoded in (False, True):
        if decoded:
            own.items.keep_decoded()
        live = LiveEncoder(encoder, ("image", "text"), "float32", 7, CPU)
        bank = live.all(own.items, own.view.item_ids)
        assert set(np.flatnonzero(~bank.present["image"])) == set(NO_PICTURE)
        assert set(np.flatnonzero(~bank.present["text"])) == set(NO_TEXT)
        assert not bank.matrices["image"][list(NO_PICTURE)].any()
        torch.testing.assert_close(
            torch.from_numpy(bank.matrices["text"][[4]]),
            encoder.encode_texts(encoder.tokenizer([toy_source().texts[4]])).detach(),
        )


def test_only_what_is_read_is_encoded() -> None:
    encoder, own = tiny("clip"), recommender_section("vbpr", modalities=["image"])
    assert modalities_to_encode(encoder, own, protocol(alignment_weight=0.0)) == ("image",)
    assert modalities_to_encode(encoder, own, protocol()) == ("image", "text")


def test_fused_vectors_of_an_encoder_without_them_are_refused() -> None:
    own = recommender_section("vbpr", modalities=["fused"])
    with pytest.raises(InputError, match=r"clip encodes picture and text apart.*`modalities`"):
        modalities_to_encode(tiny("clip"), own, protocol())


def test_half_precision_ends_at_the_encoders_output(tmp_path: Path) -> None:
    encoder = tiny("beit3")
    own = task(encoder, encoder_config=rates(precision="bfloat16"))
    live = LiveEncoder(encoder, own.modalities, "bfloat16", 100, CPU)
    [parts] = live.served(own.items, [ITEMS])
    assert {part.dtype for part in live.encode(parts).embeddings.values()} == {torch.float32}
    _, _, curve = train_end_to_end(encoder, own, 100, tmp_path, CPU)
    assert curve[-1]["recommendation_loss"] < curve[0]["recommendation_loss"]  # type: ignore[operator]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_alignment_loss_on_embeddings_is_the_objectives_own(family: str) -> None:
    encoder = tiny(family)
    batches = ItemBatches(encoder, toy_source(complete=True), 0)
    [batch] = batches.batches([np.arange(8)])
    embeddings = encoder.encode_images(batch.pixels), encoder.encode_texts(batch.tokens)
    loss = encoder.alignment_loss(*embeddings)
    if family == "vlmo":  # its own objective has a second branch
        scale = encoder.logit_scale.exp()  # type: ignore[operator]
        logits, target = scale * embeddings[0] @ embeddings[1].T, torch.arange(8)
        cross = torch.nn.functional.cross_entropy
        expected = (cross(logits, target) + cross(logits.T, target)) / 2
    else:
        expected = encoder.losses(batch.pixels, batch.tokens)["itc"]
    torch.testing.assert_close(loss, expected)


def test_memory_that_runs_out_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any) -> Any:
        raise torch.OutOfMemoryError

    encoder = toy_encoder()
    monkeypatch.setattr(JointLoss, "backward", exhausted)
    with pytest.raises(
        InputError, match=r"with 100 items encoded at once; set LMM4REC_MICRO_BATCH"
    ):
        train_end_to_end(encoder, task(encoder), 100, tmp_path, CPU)


def test_a_diverging_loss_stops_with_advice(tmp_path: Path) -> None:
    encoder = toy_encoder()
    own = task(encoder, encoder_config=rates(learning_rate=1e308))
    with pytest.raises(InputError, match=r"diverged in epoch 1.*encoder's end2end.learning_rate"):
        train_end_to_end(encoder, own, 100, tmp_path, CPU)
