"""What every registered encoder must hold, checked on its tiny variant.

Adding a family: a line in `FAMILIES` is all it takes to be tested here.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lmm4rec.encoders import encoder_class, load_encoder
from lmm4rec.encoders.base import Encoder

COLOURS = {"red": (200, 30, 30), "green": (30, 160, 40), "blue": (40, 60, 200), "grey": (120,) * 3}
SHAPES = ("lamp", "chair", "bottle", "kite")
TEXTS = [f"a {colour} {shape} for the house" for colour in COLOURS for shape in SHAPES]
AWKWARD_TEXTS = [
    "word " * 10_000,
    "unbroken" * 2_000,
    "",
    "  \n\t ",
    "مرحبا بالعالم שלום",
    "👩‍👩‍👧 🎉",
    "日本語のテキスト",
    "\ud800 lone surrogate \x00",
    "<start_of_text> <end_of_text> [SEP] </s>",
]


def tiny(family: str, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return encoder_class(family, "test").tiny(TEXTS).eval()


def toy_pictures() -> list[Image.Image]:
    """One picture per text: a coloured field, brightest at a place that tells the shape."""
    pictures = []
    for colour in COLOURS.values():
        for place in range(len(SHAPES)):
            pixels = np.full((64, 64, 3), colour, np.uint8)
            pixels[16 * place : 16 * place + 12, 8:56] = 255
            pictures.append(Image.fromarray(pixels))
    return pictures


def jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def toy_batch(encoder: Encoder) -> tuple[Tensor, dict[str, Tensor]]:
    pixels = torch.stack([encoder.image_transform(picture) for picture in toy_pictures()])
    return pixels, encoder.tokenizer(TEXTS)


def worst(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max())


@torch.no_grad()
def embeddings(encoder: Encoder, pixels: Tensor, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {"image": encoder.encode_images(pixels), "text": encoder.encode_texts(tokens)}
    if encoder.fused_dim is not None:
        found["fused"] = encoder.encode_pairs(pixels, tokens)
    return found


def check_shapes_and_lengths(encoder: Encoder) -> None:
    pixels, tokens = toy_batch(encoder)
    widths = {"image": encoder.image_dim, "text": encoder.text_dim, "fused": encoder.fused_dim}
    for name, embedding in embeddings(encoder, pixels, tokens).items():
        assert embedding.shape == (len(TEXTS), widths[name])
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(len(TEXTS)))


def check_matching_vectors(encoder: Encoder) -> None:
    """What retrieval compares: pictures and texts in one space, of length one."""
    pixels, tokens = toy_batch(encoder)
    with torch.no_grad():
        images, texts = encoder.matching_images(pixels), encoder.matching_texts(tokens)
    assert images.shape == texts.shape and len(images) == len(TEXTS)
    for vectors in (images, texts):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(TEXTS)))


def check_save_and_load(encoder: Encoder, folder: Path) -> None:
    folder.mkdir()
    encoder.save(folder)
    again = load_encoder(folder)
    assert type(again) is type(encoder) and not again.training
    assert again.state_dict().keys() == encoder.state_dict().keys()
    pixels, tokens = toy_batch(encoder)
    pixels_again, tokens_again = toy_batch(again)
    assert torch.equal(pixels, pixels_again)
    assert all(torch.equal(tokens[name], tokens_again[name]) for name in tokens)
    before, after = embeddings(encoder, pixels, tokens), embeddings(again, pixels, tokens)
    assert all(torch.equal(before[name], after[name]) for name in before)
    twice = folder.with_name("twice")
    twice.mkdir()
    again.save(twice)
    for file in folder.iterdir():
        if file.is_file():
            assert (twice / file.name).read_bytes() == file.read_bytes()


def check_one_by_one_equals_batched(encoder: Encoder) -> None:
    pixels, _ = toy_batch(encoder)
    texts = [*TEXTS[: len(pixels) - len(AWKWARD_TEXTS)], *AWKWARD_TEXTS]
    whole = embeddings(encoder, pixels, encoder.tokenizer(texts))
    for row, text in enumerate(texts):
        alone = embeddings(encoder, pixels[row : row + 1], encoder.tokenizer([text]))
        for name in whole:
            assert worst(alone[name], whole[name][row : row + 1]) < 1e-5, (name, text[:20])


def check_permuted_inputs_permute_outputs(encoder: Encoder) -> None:
    pixels, tokens = toy_batch(encoder)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(5))
    straight = embeddings(encoder, pixels, tokens)
    mixed = embeddings(encoder, pixels[order], {name: x[order] for name, x in tokens.items()})
    for name in straight:
        assert worst(mixed[name], straight[name][order]) < 1e-5
        assert worst(mixed[name], straight[name]) > 1e-3  # rows do differ


def check_awkward_texts(encoder: Encoder) -> None:
    """Texts of any kind become finite unit vectors; long ones keep their beginning."""
    found = embeddings(encoder, *_pictures_for(encoder, AWKWARD_TEXTS))["text"]
    assert torch.isfinite(found).all()
    long = " ".join(TEXTS * 40)
    starts, ends, other = (encoder.tokenizer([text]) for text in (long, long + " end", "x " + long))
    assert all(torch.equal(starts[name], ends[name]) for name in starts)
    assert any(not torch.equal(starts[name], other[name]) for name in starts)


def _pictures_for(encoder: Encoder, texts: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
    pixels, _ = toy_batch(encoder)
    return pixels[: len(texts)], encoder.tokenizer(texts)


def check_awkward_pictures(encoder: Encoder) -> None:
    """Any RGB picture becomes a tensor of one shape, by both transforms."""
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (3, 400), (400, 3), (7, 5), (333, 47)]
    noisy = [Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)) for shape in shapes]
    grey = Image.fromarray(rng.integers(0, 256, (50, 60), np.uint8)).convert("RGB")
    expected, _ = toy_batch(encoder)
    for transform in (encoder.image_transform, encoder.augmenting_transform):
        tensors = torch.stack([transform(picture) for picture in [*noisy, grey]])
        assert tensors.shape[1:] == expected.shape[1:] and tensors.dtype == torch.float32
        assert torch.isfinite(tensors).all()


def check_preprocessing_is_picklable_and_light(encoder: Encoder) -> None:
    """Data-loading workers carry it: no weights inside, the same outputs outside."""
    parts = (encoder.image_transform, encoder.augmenting_transform, encoder.tokenizer)
    content = pickle.dumps(parts)
    assert len(content) < 8_000_000
    transform, _, tokenizer = pickle.loads(content)
    picture = toy_pictures()[3]
    assert torch.equal(transform(picture), encoder.image_transform(picture))
    for name, values in tokenizer(TEXTS).items():
        assert torch.equal(values, encoder.tokenizer(TEXTS)[name])


def check_loss_falls(encoder: Encoder) -> None:
    """A few steps on sixteen pairs: what the objective starts at is nearly halved."""
    pixels, tokens = toy_batch(encoder)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3, weight_decay=0.0)
    encoder.train()
    losses = []
    torch.manual_seed(1)
    for _ in range(30):
        loss = torch.stack(list(encoder.losses(pixels, tokens).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:2]), losses


def untouched_by_gradients(encoder: Encoder) -> set[str]:
    """Names of trainable parameters that the objective does not reach."""
    encoder.train()
    torch.manual_seed(2)
    encoder.zero_grad(set_to_none=True)
    torch.stack(list(encoder.losses(*toy_batch(encoder)).values())).sum().backward()
    return {
        name
        for name, parameter in encoder.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    }


def check_layers(encoder: Encoder) -> None:
    """Blocks in order, none twice, all of them the encoder's own."""
    own = {id(module) for module in encoder.modules()}
    parameters = [id(p) for layer in encoder.layers() for p in layer.parameters()]
    assert len(encoder.layers()) >= 2
    assert len(parameters) == len(set(parameters))
    assert {id(p) for p in encoder.parameters()} >= set(parameters)
    assert all(
        id(module) in own
        for layer in encoder.layers()
        for module in layer.modules()
        if list(module.parameters(recurse=False))
    )
