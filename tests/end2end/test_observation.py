"""From how many pairs on an encoder's own loss is asked for, and how far the encoder went."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lmm4rec.end2end.live import LiveEncoder
from lmm4rec.end2end.observation import Observation
from lmm4rec.end2end.step import ALIGNMENT, JointLoss
from lmm4rec.features.features import Features
from tests.end2end.toy_end2end import CPU, ToyEncoder, protocol, task, toy_encoder

WEIGHT = 0.5


class Sigmoid(ToyEncoder):
    """Its loss of one pair is not 0, as that of SigLIP is not."""

    def alignment_loss(self, images: Tensor, texts: Tensor) -> Tensor:
        return -F.logsigmoid(images @ texts.T).sum()


@pytest.mark.parametrize(("items", "n_pairs"), [([2, 3], 1), ([2, 4], 2), ([2, 3, 4, 8], 3)])
def test_a_step_aligns_from_two_pairs_on(items: list[int], n_pairs: int) -> None:
    encoder = Sigmoid()
    own = task(encoder, "vbpr", protocol(alignment_weight=WEIGHT))
    live = LiveEncoder(encoder, own.modalities, "float32", 100, CPU)
    bank = live.all(own.items, own.view.item_ids)
    model = own.build(bank)
    model.content.refresh(bank)
    [parts] = live.served(own.items, [np.array(items)])
    images, texts = (vectors.detach() for vectors in live.encode(parts).pairs())
    assert len(images) == n_pairs
    triple = tuple(torch.tensor([[0, 1], [2, 2], [4, 4]]))
    terms = JointLoss(live, model, WEIGHT).backward(triple, parts)  # type: ignore[arg-type]
    expected = 0.0 if n_pairs == 1 else WEIGHT * float(encoder.alignment_loss(images, texts))
    assert float(terms[ALIGNMENT]) == pytest.approx(expected)


def bank(images: list[bool], texts: list[bool]) -> Features:
    vectors = np.random.default_rng(0).standard_normal((2, len(images), 5))
    present = {"image": np.array(images), "text": np.array(texts)}
    ids = pa.array([str(item) for item in range(len(images))])
    return Features(ids, dict(zip(("image", "text"), vectors, strict=True)), present)


def test_the_banks_alignment_is_told_from_two_items_on_that_have_both() -> None:
    observation = Observation(Sigmoid(), seed=1)
    one = bank([True, True, False], [True, False, True])
    assert observation.alignment_loss(one) is None
    two = bank([True, True, True, False], [True, False, True, True])
    images, texts = (torch.from_numpy(two.matrices[name][[0, 2]]) for name in ("image", "text"))
    expected = float(Sigmoid().alignment_loss(images, texts))
    assert observation.alignment_loss(two) == pytest.approx(expected)
    alone = Features(two.item_ids, {"text": two.matrices["text"]}, {"text": two.present["text"]})
    assert observation.alignment_loss(alone) is None


def test_the_banks_alignment_is_of_512_items_the_same_in_every_epoch() -> None:
    class Counting(Sigmoid):
        def alignment_loss(self, images: Tensor, texts: Tensor) -> Tensor:
            return images[:, 0].sum() * 0 + len(images)

    whole = [True] * 600
    assert Observation(Counting(), seed=1).alignment_loss(bank(whole, whole)) == 512
    first = [Observation(toy_encoder(), 1).alignment_loss(bank(whole, whole)) for _ in range(2)]
    other = Observation(toy_encoder(), 2).alignment_loss(bank(whole, whole))
    assert first[0] == first[1] != other


def test_drift_is_the_length_of_the_way_over_that_of_the_first_weights() -> None:
    encoder = toy_encoder()
    frozen = encoder.towers[1].weight
    frozen.requires_grad_(False)
    observation = Observation(encoder, seed=1)
    trained = [p for p in encoder.parameters() if p.requires_grad]
    start = torch.cat([p.detach().flatten() for p in trained])
    assert observation.drift() == 0.0
    with torch.no_grad():
        for parameter in trained:
            parameter.mul_(1.5).add_(0.25)
        frozen.add_(100.0)
    now = torch.cat([p.detach().flatten() for p in trained])
    expected = float((now - start).norm() / start.norm())
    assert observation.drift() == pytest.approx(expected, rel=1e-12)
