"""The gradient of one step: triples and the items they name -> encoder and recommender.

Legend: B triples, R distinct items of the step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lmm4rec.end2end.live import Live, LiveEncoder, MicroBatch
from lmm4rec.recommenders.shared.base import Losses, Recommender

ALIGNMENT = "alignment"  # the name of the encoder's own term among the losses

Triple = tuple[Tensor, Tensor, Tensor]  # users, positives and negatives, int64 [B] each


class JointLoss:
    """The recommender's terms, and alignment_weight x the encoder's loss on pictures and texts."""

    def __init__(self, encoder: LiveEncoder, model: Recommender, alignment_weight: float) -> None:
        self._encoder, self._model, self._weight = encoder, model, alignment_weight

    def backward(self, triples: Triple, parts: list[MicroBatch] | None) -> Losses:
        """Add the step's gradient to both; `parts` hold the distinct items [R] of the triples.

        None: the recommender alone, on the bank. Returns the terms, which add up to the loss.
        Of several processes each gives its part of the items, and computes the whole loss.
        """
        if parts is None:
            terms = self._model.losses(*triples)
            _sum(terms).backward()  # type: ignore[no-untyped-call]
        else:
            own = self._encoder.encode(parts)
            live = own.of_all()
            with self._model.content.live(live.rows, live.embeddings):
                terms = self._model.losses(*triples)
            if self._weight > 0:
                terms = {**terms, ALIGNMENT: self._weight * self._alignment(live)}
            _sum(terms).backward()  # type: ignore[no-untyped-call]
            self._encoder.send_back(parts, own)
        return {name: term.detach() for name, term in terms.items()}

    def _alignment(self, live: Live) -> Tensor:
        images, texts = live.pairs()
        if len(images) < 2:  # a pair alone has nothing to be told from
            return images.new_zeros(())
        return self._encoder.encoder.alignment_loss(images, texts)


def _sum(terms: Losses) -> Tensor:
    return torch.stack(list(terms.values())).sum()
