"""Golden parity: does a re-built BEiT-3 or VLMo give the outputs of the official code?

`python -m tests.parity FILE.safetensors ...` builds the model from each file's own metadata, prints
the largest difference per tensor and exits 1 past tolerance. The format of the files is described
in tests/golden/README.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from lmm4rec.encoders.files.checkpoints import load_exactly
from lmm4rec.encoders.objectives import contrastive_loss, similarity
from lmm4rec.encoders.unified import vlmo_checkpoints
from lmm4rec.encoders.unified.beit3 import Beit3
from lmm4rec.encoders.unified.beit3_network import Beit3Config, Beit3Network, join
from lmm4rec.encoders.unified.positions import resize_grid
from lmm4rec.encoders.unified.relative_positions import joint_index
from lmm4rec.encoders.unified.vlmo import Vlmo
from lmm4rec.encoders.unified.vlmo_blocks import VlmoConfig
from lmm4rec.encoders.unified.wordpiece_tokens import SPECIAL, WordPieceTokenizer

TOKEN_TOLERANCE, EMBEDDING_TOLERANCE, LEAST_COSINE = 1e-4, 1e-5, 0.99999
COMPARED = ("out.", "dbg.", "aux.")


@dataclass(frozen=True)
class Golden:
    """One file: what the official model was, what it was given, what it answered."""

    encoder: str
    config: dict[str, float]
    tensors: dict[str, Tensor]

    @property
    def state(self) -> dict[str, Tensor]:
        return {
            name.removeprefix("state."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith("state.")
        }

    def given(self, name: str) -> Tensor:
        return self.tensors[f"in.{name}"]


@dataclass(frozen=True)
class Difference:
    """How far one tensor is from the official one; `within` the tolerance of its kind or not."""

    name: str
    largest: float
    tolerance: float
    least_cosine: float

    @property
    def within(self) -> bool:
        return self.largest <= self.tolerance and self.least_cosine > LEAST_COSINE


def read(path: Path) -> Golden:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Golden(metadata["encoder"], json.loads(metadata["config"]), tensors)


def build(golden: Golden) -> Beit3Network | Vlmo:
    """The model that the file's metadata describes, with the file's weights, in eval mode."""
    return BUILDERS[golden.encoder](golden).eval()


def build_beit3(golden: Golden) -> Beit3Network:
    sizes = golden.config
    config = Beit3Config(
        image_pixels=sizes["img_size"],
        patch_pixels=sizes["patch_size"],
        vocab_size=sizes["vocab_size"],
        unused_vocab_rows=0,
        max_text_tokens=golden.given("tokens").shape[1],
        text_positions=sizes["max_text_positions"],
        width=sizes["embed_dim"],
        heads=sizes["num_heads"],
        ffn_width=sizes["ffn_dim"],
        layers=sizes["num_layers"],
        layer_norm_eps=sizes["layernorm_eps"],
    )
    network = Beit3Network(config)
    load_exactly(network, Beit3.adapt(golden.state, config, "golden"), "golden")
    return network


def build_vlmo(golden: Golden) -> Vlmo:
    sizes = golden.config
    config = VlmoConfig(
        image_pixels=sizes["img_size"],
        patch_pixels=sizes["patch_size"],
        vocab_size=sizes["vocab_size"],
        max_text_tokens=sizes["max_text_len"],
        width=sizes["embed_dim"],
        heads=sizes["num_heads"],
        ffn_width=int(sizes["embed_dim"] * sizes["mlp_ratio"]),
        blocks=sizes["num_layers"],
        first_vl_block=sizes["vlffn_start_layer_index"],
        absolute_positions=sizes["abs_pos_embed"],
        relative_position_bias=sizes["rel_pos_bias"],
        relative_text_span=sizes.get("max_text_len_of_initckpt", 196),
        layer_scale=sizes["layer_scale"],
        layer_norm_eps=sizes["layer_norm_eps"],
        text_layer_norm_eps=sizes["text_layer_norm_eps"],
    )
    words = [f"word{number}" for number in range(config.vocab_size - len(SPECIAL))]
    encoder = Vlmo(config, WordPieceTokenizer([*SPECIAL, *words], config.max_text_tokens))
    load_exactly(encoder, vlmo_checkpoints.adapt(golden.state, config, "golden"), "golden")
    return encoder


def answers(model: Beit3Network | Vlmo, golden: Golden) -> dict[str, Tensor]:
    """Every tensor the file compares, computed by `model`."""
    with torch.no_grad():
        if isinstance(model, Vlmo):
            return vlmo_answers(model, golden)
        return beit3_answers(model, golden)


def beit3_answers(network: Beit3Network, golden: Golden) -> dict[str, Tensor]:
    pixels, tokens = golden.given("images"), golden.given("tokens")
    padding = golden.given("padding_mask")
    found: dict[str, Tensor] = {}
    layers = network.beit3.encoder.layers
    with recorded(layers, "dbg.image_layer_", found, join):
        found["out.image_tokens"] = network.image_tokens(pixels)
    with recorded(layers, "dbg.text_layer_", found, join):
        found["out.text_tokens"] = network.text_tokens(tokens, padding)
    with recorded(layers, "dbg.fused_layer_", found, join):
        found["out.fused_tokens"] = torch.cat(network.fused_tokens(pixels, tokens, padding), dim=1)
    image = found["out.image_embed"] = network.image_embedding(pixels)
    text = found["out.text_embed"] = network.text_embedding(tokens, padding)
    logits = found["out.logits_per_image"] = similarity(image, text, network.logit_scale)
    found["out.itc_loss"] = contrastive_loss(logits)
    if golden.config.get("interp_img_size"):
        side = golden.config["interp_img_size"] // golden.config["patch_size"]
        table = golden.state["beit3.encoder.embed_positions.A.weight"]
        found["aux.interp_embed_positions_A"] = resize_grid(table, 3, side)
    return found


def vlmo_answers(encoder: Vlmo, golden: Golden) -> dict[str, Tensor]:
    mask = golden.given("attention_mask")
    image = encoder.embed_image(golden.given("images"))
    text = encoder.embed_text(golden.given("tokens"))
    found = vlmo_passes(encoder, image, text, mask)
    images, texts = encoder.image_branches(image), encoder.text_branches(text, mask)
    found["out.image_vl_embed"], found["out.text_vl_embed"] = images.vl, texts.vl
    found["out.image_embed"] = encoder.encode_images(golden.given("images"))
    found["out.text_embed"] = encoder.encode_texts(
        {"tokens": golden.given("tokens"), "attention_mask": mask}
    )
    found["out.itc_loss"], logits = encoder.contrast(image, text, mask)
    found["out.itc_i2t_logits"], found["out.irtr_loss"] = logits, contrastive_loss(logits)
    negatives = golden.given("itm_neg_image_idx"), golden.given("itm_neg_text_idx")
    with recorded([encoder.itm_score], "out.itm_logits", found):
        found["out.itm_loss"] = encoder.match_loss(image, text, mask, *negatives)
    masked, labels = golden.given("mlm_tokens"), golden.given("mlm_labels")
    found["out.mlm_loss"] = encoder.masking_loss(image, masked, labels, mask)
    every = torch.ones_like(masked, dtype=torch.bool)
    logits = encoder.language_logits(image, encoder.embed_text(masked), mask, every)
    found["out.mlm_logits"] = logits.view(*masked.shape, -1)
    return found | vlmo_positions(encoder, golden)


def vlmo_passes(encoder: Vlmo, image: Tensor, text: Tensor, mask: Tensor) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    blocks = encoder.transformer.blocks
    with recorded(blocks, "dbg.image_block_", found):
        hidden, found["out.image_tokens"] = encoder.image_tokens(image)
        found["out.image_raw_cls"] = hidden[:, 0]
    with recorded(blocks, "dbg.text_block_", found):
        hidden, found["out.text_tokens"] = encoder.text_tokens(text, mask)
        found["out.text_raw_cls"] = hidden[:, 0]
    with recorded(blocks, "dbg.fused_block_", found):
        image_part, text_part = encoder.fused_tokens(image, text, mask)
    found["out.fused_tokens"] = torch.cat([text_part, image_part], dim=1)
    found["out.fused_raw_cls"] = text_part[:, 0]
    found["out.fused_pooled"] = encoder.pooler(text_part[:, 0])
    return found


def vlmo_positions(encoder: Vlmo, golden: Golden) -> dict[str, Tensor]:
    if encoder.config.relative_position_bias:
        text, image = encoder.text_index, encoder.image_index
        return {
            "aux.relative_position_index": image,
            "aux.text_relative_position_index": text,
            "aux.text_imag_relative_position_index": joint_index(text, image, encoder.config.grid),
        }
    if not golden.config.get("interp_img_size"):
        return {}
    side = golden.config["interp_img_size"] // golden.config["patch_size"]
    table = golden.state["transformer.pos_embed"][0]
    return {"aux.interp_pos_embed": resize_grid(table, 1, side)[None]}


@contextmanager
def recorded(
    modules: list[nn.Module],
    name: str,
    into: dict[str, Tensor],
    tensor_of: Callable[..., Tensor] = lambda output: output,
) -> Iterator[None]:
    """Keep what each module returns under `name`, completed by its number where it ends in _."""

    def keep(key: str) -> Callable[..., None]:
        return lambda module, inputs, output: into.__setitem__(key, tensor_of(output))

    keys = [f"{name}{number}" if name.endswith("_") else name for number in range(len(modules))]
    handles = [
        module.register_forward_hook(keep(key)) for module, key in zip(modules, keys, strict=True)
    ]
    yield
    for handle in handles:
        handle.remove()


def differences(found: dict[str, Tensor], golden: Golden) -> list[Difference]:
    """One entry per compared tensor of the file; one that was not computed differs infinitely."""
    expected = {name: x for name, x in golden.tensors.items() if name.startswith(COMPARED)}
    return [compare(name, found.get(name), tensor) for name, tensor in sorted(expected.items())]


def compare(name: str, found: Tensor | None, expected: Tensor) -> Difference:
    if not expected.is_floating_point():
        tolerance = 0.0
    elif name.endswith(("_embed", "_loss")) and name.startswith("out."):
        tolerance = EMBEDDING_TOLERANCE
    else:
        tolerance = TOKEN_TOLERANCE
    if found is None or found.shape != expected.shape:
        return Difference(name, float("inf"), tolerance, 0.0)
    found, expected = found.double(), expected.double()
    # NaN counts as infinitely far.
    largest = (found - expected).abs().nan_to_num(float("inf"), float("inf")).amax().item()
    cosine = 1.0
    if expected.ndim:
        cosine = torch.cosine_similarity(found, expected, dim=-1).amin().item()
    return Difference(name, largest, tolerance, cosine)


BUILDERS: dict[str, Callable[[Golden], Beit3Network | Vlmo]] = {
    "beit3": build_beit3,
    "vlmo": build_vlmo,
}


def main(paths: list[str]) -> int:
    failed = False
    for path in paths:
        golden = read(Path(path))
        for difference in differences(answers(build(golden), golden), golden):
            verdict = "ok" if difference.within else "FAILED"
            print(f"{difference.largest:12.3g}  {verdict:7}{difference.name}")
            failed = failed or not difference.within
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
