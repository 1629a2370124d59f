"""The objectives that encoders are trained with: ITC, hard negatives for ITM, masking for MLM.

Shapes: B pairs in the batch, D embedding dims, L text tokens. Everything here is computed in
float32 whatever the autocast: with scales near 100, half precision moves softmax visibly.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lmm4rec.distributed import share_of_mean
from lmm4rec.errors import InputError

IGNORED_LABEL = -100  # what cross entropy leaves out


def similarity(images: Tensor, texts: Tensor, log_scale: Tensor) -> Tensor:
    """exp(log_scale) * cosine of every image with every text: [B, D], [B, D] -> [B, B].

    Both inputs are L2-normalised; the scale is learned as its logarithm and not clamped.
    """
    with torch.autocast(images.device.type, enabled=False):
        return log_scale.float().exp() * images.float() @ texts.float().T


def contrastive_loss(logits_per_image: Tensor) -> Tensor:
    """Symmetric InfoNCE over a [B, B] similarity whose diagonal holds the matching pairs.

    Half the cross entropy of finding the text of each image, half of the image of each text
    (ITC; Radford et al. 2021, "Learning Transferable Visual Models", figure 3).
    """
    target = torch.arange(len(logits_per_image), device=logits_per_image.device)
    image_to_text = F.cross_entropy(logits_per_image, target)
    text_to_image = F.cross_entropy(logits_per_image.T, target)
    return (image_to_text + text_to_image) / 2


class HardNegatives(NamedTuple):
    image_of_text: Tensor  # [B] int64: a wrong image for each text
    text_of_image: Tensor  # [B] int64: a wrong text for each image


def hard_negatives(
    logits_per_image: Tensor, generator: torch.Generator | None = None
) -> HardNegatives:
    """One wrong partner per item, drawn with probability softmax(similarity) over the others.

    ALBEF (Li et al. 2021, section 3.2) as VLMo uses it: images are drawn before texts, without
    gradient. Raises InputError for a batch of one, which has no wrong partner, and for NaN or inf.
    """
    size = len(logits_per_image)
    if size < 2:
        raise InputError(
            "image-text matching needs wrong pairs but the batch holds 1 pair; "
            "set a batch size of 2 or more"
        )
    if not logits_per_image.isfinite().all():
        raise InputError(
            "the encoder's similarities are no longer finite: training has diverged; "
            "lower the learning rate"
        )
    own = torch.eye(size, dtype=torch.bool, device=logits_per_image.device)
    # Left out before the softmax, not after: a confident model's other entries underflow to 0.
    others = logits_per_image.detach().float().masked_fill(own, -torch.inf)
    image_of_text = torch.multinomial(others.T.softmax(1), 1, generator=generator)
    text_of_image = torch.multinomial(others.softmax(1), 1, generator=generator)
    return HardNegatives(image_of_text.squeeze(1), text_of_image.squeeze(1))


def mask_whole_words(
    tokens: Tensor,
    continues_word: Tensor,
    maskable: Tensor,
    mask_id: int,
    vocab_size: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Masked tokens and labels, both [B, L], for masked language modelling.

    `continues_word` [B, L] marks pieces that belong to the word of the piece before them,
    `maskable` [B, L] the real pieces that are not special. Each word is chosen with probability
    0.15, and in a text where none was, the word that came nearest; all pieces of a chosen word get
    their id as label (others -100), and of these pieces 80 % become `mask_id`, 10 % a random id,
    10 % stay (Devlin et al. 2019, section 3.1, with whole words).
    """
    shape, device = tokens.shape, tokens.device
    draw = torch.rand(2, *shape, generator=generator, device=device)
    follows_maskable = F.pad(maskable[:, :-1], (1, 0))
    start = maskable & ~(continues_word & follows_maskable)
    word = start.long().cumsum(1)  # [B, L]: 1-based number of the word
    score_of_word = draw.new_full((shape[0], shape[1] + 1), torch.inf)
    starts = torch.where(start, word, 0)
    score_of_word.scatter_(1, starts, draw[0])
    score = score_of_word.gather(1, word).masked_fill(~maskable, torch.inf)  # [B, L]
    threshold = score.amin(1, keepdim=True).clamp(min=0.15)
    chosen = maskable & (score <= threshold)
    labels = torch.where(chosen, tokens, IGNORED_LABEL)
    random_ids = torch.randint(vocab_size, shape, generator=generator, device=device)
    masked = torch.where(chosen & (draw[1] < 0.8), mask_id, tokens)
    masked = torch.where(chosen & (draw[1] >= 0.9), random_ids, masked)
    return masked, labels


def masked_language_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of [..., V] over the labelled positions; 0 where nothing is labelled.

    With several processes: this one's part of the mean over the labelled positions of all.
    """
    total = F.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=IGNORED_LABEL, reduction="sum"
    )
    return share_of_mean(total, (labels != IGNORED_LABEL).sum())
