"""Contrastive loss, hard negatives and masking, by hand."""

import math

import pytest
import torch

from lmm4rec.encoders.objectives import (
    contrastive_loss,
    hard_negatives,
    mask_whole_words,
    masked_language_loss,
    similarity,
)
from lmm4rec.errors import InputError


def test_contrastive_loss_by_hand():
    """[[2, 0], [1, 1]]: the rows cost ln(1 + e^-2) and ln 2, the columns ln(1 + e^-1) each."""
    logits = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    rows = math.log(1 + math.exp(-2)) + math.log(2)
    columns = math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-1))
    assert contrastive_loss(logits).item() == pytest.approx((rows / 2 + columns / 2) / 2)
    assert contrastive_loss(torch.zeros(5, 5)).item() == pytest.approx(math.log(5))


def test_similarity_is_scaled_and_stays_in_float32():
    image, text = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    scaled = similarity(image, text, torch.tensor(math.log(100)))
    torch.testing.assert_close(scaled, torch.tensor([[60.0, 0.0]]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = similarity(image.bfloat16(), text, torch.tensor(math.log(100)))
    assert half.dtype == torch.float32


def test_negatives_are_drawn_by_their_similarity_and_never_the_own_partner():
    logits = torch.tensor([[9.0, 0.0, math.log(3)], [2.0, 9.0, 0.0], [0.0, 2.0, 9.0]])
    generator = torch.Generator().manual_seed(0)
    draws = [hard_negatives(logits, generator) for _ in range(4000)]
    texts = torch.stack([draw.text_of_image for draw in draws])
    images = torch.stack([draw.image_of_text for draw in draws])
    own = torch.arange(3)
    assert not (texts == own).any() and not (images == own).any()
    assert (texts[:, 0] == 2).float().mean().item() == pytest.approx(0.75, abs=0.03)
    likely = math.exp(2) / (1 + math.exp(2))
    assert (images[:, 0] == 1).float().mean().item() == pytest.approx(likely, abs=0.03)


def test_negatives_repeat_with_the_generator():
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    first, second = (hard_negatives(logits, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first.image_of_text, second.image_of_text)
    assert torch.equal(first.text_of_image, second.text_of_image)


def test_negatives_of_a_very_sure_model_can_still_be_drawn():
    draw = hard_negatives(torch.eye(4) * 1e4)
    assert not (draw.image_of_text == torch.arange(4)).any()


def test_negatives_pass_no_gradient():
    logits = torch.randn(3, 3, requires_grad=True)
    assert not any(index.requires_grad for index in hard_negatives(logits))


def test_negatives_of_one_pair_or_of_a_diverged_model_are_refused():
    with pytest.raises(InputError, match="batch holds 1 pair; set a batch size of 2 or more"):
        hard_negatives(torch.zeros(1, 1))
    with pytest.raises(InputError, match="training has diverged; lower the learning rate"):
        hard_negatives(torch.full((2, 2), math.nan))


def masked(tokens, continues, maskable, seed=0, vocab_size=1000):
    generator = torch.Generator().manual_seed(seed)
    return mask_whole_words(tokens, continues, maskable, 999, vocab_size, generator)


def test_masking_rates():
    """15 % of words are chosen; of their pieces 80 % masked, 10 % random, 10 % kept."""
    tokens = torch.randint(10, 900, (400, 200), generator=torch.Generator().manual_seed(3))
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    found, labels = masked(tokens, ~everywhere, everywhere)
    chosen = labels != -100
    assert torch.equal(labels[chosen], tokens[chosen])
    assert torch.equal(found[~chosen], tokens[~chosen])
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.005)
    outcome = found[chosen]
    assert (outcome == 999).float().mean().item() == pytest.approx(0.8, abs=0.01)
    assert (outcome == tokens[chosen]).float().mean().item() == pytest.approx(0.1, abs=0.01)
    replaced = outcome[(outcome != 999) & (outcome != tokens[chosen])]
    assert replaced.min() < 50 and replaced.max() > 950


def test_words_are_masked_whole_and_special_tokens_never():
    continues = torch.tensor([[0, 0, 1, 1, 0, 0, 1, 0, 0, 1]] * 500).bool()
    maskable = torch.tensor([[0, 1, 1, 1, 1, 1, 1, 1, 0, 0]] * 500).bool()
    tokens = torch.arange(10).expand(500, -1)
    _, labels = masked(tokens, continues, maskable)
    chosen = labels != -100
    assert not chosen[:, [0, 8, 9]].any()
    words = [[1, 2, 3], [4], [5, 6], [7]]
    for word in words:
        assert (chosen[:, word] == chosen[:, word[:1]]).all()
    assert chosen.any(1).all(), "a text with words always has one to guess"
    rates = torch.stack([chosen[:, word[0]].float().mean() for word in words])
    assert (rates > 0.2).all() and (rates < 0.4).all()


def test_a_word_whose_beginning_is_cut_off_is_still_a_word():
    continues, maskable = torch.tensor([[0, 1, 1, 0]]).bool(), torch.tensor([[0, 1, 1, 0]]).bool()
    _, labels = masked(torch.tensor([[5, 6, 7, 8]]), continues, maskable)
    assert labels.tolist() == [[-100, 6, 7, -100]]
    parted = torch.tensor([[0, 0, 0, 1]] * 100).bool(), torch.tensor([[0, 1, 0, 1]] * 100).bool()
    _, labels = masked(torch.tensor([[5, 6, 7, 8]] * 100), *parted)
    assert ((labels[:, 1] == -100) != (labels[:, 3] == -100)).any()


def test_texts_without_words_cost_nothing():
    tokens = torch.tensor([[2, 3, 0]])
    nothing = torch.zeros_like(tokens, dtype=torch.bool)
    found, labels = masked(tokens, nothing, nothing)
    assert torch.equal(found, tokens) and (labels == -100).all()
    assert masked_language_loss(torch.randn(1, 3, 7), labels).item() == 0


def test_masked_language_loss_is_the_mean_over_labels():
    logits = torch.tensor([[[0.0, math.log(3)], [5.0, 5.0], [1.0, 1.0]]])
    labels = torch.tensor([[1, -100, 0]])
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert masked_language_loss(logits, labels).item() == pytest.approx(expected)
