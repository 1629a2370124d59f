"""The training loop of encoders: it learns, keeps the best epoch, and survives a kill."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.clip.clip import Clip
from lmm4rec.encoders.picture_texts import PicturesWithTexts, decode
from lmm4rec.encoders.tuning import tuning
from lmm4rec.encoders.tuning.pair_batches import PairBatches
from lmm4rec.encoders.tuning.tuning import (
    _Run,
    scheduled_share,
    split_rows,
    tune_encoder,
)
from lmm4rec.errors import InputError
from tests.catalogue import toy_catalogue as toy
from tests.encoders.encoder_contract import tiny
from tests.encoders.tuning.toy_tuning import CPU, config, same_weights, source, tuned


def test_it_learns_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    encoder, curve = tuned(tmp_path / "a", epochs=8)
    assert [row["epoch"] for row in curve] == list(range(9))
    losses = [row["validation_loss"] for row in curve]
    assert losses[-1] < 0.8 * losses[0]
    assert curve[-1]["image_to_text_recall@5"] > 2 * curve[0]["image_to_text_recall@5"]
    assert not encoder.training and all(p.requires_grad for p in encoder.parameters())


@pytest.mark.parametrize(
    ("losses", "best"), [([5.0, 2.0, 3.0, 4.0], 1), ([5.0, 4.0, 3.0, 2.0], 3), ([1.0, 2, 3, 4], 0)]
)
def test_the_epoch_with_the_smallest_held_out_loss_comes_back(
    losses: list[float], best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epoch 0 included: tuning never hands back something worse than it was given."""
    scripted, kept = iter(losses), []
    validate, keep = _Run.validate, _Run.keep

    def kept_aside(run: _Run, row: dict[str, Any]) -> None:
        kept.append({name: x.clone() for name, x in run.encoder.state_dict().items()})
        keep(run, row)

    monkeypatch.setattr(
        _Run, "validate", lambda *given: validate(*given) | {"validation_loss": next(scripted)}
    )
    monkeypatch.setattr(_Run, "keep", kept_aside)
    encoder, _ = tuned(tmp_path / "a")
    state = encoder.state_dict()
    same = [all(torch.equal(x, epoch[name]) for name, x in state.items()) for epoch in kept]
    assert same == [epoch == best for epoch in range(4)]


@pytest.mark.parametrize("augment", [False, True])
def test_same_seed_same_bytes_whatever_the_workers(augment: bool, tmp_path: Path) -> None:
    one, curve = tuned(tmp_path / "a", augment=augment, epochs=2)
    two, curve_again = tuned(tmp_path / "b", augment=augment, epochs=2, workers=2)
    other, _ = tuned(tmp_path / "c", augment=augment, epochs=2, seed=2)
    assert same_weights(one, two) and curve == curve_again
    assert not same_weights(one, other)


def test_augmenting_changes_what_is_learned(tmp_path: Path) -> None:
    plain, _ = tuned(tmp_path / "a", epochs=1)
    varied, _ = tuned(tmp_path / "b", epochs=1, augment=True)
    assert not same_weights(plain, varied)


@pytest.mark.parametrize("family", ["clip", "vlmo"])
def test_broken_off_and_gone_on_equals_unbroken(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objectives that draw chance (VLMo's masks and negatives) included."""
    whole, curve = tuned(tmp_path / "a", family=family, learning_rate=5e-4)
    cls = type(whole)
    original, calls = cls.losses, []

    def losses(self: Any, *batch: Any) -> Any:
        calls.append(1)
        if len(calls) == 22:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return original(self, *batch)

    monkeypatch.setattr(cls, "losses", losses)
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "b", family=family, learning_rate=5e-4)
    before = len(calls)
    gone_on, curve_again = tuned(tmp_path / "b", family=family, learning_rate=5e-4)
    assert len(calls) - before < before  # the first epoch was not trained again
    assert same_weights(whole, gone_on) and curve == curve_again


def test_finished_but_not_saved_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, curve = tuned(tmp_path / "a")
    monkeypatch.setattr(Clip, "losses", None)
    again, curve_again = tuned(tmp_path / "a")
    assert same_weights(whole, again) and curve == curve_again


def test_held_out_pairs_are_never_trained_on(tmp_path: Path) -> None:
    rows = np.arange(3, 103)
    train, held_out = split_rows(rows, config(validation_share=0.25))
    assert len(held_out) == 25 and len(train) == 75
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), rows)
    other = split_rows(rows, config(validation_share=0.25, seed=2))[1]
    assert not np.array_equal(held_out, other)


