"""CLIP: open_clip's own outputs, losses, preprocessing and blocks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lmm4rec.encoders.clip import checkpoints as clip_checkpoints
from lmm4rec.encoders.clip.clip import Clip, sigmoid_loss
from lmm4rec.encoders.clip.network import blocks_by_depth, build_network
from lmm4rec.errors import InputError
from tests.encoders.clip.small_clip import small_clip, small_model
from tests.encoders.encoder_contract import toy_batch, worst


def test_embeddings_are_open_clips_own_normalised(tmp_path: Path) -> None:
    encoder = small_clip()
    pixels, tokens = toy_batch(encoder)
    ids = open_clip.SimpleTokenizer(context_length=77)(["a red lamp for the house"])
    with torch.no_grad():
        images = encoder.model.encode_image(pixels)
        assert worst(encoder.encode_images(pixels), F.normalize(images, dim=-1)) < 1e-6
        texts = encoder.model.encode_text(ids, normalize=True)
        assert torch.equal(tokens["tokens"][:1], ids)
        assert worst(encoder.encode_texts(tokens)[:1], texts) < 1e-6


def test_cutting_padding_changes_no_text_embedding() -> None:
    """The tiny text tower is given short texts; open_clip computes all 32 columns."""
    torch.manual_seed(5)
    encoder = Clip.tiny([]).eval()
    tokens = encoder.tokenizer(["a lamp", "a small wooden chair", ""])
    with torch.no_grad():
        whole = encoder.model.encode_text(tokens["tokens"], normalize=True)
        assert worst(encoder.encode_texts(tokens), whole) < 1e-6
        seen = []
        encoder.model.text.token_embedding.register_forward_hook(
            lambda _, given, __: seen.append(given[0].shape[1])
        )
        encoder.encode_texts(tokens)
    assert seen == [6]  # start, 4 words, end


def test_preprocessing_is_the_published_one() -> None:
    """Spec, section 3: short side 224 bicubic, centre crop, OpenAI's mean and deviation."""
    model = open_clip.get_model_config("ViT-B-16-quickgelu")
    config = clip_checkpoints._config(model, {})
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**config.preprocess), is_train=False
    )
    picture = Image.fromarray(np.arange(300 * 400 * 3, dtype=np.uint32).reshape(300, 400, 3)
                              .astype(np.uint8))  # fmt: skip
    by_hand = picture.resize((298, 224), Image.Resampling.BICUBIC).crop((37, 0, 261, 224))
    pixels = torch.from_numpy(np.array(by_hand)).permute(2, 0, 1) / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    assert worst(transform(picture), (pixels - mean) / deviation) < 1e-5


def test_contrastive_loss_and_its_clamped_scale() -> None:
    encoder = small_clip()
    pixels, tokens = toy_batch(encoder)
    with torch.no_grad():
        encoder.model.logit_scale.fill_(6.0)
    (loss,) = encoder.losses(pixels, tokens).values()
    assert math.isclose(encoder.model.logit_scale.item(), math.log(100), rel_tol=1e-6)
    official = open_clip.loss.ClipLoss()(
        encoder.encode_images(pixels), encoder.encode_texts(tokens), torch.tensor(100.0)
    )
    assert worst(loss, official) < 1e-4


def test_sigmoid_loss_where_the_network_has_a_bias() -> None:
    """SigLIP's scale lies beyond CLIP's limit and must stay there."""
    encoder = small_clip(custom_text=True, init_logit_bias=-10, init_logit_scale=math.log(110))
    pixels, tokens = toy_batch(encoder)
    (loss,) = encoder.losses(pixels, tokens).values()
    assert math.isclose(encoder.model.logit_scale.item(), math.log(110), rel_tol=1e-6)
    official = open_clip.loss.SigLipLoss()(
        encoder.encode_images(pixels),
        encoder.encode_texts(tokens),
        torch.tensor(110.0),
        torch.tensor(-10.0),
    )
    assert worst(loss, official) < 1e-3
    by_hand = -F.logsigmoid(torch.tensor([2.0, 1.0, -3.0, 4.0])).sum() / 2
    assert worst(sigmoid_loss(torch.tensor([[2.0, -1.0], [3.0, 4.0]])), by_hand) < 1e-6


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("ViT-L-14", [1] * 12 + [2] * 12), ("ViT-B-16-SigLIP2", [2] * 12), ("EVA02-B-16", [2] * 12),
     ("RN50", [1] * 8 + [2] * 4), ("convnext_base", [1] * 8 + [2] * 4)],
)  # fmt: skip
def test_blocks_are_aligned_at_the_output(name: str, blocks: list[int]) -> None:
    with torch.device("meta"):
        network = build_network(open_clip.get_model_config(name), name)
    assert [len(list(layer.children())) for layer in blocks_by_depth(network)] == blocks


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"multimodal_cfg": {}}, r"a captioning model \(CoCa\)"),
     ({"text_cfg": {"hf_model_name": "roberta-base"}}, "built by transformers"),
     ({"embed_dim": "wide"}, "open_clip cannot build this model")],
)  # fmt: skip
def test_models_of_other_kinds_are_refused(changes: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=message):
        build_network(small_model(**changes), "this one")
