"""What is told of an encoder while a recommender trains it: how far it went, and what it forgot."""

from __future__ import annotations

import numpy as np
import torch

from lmm4rec.encoders.base import Encoder
from lmm4rec.features.features import Features

_COMPARED_PAIRS = 512  # the same ones in every epoch


class Observation:
    """Begins where the encoder stands now. Memory: one more copy of the trained parameters."""

    def __init__(self, encoder: Encoder, seed: int) -> None:
        self._encoder, self._seed = encoder, seed
        self._start = {
            name: parameter.detach().clone()
            for name, parameter in encoder.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def drift(self) -> float:
        """|w - w_0| / |w_0| over trained parameters; low-rank changes count by their factors."""
        moved = length = 0.0
        for name, parameter in self._encoder.named_parameters():
            if name in self._start:
                start = self._start[name]
                moved += float((parameter - start).double().square().sum())
                length += float(start.double().square().sum())
        return float((moved / length) ** 0.5)

    @torch.no_grad()
    def alignment_loss(self, bank: Features) -> float | None:
        """The encoder's own, on some items of the bank that have a picture and a text.

        log(512) = 6.2 is what an encoder of CLIP's kind gets whose pictures say nothing of their
        texts. None where the bank does not hold both.
        """
        present = bank.present
        if not {"image", "text"} <= present.keys():
            return None
        complete = np.flatnonzero(present["image"] & present["text"])
        if len(complete) < 2:
            return None
        chosen = np.random.default_rng(self._seed).permutation(complete)[:_COMPARED_PAIRS]
        images, texts = (
            torch.from_numpy(bank.matrices[name][chosen]).to(self._encoder.device)
            for name in ("image", "text")
        )
        return float(self._encoder.alignment_loss(images, texts))
