"""open_clip models from their configuration alone: networks, blocks, transforms, tokenizers.

open_clip looks these up by a model's name, on the hub if need be; here the configuration that a
weights folder holds is enough, so nothing is fetched.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from open_clip.model import CLIP, CustomTextCLIP
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from torch import Tensor, nn

from lmm4rec.encoders.base import TextBatch
from lmm4rec.encoders.texts import longest, valid_unicode
from lmm4rec.encoders.unimodal.towers import aligned_at_output, image_blocks
from lmm4rec.errors import InputError

Settings = dict[str, Any]

# What a model's `tokenizer_kwargs` may say: how texts are cleaned, never which code or file reads
# them (transformers would take trust_remote_code, CLIP's own tokenizer a bpe_path).
_TOKENIZER_OPTIONS = frozenset({"clean", "strip_sep_token", "language", "reduction_mask"})

# No vocabulary in use has a longer piece, so what a text has beyond cannot reach the tokens.
_CHARACTERS_PER_TOKEN = 128


def build_network(model: Settings, source: str) -> nn.Module:
    """The network of an open_clip `model_cfg`, with random weights.

    Raises InputError for those whose training objective or text tower is not open_clip's own.
    """
    settings = copy.deepcopy(model)
    if "multimodal_cfg" in settings:
        raise InputError(
            f"{source}: a captioning model (CoCa), whose objective is not supported here; choose a "
            "CLIP or SigLIP architecture"
        )
    if settings["text_cfg"].get("hf_model_name"):
        raise InputError(
            f"{source}: its text tower is built by transformers from a hub, which extraction never "
            "asks; choose an architecture whose text tower is open_clip's own"
        )
    if ":" in str(settings["vision_cfg"].get("timm_model_name")):
        raise InputError(
            f"{source}: its picture tower is described on a hub, which is not asked here; choose a "
            "model whose timm_model_name is a name that timm knows"
        )
    is_custom = settings.pop("custom_text", False)
    settings["vision_cfg"]["timm_model_pretrained"] = False
    try:
        network: nn.Module = CustomTextCLIP(**settings) if is_custom else CLIP(**settings)
    except (TypeError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{source}: open_clip cannot build this model ({' '.join(str(error).split())[:160]}); "
            "check the architecture's name, or write the folder again"
        ) from None
    return network


def blocks_by_depth(network: Any) -> list[nn.Module]:
    """Both towers' blocks from input to output, aligned at the output."""
    visual = network.visual
    images = _blocks(visual) if hasattr(visual, "transformer") else None
    return aligned_at_output(
        [
            images or image_blocks(getattr(visual, "trunk", visual)),
            _blocks(getattr(network, "text", network)),
        ]
    )


def encode_text(network: Any, ids: Tensor) -> Tensor:
    """[B, L] -> [B, D], without the columns that are padding in every row where they cannot matter.

    That is where a token sees only those before it and the end token is what is read out.
    """
    tower = getattr(network, "text", None)  # None: a CLIP that insists on the full length
    mask = getattr(tower, "attn_mask", None)
    if tower is None or mask is None or tower.cls_emb is not None or tower.pool_type != "argmax":
        whole: Tensor = network.encode_text(ids)
        return whole
    length = longest(ids != tower.pad_id)
    tower.attn_mask = mask[:length, :length]  # open_clip does not cut it itself
    try:
        short: Tensor = network.encode_text(ids[:, :length])
    finally:
        tower.attn_mask = mask
    return short


def _blocks(tower: Any) -> list[nn.Module]:
    return list(tower.transformer.resblocks)


TOKENIZER_FOLDER = "tokenizer"


class ClipTokenizer:
    """Texts -> `tokens` int64 [B, L], L the context length; long texts lose their last tokens."""

    def __init__(self, text: Settings, source: str | Path | None) -> None:
        """`source`: folder or hub name of a transformers tokenizer; None for CLIP's own BPE."""
        self.context_length = int(text.get("context_length", 77))
        options = copy.deepcopy(text.get("tokenizer_kwargs") or {})
        if strangers := sorted(options.keys() - _TOKENIZER_OPTIONS):
            raise InputError(
                f"{source or 'the tokenizer'}: tokenizer_kwargs holds {strangers[0]!r}, which may "
                f"load code or files; only {', '.join(sorted(_TOKENIZER_OPTIONS))} are accepted: "
                "take it out of the model's configuration"
            )
        if source is None:
            self._tokenize: Any = SimpleTokenizer(context_length=self.context_length, **options)
        else:
            try:
                self._tokenize = HFTokenizer(
                    str(source),
                    context_length=self.context_length,
                    tokenizer_mode=text.get("tokenizer_mode"),
                    trust_remote_code=False,
                    **options,
                )
            except (ValueError, OSError, KeyError) as error:
                reason = " ".join(str(error).split())[:160]
                raise InputError(
                    f"{source}: transformers cannot read this tokenizer ({reason}); choose a model "
                    "whose tokenizer needs no code of its own, or fetch its files again"
                ) from None

    def __call__(self, texts: Sequence[str]) -> TextBatch:
        if not texts:
            return {"tokens": self._tokenize([" "])[:0]}
        return {"tokens": self._tokenize([self._bounded(text) for text in texts])}

    def save(self, folder: Path) -> None:
        """Write what `source` must name; CLIP's own vocabulary comes with open_clip."""
        if isinstance(self._tokenize, HFTokenizer):
            self._tokenize.save_pretrained(str(folder / TOKENIZER_FOLDER))

    def _bounded(self, text: str) -> str:
        """Enough of `text` for all tokens that are kept; byte pairs take time squared in it."""
        limit = self.context_length * _CHARACTERS_PER_TOKEN
        text = valid_unicode(text)
        return text if len(text) <= limit else " ".join(text.split())[:limit]


def saved_tokenizer(model: Settings, folder: Path) -> ClipTokenizer:
    """The tokenizer of a folder that an encoder was saved to."""
    text = model["text_cfg"]
    saved = folder / TOKENIZER_FOLDER
    if text.get("hf_tokenizer_name") and not saved.is_dir():
        raise InputError(f"{saved}: the tokenizer is missing; run stage weights again")
    return ClipTokenizer(text, saved if text.get("hf_tokenizer_name") else None)
