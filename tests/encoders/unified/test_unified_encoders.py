"""What BEiT-3 and VLMo promise alike: the contract, tiny variants, folders, pictures."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lmm4rec.encoders.pictures import RandomSquare, SquashToSquare
from lmm4rec.encoders.unified.beit3 import Beit3
from lmm4rec.encoders.unified.vlmo import Vlmo
from lmm4rec.errors import InputError
from tests.encoders.unified_encoders import AWKWARD, TEXTS, pictures, tiny_beit3, tiny_vlmo, worst

FAMILIES = {
    "beit3": tiny_beit3,
    "vlmo": tiny_vlmo,
    "vlmo-relative": lambda seed=0: tiny_vlmo(seed, relative=True),
}


@pytest.fixture(params=FAMILIES)
def encoder(request):
    return FAMILIES[request.param]().eval()


@torch.no_grad()
def test_embeddings_have_the_promised_shape_and_length(encoder):
    tokens = encoder.tokenizer(TEXTS[:3])
    embeddings = {
        encoder.image_dim: encoder.encode_images(pictures(3)),
        encoder.text_dim: encoder.encode_texts(tokens),
        encoder.fused_dim: encoder.encode_pairs(pictures(3), tokens),
    }
    for dim, embedding in embeddings.items():
        assert embedding.shape == (3, dim)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))


@torch.no_grad()
def test_one_by_one_equals_batched(encoder):
    texts = [*TEXTS[:2], "a", "a red lamp beside a green chair", *AWKWARD]
    pixels, tokens = pictures(len(texts)), encoder.tokenizer(texts)
    images, embedded = encoder.encode_images(pixels), encoder.encode_texts(tokens)
    pairs = encoder.encode_pairs(pixels, tokens)
    for row, text in enumerate(texts):
        alone, own = encoder.tokenizer([text]), slice(row, row + 1)
        assert worst(encoder.encode_images(pixels[own]), images[own]) < 1e-5
        assert worst(encoder.encode_texts(alone), embedded[own]) < 1e-5
        assert worst(encoder.encode_pairs(pixels[own], alone), pairs[own]) < 1e-5


@torch.no_grad()
def test_padding_changes_nothing(encoder):
    """Leaving out columns of padding, as the encoders do, equals computing them."""
    ids, *mask = encoder.tokenizer(TEXTS[:4]).values()
    image, text = encoder_readouts(encoder, pictures(4), ids, *mask)
    assert ids.shape[1] == 16 and not (ids[:, -1:] != ids[0, -1]).any()
    fused = encoder.encode_pairs(pictures(4), encoder.tokenizer(TEXTS[:4]))
    expected = torch.cat([nn.functional.normalize(x[:, 0], dim=1) for x in (image, text)], dim=1)
    assert worst(fused, expected / 2**0.5) < 1e-5


def encoder_readouts(encoder, pixels, ids, mask):
    if isinstance(encoder, Vlmo):
        return encoder.fused_tokens(encoder.embed_image(pixels), encoder.embed_text(ids), mask)
    return encoder.fused_tokens(pixels, ids, mask)


@torch.no_grad()
def test_readouts_are_the_first_of_all_tokens(encoder):
    """The last block is computed for them alone; nothing they hold depends on that."""
    pixels, tokens = pictures(4), encoder.tokenizer(TEXTS[:4])
    images, texts = encoder.encode_images(pixels), encoder.encode_texts(tokens)
    ids, mask = tokens.values()
    if isinstance(encoder, Vlmo):
        image = encoder.image_tokens(encoder.embed_image(pixels))[1][:, 0]
        text = encoder.text_tokens(encoder.embed_text(ids), mask)[1][:, 0]
        expected = encoder.itc_image_proj(image), encoder.itc_text_proj(text)
    else:
        image, text = encoder.image_tokens(pixels)[:, 0], encoder.text_tokens(ids, mask)[:, 0]
        heads = encoder.vision_head(image), encoder.language_head(text)
        expected = tuple(nn.functional.normalize(x, dim=1) for x in heads)
    assert worst(images, expected[0]) < 1e-5 and worst(texts, expected[1]) < 1e-5


@pytest.mark.parametrize("encoder", ["vlmo", "vlmo-relative"], indirect=True)
@torch.no_grad()
def test_word_logits_are_made_for_the_wanted_tokens_alone(encoder):
    ids, mask = encoder.tokenizer(TEXTS[:4]).values()
    image, text = encoder.embed_image(pictures(4)), encoder.embed_text(ids)
    every = encoder.language_logits(image, text, mask, torch.ones_like(mask, dtype=torch.bool))
    wanted = torch.rand(mask.shape, generator=torch.Generator().manual_seed(3)) < 0.2
    some = encoder.language_logits(image, text, mask, wanted)
    assert worst(some, every.view(*mask.shape, -1)[wanted]) < 1e-5


@torch.no_grad()
def test_a_fused_vector_depends_on_both_partners(encoder):
    tokens = encoder.tokenizer(TEXTS[:2])
    pairs = encoder.encode_pairs(pictures(1).expand(2, -1, -1, -1), tokens)
    image_half = pairs[:, : encoder.image_dim]
    assert worst(image_half[0], image_half[1]) > 1e-6


def test_the_losses_fall_and_repeat_under_a_seed(encoder):
    """Eight pairs are learned by heart; the same seed gives the same terms and gradients."""
    pixels, tokens = pictures(8), encoder.tokenizer(TEXTS[::8])
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
    encoder.train()
    torch.manual_seed(5)
    first = encoder.losses(pixels, tokens)
    torch.manual_seed(5)
    assert {k: v.item() for k, v in encoder.losses(pixels, tokens).items()} == {
        k: v.item() for k, v in first.items()
    }
    for _ in range(60):
        optimizer.zero_grad()
        sum(encoder.losses(pixels, tokens).values()).backward()
        optimizer.step()
    torch.manual_seed(5)
    assert encoder.losses(pixels, tokens)["itc"] < 0.5 * first["itc"]


def test_every_weight_that_matters_learns(encoder):
    """Only documented leftovers of pretraining get no gradient from the objective."""
    terms = encoder.losses(pictures(8), encoder.tokenizer(TEXTS[::8]))
    sum(terms.values()).backward()
    idle = {name for name, weight in encoder.named_parameters() if weight.grad is None}
    if isinstance(encoder, Beit3):
        assert idle == {"beit3.vision_embed.mask_token"}
    elif encoder.relative_position_bias_table is None:
        assert idle == set()
    else:
        assert idle == {"text_embeddings.position_embeddings.weight"}


def test_vlmo_guesses_whole_words_and_no_special_token(monkeypatch):
    encoder, seen = tiny_vlmo(), []
    real = encoder.masking_loss
    monkeypatch.setattr(encoder, "masking_loss", lambda *given: seen.append(given) or real(*given))
    tokens = encoder.tokenizer(["a lampred chair"] * 64)
    encoder.losses(pictures(64), tokens)
    _, _, labels, _ = seen[0]
    guessed = (labels != -100)[:, 1:]
    pieces = encoder.tokenizer.continuations[tokens["tokens"][:, 1 : labels.shape[1]]]
    assert pieces[0].tolist() == [False, False, True, True, True, False, False]
    assert guessed.any(1).all() and not guessed[:, -1].any()
    assert (guessed[:, 1:5] == guessed[:, 1:2]).all()


def test_adapters_reach_every_linear_map(encoder):
    """LoRA replaces modules, so the objective must call each one and not read its weight."""
    called = set()
    linear = {name: m for name, m in encoder.named_modules() if isinstance(m, nn.Linear)}
    for name, module in linear.items():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    encoder.losses(pictures(2), encoder.tokenizer(TEXTS[:2]))
    assert called == set(linear)


def test_layers_are_the_blocks_from_input_to_output(encoder):
    names = {module: name for name, module in encoder.named_modules()}
    assert [names[layer].rpartition(".")[2] for layer in encoder.layers()] == ["0", "1", "2"]


def test_a_saved_encoder_comes_back_whole(encoder, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    encoder.save(first)
    loaded = type(encoder).load(first)
    loaded.save(second)
    assert sorted(path.name for path in first.iterdir()) == sorted(
        path.name for path in second.iterdir()
    )
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    assert not loaded.training and loaded.device.type == "cpu"
    assert {x.device.type for x in [*loaded.parameters(), *loaded.buffers()]} == {"cpu"}
    assert [p.requires_grad for p in loaded.parameters()] == [
        p.requires_grad for p in encoder.parameters()
    ]
    tokens = loaded.tokenizer(TEXTS[:3])
    with torch.no_grad():
        assert torch.equal(loaded.encode_images(pictures(3)), encoder.encode_images(pictures(3)))
        assert torch.equal(loaded.encode_texts(tokens), encoder.encode_texts(tokens))
        pairs = [side.encode_pairs(pictures(3), tokens) for side in (loaded, encoder)]
        assert torch.equal(*pairs)


def test_a_folder_of_another_family_or_without_a_file_is_refused(encoder, tmp_path):
    encoder.save(tmp_path)
    other = Vlmo if isinstance(encoder, Beit3) else Beit3
    with pytest.raises(InputError, match=f"family is '{encoder.family}', not '{other.family}'"):
        other.load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: cannot be read"):
        type(encoder).load(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"depth": 3}))
    with pytest.raises(InputError, match=r"config\.depth is not a parameter"):
        type(encoder).load(tmp_path)


@pytest.mark.parametrize("image_pixels", [4, 50])
def test_a_picture_that_is_no_multiple_of_a_patch_is_refused(encoder, image_pixels):
    sizes = encoder.config.model_dump() | {"image_pixels": image_pixels}
    with pytest.raises(InputError, match=rf"image_pixels {image_pixels} is not a multiple"):
        type(encoder.config)(**sizes)


def test_a_tokenizer_of_another_size_is_refused(encoder):
    config = encoder.config.model_copy(update={"vocab_size": 7})
    with pytest.raises(InputError, match=r"has \d+ entries but these weights .* with 7"):
        type(encoder)(config, encoder.tokenizer)


@torch.no_grad()
def test_half_precision_stays_close(encoder):
    tokens = encoder.tokenizer(TEXTS[:4])
    exact = encoder.encode_images(pictures(4)), encoder.encode_texts(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = encoder.encode_images(pictures(4)), encoder.encode_texts(tokens)
        terms = encoder.losses(pictures(4), tokens)
        encoder.encode_pairs(pictures(4), tokens)
    for one, other in zip(exact, half, strict=True):
        assert other.dtype == torch.float32
        assert torch.cosine_similarity(one, other).min() > 0.999
    assert {term.dtype for term in terms.values()} == {torch.float32}


@torch.no_grad()
def test_tiny_variants_are_tiny(encoder):
    weights = sum(weight.numel() for weight in encoder.parameters())
    assert weights < 1e6


# --- pictures -------------------------------------------------------------------------------------


def test_workers_can_carry_transforms_and_tokenizer(encoder):
    picture = Image.new("RGB", (60, 40), (255, 0, 128))
    for transform in (encoder.image_transform, encoder.augmenting_transform):
        copy = pickle.loads(pickle.dumps(transform))
        assert copy(picture).shape == (3, 48, 48)
        assert len(pickle.dumps(transform)) < 5000
    copied = pickle.loads(pickle.dumps(encoder.tokenizer))(AWKWARD)
    for name, tensor in encoder.tokenizer(AWKWARD).items():
        assert torch.equal(copied[name], tensor)


def test_pictures_are_squashed_bicubically_and_scaled_to_one():
    noise = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    found = SquashToSquare(24)(picture)
    resized = np.asarray(picture.resize((24, 24), Image.Resampling.BICUBIC), dtype=np.float32)
    expected = torch.from_numpy((resized / 255 - 0.5) / 0.5).permute(2, 0, 1)
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32 and found.is_contiguous()


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (3, 500)])
def test_any_mode_and_size_becomes_a_square(mode, size):
    for transform in (SquashToSquare(16), RandomSquare(16)):
        pixels = transform(Image.new(mode, size))
        assert pixels.shape == (3, 16, 16) and pixels.abs().max() <= 1


def test_augmentation_varies_with_the_global_seed_only():
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    picture, vary = Image.fromarray(noise), RandomSquare(16)
    torch.manual_seed(3)
    first, second = vary(picture), vary(picture)
    torch.manual_seed(3)
    assert torch.equal(vary(picture), first) and not torch.equal(first, second)


def test_no_path_of_this_machine_in_saved_files(encoder, tmp_path: Path):
    encoder.save(tmp_path)
    for path in tmp_path.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
