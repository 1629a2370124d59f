"""The training loop of encoders: it learns, keeps the best epoch, and survives a kill."""

from __future__ import annotations

import csv
import math
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.clip.clip import Clip
from lmm4rec.encoders.picture_texts import PicturesWithTexts, decode
from lmm4rec.encoders.tuning.pair_batches import PairBatches
from lmm4rec.encoders.tuning.retrieval import retrieval_recall
from lmm4rec.encoders.tuning.trainable import (
    Trainable,
    TuneAll,
    TuneLastBlocks,
    TuneLora,
    parameter_depths,
)
from lmm4rec.encoders.tuning.tuning import (
    TuningConfig,
    _Run,
    scheduled_share,
    split_rows,
    tune_encoder,
)
from lmm4rec.encoders.tuning.tuning_curve import CurveRow, before_and_after, write_curve
from lmm4rec.errors import InputError
from lmm4rec.folders import fingerprint, read_json
from tests.catalogue import toy_catalogue as toy
from tests.encoders.encoder_contract import tiny, toy_batch, worst

CPU = torch.device("cpu")


def config(**changes: Any) -> TuningConfig:
    values = {
        "seed": 1, "epochs": 3, "batch_size": 16, "learning_rate": 2e-3, "weight_decay": 0.1,
        "warmup_share": 0.1, "layer_decay": 1.0, "gradient_norm": 1.0, "validation_share": 0.2,
        "augment": False, "precision": "float32", "tune": {"kind": "all"},
    }  # fmt: skip
    return TuningConfig.model_validate(values | changes)


def source(count: int = 160) -> PicturesWithTexts:
    return PicturesWithTexts(*toy.toy_items(count))


def tuned(
    scratch: Path, workers: int = 0, family: str = "clip", **changes: Any
) -> tuple[Encoder, list[dict[str, Any]]]:
    scratch.mkdir(exist_ok=True)
    encoder = tiny(family)
    return encoder, tune_encoder(encoder, source(), config(**changes), scratch, CPU, workers)


def same_weights(one: Encoder, two: Encoder) -> bool:
    left, right = one.state_dict(), two.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)


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


# -------------------------------------------------------------------- what is trained, at what rate


def test_learning_rates_fall_towards_the_input_and_vectors_do_not_decay() -> None:
    encoder = tiny("clip")
    groups = Trainable(encoder, TuneAll(kind="all")).groups(1.0, 0.3, 0.5)
    of = {id(p): group for group in groups for p in group["params"]}
    found = {name: of[id(p)] for name, p in encoder.named_parameters()}
    blocks = "model.visual.transformer.resblocks"
    assert found["model.visual.proj"]["peak"] == found["model.text.text_projection"]["peak"] == 1.0
    assert found[f"{blocks}.2.mlp.c_fc.weight"]["peak"] == 0.5
    assert found[f"{blocks}.0.mlp.c_fc.weight"]["peak"] == 0.125
    assert found["model.text.transformer.resblocks.1.mlp.c_fc.weight"]["peak"] == 0.5
    assert found["model.visual.conv1.weight"]["peak"] == 0.0625
    assert found["model.text.token_embedding.weight"]["peak"] == 0.0625
    for name, parameter in encoder.named_parameters():
        assert found[name]["weight_decay"] == (0.0 if parameter.ndim < 2 else 0.3), name


@pytest.mark.parametrize("family", ["clip", "beit3", "vlmo", "unimodal"])
def test_every_parameter_has_a_depth(family: str) -> None:
    encoder = tiny(family)
    depths = parameter_depths(encoder)
    heads = len(encoder.layers()) + 1
    assert set(depths.values()) == set(range(heads + 1))
    inputs = {name for name, depth in depths.items() if depth == 0}
    assert any("embed" in name for name in inputs)
    assert not any(
        "proj" in name and "patch" not in name and "embed" not in name for name in inputs
    )
    assert all(depths[name] == heads for name in depths if "logit_scale" in name)


