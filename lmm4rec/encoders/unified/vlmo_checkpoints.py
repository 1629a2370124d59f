"""Official VLMo files made to fit: kind checked, buffers dropped, position tables adjusted."""

from __future__ import annotations

import torch
from torch import Tensor

from lmm4rec.encoders.files.checkpoints import StateDict, kind_of
from lmm4rec.encoders.unified.positions import resize_grid, resize_relative_table
from lmm4rec.encoders.unified.relative_positions import rows_kept_on_resize
from lmm4rec.encoders.unified.vlmo_blocks import VlmoConfig
from lmm4rec.errors import InputError

CONTAINERS = ("state_dict", "module", "model")  # where official files keep the state dict
IMAGE_POSITIONS = "transformer.pos_embed"
BIAS_TABLE = "relative_position_bias_table"
TEXT_POSITIONS = "text_embeddings.position_embeddings.weight"
POSITION_IDS = "text_embeddings.position_ids"
RECOMPUTED = (
    "relative_position_index",
    "text_relative_position_index",
    "text_imag_relative_position_index",
)
PRETRAINING_HEADS = ("itc_vl_image_proj.fc.weight", "itm_score.fc.weight", "mlm_score.bias")
NEEDED = "give vlmo_*_patch16_224.pt, which holds all heads of the pretraining"


def adapt(state: StateDict, config: VlmoConfig, source: str) -> StateDict:
    """An official state dict as this variant needs it; InputError for another kind of file."""
    _check_kind(state, source)
    state = {name: tensor for name, tensor in state.items() if name not in RECOMPUTED}
    if IMAGE_POSITIONS in state and config.absolute_positions:
        state[IMAGE_POSITIONS] = resize_grid(state[IMAGE_POSITIONS][0], 1, config.grid)[None]
    if BIAS_TABLE in state and config.relative_position_bias:
        kept = rows_kept_on_resize(config.relative_text_span)
        state[BIAS_TABLE] = resize_relative_table(state[BIAS_TABLE], kept, config.grid)
    # Tables laid out for longer texts are cut; the ids are a constant, which some files lack.
    if TEXT_POSITIONS in state:
        state[TEXT_POSITIONS] = state[TEXT_POSITIONS][: config.max_text_tokens].clone()
    state[POSITION_IDS] = torch.arange(config.max_text_tokens)[None]
    return state


def _check_kind(state: dict[str, Tensor], source: str) -> None:
    if "transformer.blocks.0.norm2_imag.weight" not in state:
        raise InputError(f"{source}: {kind_of(state)}, not a VLMo checkpoint; {NEEDED}")
    if not any(".mlp_vl." in name for name in state):
        raise InputError(
            f"{source}: a VLMo stage-2 (text-only) checkpoint without vision-language experts and "
            f"retrieval heads; {NEEDED}"
        )
    lacking = [name for name in PRETRAINING_HEADS if name not in state]
    if lacking:
        raise InputError(
            f"{source}: a VLMo checkpoint fine-tuned for retrieval or another task, without "
            f"{lacking[0]}; {NEEDED}"
        )
