"""Stage weights and the kinds of `encoders.<name>.weights`."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lmm4rec.encoders import load_encoder
from lmm4rec.encoders.files.received_files import FileSource, ReceivedFiles
from lmm4rec.encoders.files.weights import TinyWeights, Workshop, read_weights
from lmm4rec.errors import InputError
from lmm4rec.folders import fingerprint
from tests.local_server import local_server

TINY = """
encoders:
  small:
    weights: {kind: pretrain-tiny, revision: 1, family: clip, pairs: 96, pairs_seed: 3, seed: 1,
      epochs: 3, batch_size: 16, learning_rate: 2e-3, weight_decay: 0.1, warmup_share: 0.1,
      layer_decay: 1.0, gradient_norm: 1.0, validation_share: 0.1, augment: false,
      precision: float32, tune: {kind: all}}
"""
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220)}


def captioned_colours(count: int, seed: int) -> Iterator[tuple[bytes, str]]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        name = str(rng.choice(list(COLOURS)))
        stream = io.BytesIO()
        noise = rng.integers(-20, 20, (48, 48, 3)) + np.array(COLOURS[name])
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(stream, "JPEG")
        yield stream.getvalue(), f"a {name} thing"


def other_colour_captions(count: int, seed: int) -> Iterator[str]:
    for _, caption in captioned_colours(count, seed):
        yield caption.replace("a ", "one ").replace("thing", "object")


def params(folder: Path, text: str = TINY) -> Path:
    (folder / "params.yaml").write_text(text)
    return folder / "params.yaml"


def workshop(folder: Path) -> Workshop:
    folder.mkdir(exist_ok=True)
    received = ReceivedFiles(folder, folder / "sums")
    corpus = (captioned_colours, other_colour_captions)
    return Workshop(folder, torch.device("cpu"), 0, *corpus, received)


def test_a_tiny_encoder_learns_and_is_made_twice_alike(tmp_path: Path) -> None:
    weights = read_weights(params(tmp_path), "small")
    folders = []
    for name in ("one", "two"):
        encoder = weights.make(workshop(tmp_path / f"scratch-{name}"))
        folder = tmp_path / name
        folder.mkdir()
        encoder.save(folder)
        folders.append(folder)
    assert fingerprint(folders[0]) == fingerprint(folders[1])
    encoder = load_encoder(folders[0])
    names = list(COLOURS)
    pixels = torch.stack(
        [encoder.image_transform(Image.new("RGB", (64, 64), COLOURS[name])) for name in names]
    )
    texts = encoder.tokenizer([f"a {name} thing" for name in names])
    with torch.no_grad():
        similarity = encoder.encode_images(pixels) @ encoder.encode_texts(texts).T
    assert similarity.argmax(1).tolist() == [0, 1, 2]


def test_a_pair_is_trained_apart_and_made_twice_alike(tmp_path: Path) -> None:
    """Neither network says a word of the other, and both tell the colours."""
    unimodal = TINY.replace("family: clip", "family: unimodal")
    weights = read_weights(params(tmp_path, unimodal), "small")
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        weights.make(workshop(tmp_path / f"scratch-{folder.name}")).save(folder)
    assert fingerprint(folders[0]) == fingerprint(folders[1])
    encoder = load_encoder(folders[0])
    names = list(COLOURS)
    pictures = [Image.new("RGB", (64, 64), COLOURS[name]) for name in names]
    similar = [Image.new("RGB", (48, 48), (r + 9, g - 9, b + 9)) for r, g, b in COLOURS.values()]
    with torch.no_grad():
        images, likes = (
            encoder.encode_images(torch.stack([encoder.image_transform(p) for p in some]))
            for some in (pictures, similar)
        )
        texts = encoder.encode_texts(encoder.tokenizer([f"a {name} thing" for name in names]))
        others = encoder.encode_texts(encoder.tokenizer([f"one {name} object" for name in names]))
    assert (images @ likes.T).argmax(1).tolist() == [0, 1, 2]
    assert (texts @ others.T).argmax(1).tolist() == [0, 1, 2]


def test_other_pairs_give_other_weights(tmp_path: Path) -> None:
    weights = read_weights(params(tmp_path), "small")
    assert isinstance(weights, TinyWeights)
    brief = weights.model_copy(update={"epochs": 1})
    shop = workshop(tmp_path / "a")
    one = brief.make(shop)
    other_scratch = dataclasses.replace(shop, scratch=tmp_path)
    two = brief.model_copy(update={"pairs_seed": 4}).make(other_scratch)
    assert not torch.equal(one.model.visual.proj, two.model.visual.proj)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pretrain-tiny", "pretrain", r"weights\.kind is 'pretrain'; did you mean 'pretrain-tiny'"),
        ("{kind: all}", "{kind: some}", r"weights\.tune"),
        ("epochs: 3", "epohcs: 3", r"weights\.epohcs is not a parameter; did you mean 'epochs'"),
        ("epochs: 3", "epochs: 0", r"weights\.epochs"),
        ("augment: false,", "", r"weights\.augment is missing"),
        ("precision: float32", "precision: float16", r"weights\.precision"),
    ],
)
def test_params_are_checked(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_weights(params(tmp_path, TINY.replace(old, new)), "small")


def test_unknown_encoder_and_family(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoders\.smal is missing; did you mean 'small'"):
        read_weights(params(tmp_path), "smal")
    with pytest.raises(InputError, match=r"weights\.family is 'clap'.*did you mean 'clip'"):
        read_weights(params(tmp_path, TINY.replace("family: clip", "family: clap")), "small")


def test_the_real_sections_of_params_yaml_are_valid() -> None:
    """Every encoder of the project's own params.yaml."""
    from lmm4rec.encoders.tuning.tuning import TuningConfig
    from lmm4rec.features.extraction import ExtractConfig
    from lmm4rec.params import read_params, read_section

    path = Path(__file__).parents[3] / "params.yaml"
    names = list(read_params(path)["encoders"])
    assert "clip-tiny" in names
    for name in names:
        read_weights(path, name)
        read_section(path, f"encoders.{name}.extract", ExtractConfig)
        read_section(path, f"encoders.{name}.finetune", TuningConfig)


def test_files_whose_addresses_end_alike_are_two(tmp_path: Path) -> None:
    with local_server() as server:
        server.files = {"/a/file": b"weights", "/b/file": b"tokenizer"}
        received = ReceivedFiles(tmp_path, tmp_path / "sums")
        found = [
            received.receive(FileSource(url=server.address(path), path=None, sha256=None))
            for path in server.files
        ]
    assert [path.read_bytes() for path in found] == [b"weights", b"tokenizer"]
    assert [entry["file"] for entry in received.files] == ["file", "file"]