def test_items_without_picture_or_text_are_no_pairs() -> None:
    rows = set(source(30).complete_rows())
    assert rows == set(range(30)) - {toy.NO_PICTURE, toy.NO_TEXT, toy.NEITHER}


def test_too_few_pairs(tmp_path: Path) -> None:
    few = PicturesWithTexts([None, *toy.toy_items(9)[0][:2]], ["a", "b", "c"])
    with pytest.raises(InputError, match=r"only 2 items have both.*run\.tuned"):
        tune_encoder(tiny("clip"), few, config(), tmp_path, CPU, 0)
    with pytest.raises(InputError, match=r"only 3 items have both.*run\.tuned"):
        split_rows(np.arange(3), config())
    train, held_out = split_rows(np.arange(4), config())  # two pairs each: both have wrong ones
    assert len(train) == len(held_out) == 2


def test_unreadable_pictures_are_left_out_of_their_batch(tmp_path: Path) -> None:
    pictures, texts = toy.toy_items(20)
    pictures[12] = b"not a picture"
    encoder = tiny("clip")
    rows = np.array([10, 11, 12, 13])
    batches = PairBatches(encoder, PicturesWithTexts(pictures, texts), 0, CPU)
    for _ in ("streamed", "kept"):
        ((pixels, tokens),) = batches.batches([rows])
        assert len(pixels) == len(tokens["tokens"]) == 3
        expected = encoder.tokenizer([texts[row] for row in (10, 11, 13)])["tokens"]
        assert torch.equal(tokens["tokens"], expected)
        assert not list(batches.batches([np.array([11, 12])]))  # one pair is no batch
        batches.keep_decoded(rows)
    ((pixels, _),) = batches.batches([np.array([14, 15])])  # rows that were not kept
    assert len(pixels) == 2
    batches.keep_decoded(np.array([14, 15, 16]))  # in the place of the others
    for asked in ([10, 11], [15, 16]):
        ((pixels, _),) = batches.batches([np.array(asked)])
        known = [encoder.image_transform(decode(pictures[row])) for row in asked]
        assert torch.equal(pixels, torch.stack(known))
    all_bad = PicturesWithTexts([b"x"] * 30, ["a text"] * 30)
    with pytest.raises(InputError, match="none of the held-out pictures can be read"):
        tune_encoder(encoder, all_bad, config(), tmp_path, CPU, 0)


def test_divergence_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nan = torch.tensor(math.nan, requires_grad=True)
    monkeypatch.setattr(Clip, "losses", lambda *_: {"itc": nan})
    with pytest.raises(InputError, match=r"training diverged in epoch 0.*lower.*learning_rate"):
        tuned(tmp_path / "a")


def test_schedule_by_hand() -> None:
    shares = [scheduled_share(step, 12, 4) for step in range(12)]
    assert shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert math.isclose(shares[8], 0.5) and shares[11] < 0.05
    assert all(earlier > later for earlier, later in pairwise(shares[4:]))
    assert scheduled_share(0, 5, 0) == 1.0


def test_the_weights_are_of_the_epoch_that_the_curve_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when a better epoch was written but not yet saved, and it does not come again."""
    validate, save = tuning._Run.validate, tuning.save_state

    def run(folder: Path, *losses: float) -> tuple[Encoder, list[dict[str, Any]]]:
        def judged(self: Any, *arguments: Any) -> dict[str, float]:
            return {**validate(self, *arguments), "validation_loss": losses[len(self.curve)]}

        monkeypatch.setattr(tuning._Run, "validate", judged)
        return tuned(folder)

    def until(path: Path, state: dict[str, Any]) -> None:
        if len(state["curve"]) == 4:
            raise KeyboardInterrupt
        save(path, state)

    expected, _ = run(tmp_path / "whole", 4.0, 3.0, 2.0, 9.0)
    monkeypatch.setattr(tuning, "save_state", until)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", 4.0, 3.0, 2.0, 1.0)
    monkeypatch.setattr(tuning, "save_state", save)
    assert (tmp_path / "killed/best-3.pt").exists()
    found, _ = run(tmp_path / "killed", 4.0, 3.0, 2.0, 9.0)
    assert same_weights(found, expected)
