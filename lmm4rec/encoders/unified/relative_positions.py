"""Which row of VLMo's relative position table each (query, key) pair reads.

One table serves image, text and cross pairs. Its rows, with G patches along a side and I the text
length it was laid out for:

    (2G - 1)^2              offsets between patches, query minus key, row by row
    3                       image CLS -> token, token -> CLS, CLS -> CLS
    2                       text -> image, image -> text
    2I - 3                  offsets between text tokens, key minus query
    3                       text CLS -> token, token -> CLS, CLS -> CLS

Tables are built with NumPy, so that a model on the meta device gets real ones. [query, key]
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Index = NDArray[np.int64]


def image_rows(grid: int) -> int:
    """Rows for pairs of image tokens, which come first in the table."""
    return (2 * grid - 1) ** 2 + 3


def rows_kept_on_resize(text_span: int) -> int:
    """Rows after the offsets between patches, which do not depend on the picture's size."""
    return 3 + 2 * text_span + 2


def table_rows(grid: int, text_span: int) -> int:
    return (2 * grid - 1) ** 2 + rows_kept_on_resize(text_span)


def image_index(grid: int) -> Tensor:
    """int64 [G*G + 1, G*G + 1], the image CLS first."""
    y, x = np.divmod(np.arange(grid**2), grid)
    down = y[:, None] - y[None, :] + grid - 1
    right = x[:, None] - x[None, :] + grid - 1
    return _framed(down * (2 * grid - 1) + right, image_rows(grid))


def text_index(length: int, grid: int, text_span: int) -> Tensor:
    """int64 [L, L], the text CLS first."""
    at = np.arange(1, length)
    zero_offset = image_rows(grid) + 2 + text_span - 2
    return _framed(zero_offset + at[None, :] - at[:, None], table_rows(grid, text_span))


def joint_index(text: Tensor, image: Tensor, grid: int) -> Tensor:
    """int64 [L + G*G + 1] squared, text first, from the two single-modality tables."""
    text_to_image = text.new_full((len(text), len(image)), image_rows(grid))
    image_to_text = text.new_full((len(image), len(text)), image_rows(grid) + 1)
    upper = torch.cat([text, text_to_image], dim=1)
    lower = torch.cat([image_to_text, image], dim=1)
    return torch.cat([upper, lower])


def _framed(inner: Index, rows: int) -> Tensor:
    """`inner` with the CLS row and column in front: the last three of `rows`."""
    index = np.empty((len(inner) + 1, len(inner) + 1), dtype=np.int64)
    index[1:, 1:] = inner
    index[0, 1:] = rows - 3
    index[1:, 0] = rows - 2
    index[0, 0] = rows - 1
    return torch.from_numpy(index)
