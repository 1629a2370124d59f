"""CLIP and its relatives (SigLIP, EVA-CLIP, ...): any two-tower model that open_clip can build.

Shapes: B pairs, D the common dimension of both towers, S picture side in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from pydantic import field_validator
from torch import Tensor, nn

from lmm4rec.distributed import gather
from lmm4rec.encoders.base import Encoder, TextBatch
from lmm4rec.encoders.clip.network import (
    ClipTokenizer,
    Settings,
    blocks_by_depth,
    build_network,
    encode_text,
    saved_tokenizer,
)
from lmm4rec.encoders.files.checkpoints import (
    WEIGHTS_FILE,
    load_exactly,
    read_checkpoint,
    read_config,
    write_encoder,
)
from lmm4rec.encoders.initialisation import initialise_places
from lmm4rec.encoders.objectives import contrastive_loss, similarity
from lmm4rec.params import Section

LARGEST_LOG_SCALE = math.log(100)  # Radford et al. 2021, section 2.5
VOCABULARY = 49408  # of CLIP's byte pairs


class ClipConfig(Section):
    """What rebuilds an encoder without asking anyone: open_clip's own two dictionaries."""

    model: Settings  # its `model_cfg`: embed_dim, vision_cfg, text_cfg, quick_gelu, ...
    preprocess: Settings  # its `preprocess_cfg`: size, mean, std, interpolation, resize_mode

    @field_validator("model")
    @classmethod
    def _has_both_towers(cls, model: Settings) -> Settings:
        missing = [name for name in ("embed_dim", "vision_cfg", "text_cfg") if name not in model]
        if missing:
            raise ValueError(f"lacks {missing[0]}; run stage weights again")
        return model

    @field_validator("preprocess")
    @classmethod
    def _is_complete(cls, preprocess: Settings) -> Settings:
        if preprocess.keys() != asdict(PreprocessCfg()).keys():
            raise ValueError("is not open_clip's preprocess_cfg; run stage weights again")
        return preprocess


def tiny(max_text_tokens: int = 32) -> ClipConfig:
    """3.6 M parameters, 3.2 M of them the token table, for 48-pixel pictures."""
    return ClipConfig(
        model={
            "embed_dim": 64,
            "custom_text": True,  # the text tower as a module of its own, which takes short texts
            "vision_cfg": {
                "image_size": 48, "patch_size": 12, "width": 96, "head_width": 32, "layers": 3,
            },
            "text_cfg": {
                "context_length": max_text_tokens, "vocab_size": VOCABULARY,
                "width": 64, "heads": 2, "layers": 2,
            },
        },
        preprocess={
            "size": 48, "mode": "RGB", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
            "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0,
        },
    )  # fmt: skip


class Clip(Encoder):
    """A two-tower model: D-dimensional image and text embeddings. Tokens are `tokens` [B, L]."""

    family: ClassVar[str] = "clip"

    def __init__(
        self, config: ClipConfig, tokenizer: ClipTokenizer, source: str = "config"
    ) -> None:
        super().__init__()
        self.config = config
        self.model: Any = build_network(config.model, source)
        self.image_dim = self.text_dim = int(config.model["embed_dim"])
        preprocess = PreprocessCfg(**config.preprocess)
        self.image_transform = image_transform_v2(preprocess, is_train=False)
        self.augmenting_transform = image_transform_v2(preprocess, is_train=True)
        self.tokenizer: ClipTokenizer = tokenizer

    @classmethod
    def tiny(cls, texts: Sequence[str]) -> Self:
        """A small one with random weights from torch's global generator; its vocabulary is CLIP's,
        whatever the `texts` it is to learn from."""
        config = tiny()
        encoder = cls(config, ClipTokenizer(config.model["text_cfg"], None))
        initialise_places([encoder.model.visual.positional_embedding])
        return encoder

    def encode_images(self, pixels: Tensor) -> Tensor:
        return F.normalize(self.model.encode_image(pixels).float(), dim=-1)

    def encode_texts(self, tokens: TextBatch) -> Tensor:
        return F.normalize(encode_text(self.model, tokens["tokens"]).float(), dim=-1)

    def losses(self, pixels: Tensor, tokens: TextBatch) -> dict[str, Tensor]:
        """`itc`: the alignment loss."""
        images, texts = gather(self.encode_images(pixels)), gather(self.encode_texts(tokens))
        return {"itc": self.alignment_loss(images, texts)}

    def alignment_loss(self, images: Tensor, texts: Tensor) -> Tensor:
        """Symmetric InfoNCE, or SigLIP's sigmoid loss where the network has a logit bias.

        Before InfoNCE the learned scale is cut to 100, as in CLIP; SigLIP's is free.
        """
        scale, bias = self.model.logit_scale, getattr(self.model, "logit_bias", None)
        if bias is not None:
            return sigmoid_loss(similarity(images, texts, scale) + bias)
        with torch.no_grad():
            scale.clamp_(max=LARGEST_LOG_SCALE)
        return contrastive_loss(similarity(images, texts, scale))

    def layers(self) -> list[nn.Module]:
        return blocks_by_depth(self.model)

    def save(self, folder: Path) -> None:
        write_encoder(folder, self.family, self.config, self.model)
        self.tokenizer.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        config = read_config(folder, cls.family, ClipConfig)
        encoder = cls(config, saved_tokenizer(config.model, folder), str(folder))
        weights = folder / WEIGHTS_FILE
        load_exactly(encoder.model, read_checkpoint(weights), str(weights))
        return encoder.eval()


def sigmoid_loss(logits: Tensor) -> Tensor:
    """Each of the B x B pairs judged on its own, the matching ones on the diagonal: [B, B] -> [].

    Sum over all pairs divided by B (Zhai et al. 2023, "Sigmoid Loss for Language Image
    Pre-Training", algorithm 1).
    """
    labels = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(labels * logits.float()).sum() / len(logits)