@pytest.mark.parametrize("family", ["clip", "beit3", "vlmo", "unimodal"])
def test_last_blocks_alone_move(family: str, tmp_path: Path) -> None:
    before = tiny(family)
    encoder, _ = tuned(
        tmp_path / "a", family=family, epochs=1, tune={"kind": "last-blocks", "blocks": 1},
        learning_rate=5e-4,
    )  # fmt: skip
    depths, last = parameter_depths(before), len(before.layers())
    moved = {
        name
        for (name, old), new in zip(before.named_parameters(), encoder.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert moved and all(depths[name] >= last for name in moved)
    assert any(depths[name] == last for name in moved)


def test_more_blocks_than_there_are() -> None:
    with pytest.raises(InputError, match=r"tune\.blocks is 9, but this encoder has 3 blocks"):
        Trainable(tiny("clip"), TuneLastBlocks(kind="last-blocks", blocks=9))


@pytest.mark.parametrize("family", ["clip", "beit3", "vlmo", "unimodal"])
def test_lora_starts_at_nothing_trains_little_and_is_merged(family: str, tmp_path: Path) -> None:
    encoder, reference = tiny(family), tiny(family)
    pixels, tokens = toy_batch(encoder)
    trainable = Trainable(encoder, TuneLora(kind="lora", rank=2, alpha=4))
    groups = trainable.groups(1e-2, 0.0, 1.0)
    trained = sum(p.numel() for group in groups for p in group["params"])
    assert 0 < trained < 0.1 * sum(p.numel() for p in reference.parameters())
    with torch.no_grad():
        assert worst(encoder.encode_images(pixels), reference.encode_images(pixels)) < 1e-6
    optimizer = torch.optim.AdamW([group | {"lr": group["peak"]} for group in groups])
    for _ in range(3):
        optimizer.zero_grad()
        torch.stack(list(encoder.losses(pixels, tokens).values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        images, texts = encoder.encode_images(pixels), encoder.encode_texts(tokens)
        assert worst(images, reference.encode_images(pixels)) > 1e-3
        trainable.finish()
        assert worst(encoder.encode_images(pixels), images) < 1e-5
        assert worst(encoder.encode_texts(tokens), texts) < 1e-5
    assert encoder.state_dict().keys() == reference.state_dict().keys()
    folder = tmp_path / "saved"
    folder.mkdir()
    encoder.save(folder)


def test_lora_through_the_loop(tmp_path: Path) -> None:
    tune = {"kind": "lora", "rank": 4, "alpha": 8}
    one, curve = tuned(tmp_path / "a", tune=tune, learning_rate=1e-2)
    two, _ = tuned(tmp_path / "b", tune=tune, learning_rate=1e-2)
    assert same_weights(one, two)
    assert curve[-1]["validation_loss"] < curve[0]["validation_loss"]


# ----------------------------------------------------------------------------------------- recall


def test_recall_by_hand() -> None:
    images = torch.eye(6)
    assert retrieval_recall(images, images)["image_to_text_recall@1"] == 1.0
    shifted = images.roll(1, 0)  # every text is its neighbour's; its own ties with four others
    recalls = retrieval_recall(images, shifted)
    assert recalls["image_to_text_recall@1"] == 0.0
    assert math.isclose(recalls["text_to_image_recall@5"], 4 / 5)
    blind = torch.ones(6, 3)  # says the same of everything: no better than chance
    recalls = retrieval_recall(blind, blind)
    assert math.isclose(recalls["image_to_text_recall@1"], 1 / 6)
    assert math.isclose(recalls["text_to_image_recall@5"], 5 / 6)


# ------------------------------------------------------------------------------------------ stage


def test_stage_killed_then_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    project = toy.toy_project(tmp_path, 200)
    outputs = ("data/tuned/toy", "data/plots/toy.csv", "data/metrics/toy.json")
    command = toy.stage_command(
        "finetune", outputs[0], "--curve", outputs[1], "--metrics", outputs[2]
    )
    toy.kill_once_there(project, command, "finetune-*/latest.pt")
    assert not (project / "data/tuned").exists()
    done = toy.run(project, command)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in done.stderr
    assert not list((project / "data/scratch").iterdir())
    first = [fingerprint(project / name) for name in outputs]
    shutil.rmtree(project / "data/tuned")
    assert toy.run(project, command).returncode == 0
    again = [fingerprint(project / name) for name in outputs]
    assert again == first
    rows = list(csv.DictReader((project / "data/plots/toy.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0]["training_loss"] == "" and float(rows[3]["validation_loss"]) > 0
    told = read_json(project / outputs[2])
    assert told["held_out_pairs"] == 39  # a fifth of the 197 items that have both
    kept = rows[told["kept_epoch"]]
    for name, value in told["after"].items():
        assert value == float(kept[name]) and told["before"][name] == float(rows[0][name])


def test_before_and_after_are_epoch_0_and_the_kept_one() -> None:
    recalls = [0.1, 0.4, 0.9]
    curve: list[CurveRow] = [
        {"epoch": epoch, "learning_rate": 1.0, "held_out_pairs": 7, "validation_loss": loss,
         "image_to_text_recall@1": recall}
        for epoch, (loss, recall) in enumerate(zip([3.0, 1.0, 2.0], recalls, strict=True))
    ]  # fmt: skip
    assert before_and_after(curve) == {
        "held_out_pairs": 7,
        "epochs": 2,
        "kept_epoch": 1,
        "before": {"validation_loss": 3.0, "image_to_text_recall@1": 0.1},
        "after": {"validation_loss": 1.0, "image_to_text_recall@1": 0.4},
    }


def test_curve_columns_are_those_of_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "below" / "curve.csv"
    write_curve(path, [{"epoch": 0, "a": None}, {"epoch": 1, "a": 0.5, "b": 2.0}])
    assert path.read_text() == "epoch,a,b\n0,,\n1,0.5,2.0\n"
