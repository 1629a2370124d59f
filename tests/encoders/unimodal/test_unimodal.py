"""The modality-specific pair: its networks, its joint space, and how the tiny one is trained."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from lmm4rec.encoders import load_encoder
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.encoders.tuning.trainable import Trainable, TuneLastBlocks, TuneLora, parameter_depths
from lmm4rec.encoders.tuning.tuning import TuningConfig, tune_encoder
from lmm4rec.encoders.unimodal.pretraining import TrainedApart, caption_pairs, word_loss
from lmm4rec.encoders.unimodal.timm_images import (
    ImageTowerConfig,
    build_image_tower,
    pooled_dim,
    preprocessing_of,
)
from lmm4rec.encoders.unimodal.towers import image_blocks
from lmm4rec.encoders.unimodal.transformers_texts import TextTokenizer
from lmm4rec.encoders.unimodal.unimodal import Unimodal
from lmm4rec.errors import InputError
from tests.catalogue.toy_catalogue import toy_items
from tests.encoders.encoder_contract import TEXTS, tiny, toy_batch, worst


def small() -> Unimodal:
    encoder = tiny("unimodal")
    assert isinstance(encoder, Unimodal)
    return encoder


# --------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("resnet50", 4), ("vit_base_patch16_224", 12), ("convnext_tiny", 4), ("efficientnet_b0", 7),
     ("swin_tiny_patch4_window7_224", 4), ("mobilenetv3_small_100", 6), ("regnety_008", 0),
     ("vgg11", 0)],
)  # fmt: skip
def test_networks_of_timm(name: str, blocks: int) -> None:
    """The dimension is that of the vector that comes out; stages are found, or their lack said."""
    with torch.device("meta"):
        network = timm.create_model(name)
        preprocessing = preprocessing_of(network)
        config = ImageTowerConfig(architecture=name, options={}, preprocessing=preprocessing)
        tower = build_image_tower(config, "test").eval()
        vectors = tower(torch.zeros(2, *preprocessing.input_size))
    assert vectors.shape == (2, pooled_dim(tower))
    if blocks:
        assert len(image_blocks(tower)) == blocks
    else:
        with pytest.raises(InputError, match="has no blocks or stages that are known here"):
            image_blocks(tower)


def test_options_that_timm_does_not_take() -> None:
    config = small().config.image.model_copy(update={"options": {"depht": 3}})
    with pytest.raises(InputError, match="timm cannot build resnet10t with these options"):
        build_image_tower(config, "here")


def test_depths_run_through_both_networks() -> None:
    depths = parameter_depths(small())
    assert depths["image_tower.conv1.0.weight"] == depths["image_tower.bn1.weight"] == 0
    assert depths["text_tower.embeddings.word_embeddings.weight"] == 0
    assert depths["image_tower.layer1.0.conv1.weight"] == 1
    assert depths["image_tower.layer4.0.conv1.weight"] == 4
    assert depths["text_tower.encoder.layer.1.output.dense.weight"] == 4
    assert depths["image_projection.weight"] == depths["logit_scale"] == 5


def test_a_text_of_no_token_is_one_padding_token() -> None:
    pieces = Tokenizer(models.WordLevel({"[UNK]": 0, "lamp": 1, "[PAD]": 2}, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens = TextTokenizer(pieces, max_tokens=4, pad_id=2)(["", "lamp lamp lamp lamp lamp", "x"])
    assert tokens["tokens"].tolist() == [[2, 2, 2, 2], [1, 1, 1, 1], [0, 2, 2, 2]]
    assert tokens["attention_mask"].tolist() == [[1, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]


# ------------------------------------------------------------------------------------- joint space


def test_matching_is_linear_in_the_features() -> None:
    encoder = small()
    pixels, tokens = toy_batch(encoder)
    with torch.no_grad():
        by_hand = encoder.encode_images(pixels) @ encoder.image_projection.weight.T
        images, texts = encoder.matching_images(pixels), encoder.matching_texts(tokens)
        assert worst(images, by_hand / by_hand.norm(dim=1, keepdim=True)) < 1e-6
        assert images.shape == texts.shape == (16, 64)
        logits = images @ texts.T / 0.07
        target = torch.arange(16)
        loss = torch.nn.functional.cross_entropy
        expected = (loss(logits, target) + loss(logits.T, target)) / 2
        assert worst(encoder.losses(pixels, tokens)["itc"], expected) < 1e-5


def test_fine_tuning_aligns_the_pair_and_recall_sees_it(tmp_path: Path) -> None:
    encoder = small()
    values = {
        "seed": 1, "epochs": 8, "batch_size": 16, "learning_rate": 2e-3, "weight_decay": 0.1,
        "warmup_share": 0.1, "layer_decay": 1.0, "gradient_norm": 1.0, "validation_share": 0.2,
        "augment": False, "precision": "float32", "tune": {"kind": "all"},
    }  # fmt: skip
    config = TuningConfig.model_validate(values)
    source = PicturesWithTexts(*toy_items(160))
    curve = tune_encoder(encoder, source, config, tmp_path, torch.device("cpu"), 0)
    first, last = (row["image_to_text_recall@5"] for row in (curve[0], curve[-1]))
    assert first is not None and last is not None and last > 2 * first
    assert encoder.image_dim != encoder.text_dim  # nothing but the joint space could tell


def norms(encoder: Unimodal) -> dict[str, Tensor]:
    return {n: x.clone() for n, x in encoder.state_dict().items() if "running" in n}


def test_frozen_batch_norms_keep_their_statistics() -> None:
    encoder = small()
    Trainable(encoder, TuneLastBlocks(kind="last-blocks", blocks=1))
    before = norms(encoder)
    encoder.train()
    encoder.losses(*toy_batch(encoder))
    moved = {name for name, x in norms(encoder).items() if not torch.equal(x, before[name])}
    assert moved and all("layer4" in name for name in moved)
    encoder.eval()
    assert not any(module.training for module in encoder.modules())


def test_low_rank_changes_reach_convolutions_and_the_joint_space() -> None:
    encoder = small()
    before = norms(encoder)
    trainable = Trainable(encoder, TuneLora(kind="lora", rank=2, alpha=4))
    encoder.train()
    sum(encoder.losses(*toy_batch(encoder)).values()).backward()  # type: ignore[union-attr]
    trained = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert {"image_projection.weight", "text_projection.weight", "logit_scale"} <= trained
    for part in ("layer1.0.conv1.lora_", "layer4.0.conv2.lora_", "attention.self.query.lora_"):
        assert any(part in name for name in trained), part
    assert all(torch.equal(x, before[name]) for name, x in norms(encoder).items())
    trainable.finish()


# ---------------------------------------------------------------------------- training the tiny one


def apart() -> tuple[Unimodal, TrainedApart, list[str]]:
    encoder = small()
    others = [text.replace("a ", "one ").replace("for the house", "at home") for text in TEXTS]
    trained, texts = encoder.to_pretrain(TEXTS, iter(others))
    assert isinstance(trained, TrainedApart)
    return encoder, trained, list(texts)


@pytest.mark.parametrize(
    ("term", "own", "other"),
    [("words", "image_tower", "text_tower"), ("paraphrase", "text_tower", "image_tower")],
)
def test_no_gradient_passes_between_the_networks(term: str, own: str, other: str) -> None:
    encoder, trained, texts = apart()
    pixels, _ = toy_batch(encoder)
    trained.train()
    trained.losses(pixels, trained.tokenizer(texts))[term].backward()
    assert any(p.grad is not None and p.grad.any() for p in getattr(encoder, own).parameters())
    assert all(p.grad is None for p in getattr(encoder, other).parameters())
    for projection in (encoder.image_projection, encoder.text_projection):
        assert projection.weight.grad is None


def test_both_networks_learn() -> None:
    _, trained, texts = apart()
    pixels, tokens = toy_batch(trained.pair)[0], trained.tokenizer(texts)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=2e-3)
    trained.train()
    history = []
    for _ in range(25):
        terms = trained.losses(pixels, tokens)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        history.append({name: float(term.detach()) for name, term in terms.items()})
    assert history[0]["words"] > 3.5
    assert history[-1]["words"] < 2.7  # the words said have an entropy of 2.51
    assert history[-1]["paraphrase"] < 0.3 * history[0]["paraphrase"]


def test_word_loss_by_hand() -> None:
    """Ids below 5 are special tokens; each picture counts alike, however much is said of it."""
    logits = torch.zeros(2, 8)
    logits[0, 6] = math.log(9)  # probability 9 / 16, the others 1 / 16
    said = torch.tensor([[2, 6, 7, 3, 0], [2, 5, 3, 0, 0]])
    first = -(math.log(9 / 16) + math.log(1 / 16)) / 2
    assert math.isclose(float(word_loss(logits, said)), (first + math.log(8)) / 2, rel_tol=1e-5)


def test_captions_come_in_pairs_of_the_same_picture() -> None:
    assert caption_pairs(["a", "b"], iter(["x", "y"])) == ["a\nx", "b\ny"]
    with pytest.raises(ValueError, match="zip"):
        caption_pairs(["a", "b"], iter(["x"]))
    encoder, trained, texts = apart()
    tokens = trained.tokenizer(texts)
    assert torch.equal(tokens["tokens"], encoder.tokenizer(TEXTS)["tokens"])
    second = encoder.tokenizer([text.split("\n")[1] for text in texts])
    assert torch.equal(tokens["second_attention_mask"], second["attention_mask"])
    assert not torch.equal(tokens["second_tokens"], tokens["tokens"])


def test_what_is_trained_apart_is_saved_as_a_pair(tmp_path: Path) -> None:
    encoder, trained, _ = apart()
    trained.save(tmp_path)
    pixels, _ = toy_batch(encoder)
    assert torch.equal(load_encoder(tmp_path).encode_images(pixels), encoder.encode_images(pixels))
