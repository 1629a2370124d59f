"""What the tokenizers of the unified encoders share: clean input, and no work on padding."""

from __future__ import annotations

from torch import Tensor


def valid_unicode(text: str) -> str:
    """`text` with lone surrogates (which no tokenizer can encode) replaced by '?'."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def longest(is_real: Tensor) -> int:
    """How many of the L columns of a bool [B, L] mask are needed to hold every real token."""
    columns = is_real.any(0).nonzero()
    return int(columns[-1]) + 1 if len(columns) else 1
