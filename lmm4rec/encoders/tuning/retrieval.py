"""Retrieval recall: does an encoder find a picture's text among others, and a text's picture?"""

from __future__ import annotations

from torch import Tensor

CUTOFFS = (1, 5, 10)


def retrieval_recall(images: Tensor, texts: Tensor) -> dict[str, float]:
    """Share of the N rows whose own partner is among the k most similar, both ways, k in CUTOFFS.

    `images` and `texts` [N, D] match row by row. Partners that tie (the same text twice, or an
    encoder that says the same of everything) are taken in random order: the expectation is exact.
    """
    scores = images.float() @ texts.float().T  # [N, N]
    recalls = {}
    for name, rows in (("image_to_text", scores), ("text_to_image", scores.T)):
        own = rows.diagonal()[:, None]  # [N, 1]
        better = (rows > own).sum(1).double()
        tied = (rows == own).sum(1).double()  # itself included
        for k in CUTOFFS:
            recalls[f"{name}_recall@{k}"] = float(((k - better) / tied).clamp(0, 1).mean())
    return recalls
