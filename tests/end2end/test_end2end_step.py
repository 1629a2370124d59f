"""One end-to-end step: whose gradient, from which rows, in which precision."""

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
from lmm4rec.end2end.config import modalities_to_encode
from lmm4rec.end2end.live import LiveEncoder
from lmm4rec.end2end.step import JointLoss
from lmm4rec.end2end.training import train_end_to_end
from lmm4rec.errors import InputError
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

TRIPLES = torch.tensor([[0, 1, 2, 5, 9], [2, 3, 4, 7, 9], [5, 2, 10, 8, 12]])

ITEMS = np.array([2, 3, 4, 5, 7, 8, 9, 10, 12])  # 3 has no picture, 5 no text, 7 neither


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
