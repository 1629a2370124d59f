"""Learned image positions carried over to another picture size.

Shapes: D dims, G patches along one side of the picture, H heads, R table rows.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lmm4rec.errors import InputError


def resize_grid(table: Tensor, kept_rows: int, side: int) -> Tensor:
    """[kept + G*G, D] -> [kept + side*side, D]: bicubic over the grid, the first rows as they are.

    No antialiasing and corners not aligned, as the official loaders of BEiT-3 and VLMo do it.
    Raises InputError where the rows after the kept ones are no square grid.
    """
    kept, grid = table[:kept_rows], table[kept_rows:]
    side_now = square_side(len(grid), "the image position table")
    if side_now == side:
        return table
    planes = grid.T.reshape(1, -1, side_now, side_now)  # [1, D, G, G]
    planes = F.interpolate(planes, size=(side, side), mode="bicubic", align_corners=False)
    return torch.cat([kept, planes.flatten(2)[0].T])  # [kept + side*side, D]


def resize_relative_table(table: Tensor, kept_rows: int, side: int) -> Tensor:
    """[s*s + kept, H] -> [t*t + kept, H], s = 2 G - 1 offsets along a side, t = 2 side - 1.

    The offsets of the trained table are spread geometrically (near ones close together) so that
    they reach as far as the new ones, and a cubic spline through them is read at whole steps; the
    last rows stay as they are. BEiT's scheme (Bao et al. 2022), which the official VLMo loader
    runs with the interp2d that SciPy has since dropped.
    """
    # Here, since it takes long to import and most encoders keep the size they were trained with.
    from scipy.interpolate import RectBivariateSpline

    offsets = table[: len(table) - kept_rows]
    source = square_side(len(offsets), "the relative position table")
    target = 2 * side - 1
    if source == target:
        return table
    at = _geometric_offsets(source // 2, target // 2)
    wanted = np.arange(target, dtype=np.float64) - target // 2
    columns = offsets.T.double().numpy().reshape(-1, source, source)  # [H, s, s]
    resized = np.stack([RectBivariateSpline(at, at, plane)(wanted, wanted) for plane in columns])
    rows = torch.from_numpy(resized).to(table.dtype).flatten(1).T  # [t*t, H]
    return torch.cat([rows, table[len(table) - kept_rows :]])


def square_side(cells: int, what: str) -> int:
    """The side of a square grid of so many cells; InputError where there is none."""
    side = isqrt(max(cells, 0))
    if side < 1 or side * side != cells:
        raise InputError(
            f"{what} has {cells} rows for the picture's grid, which is not a square; "
            "give an official checkpoint for square pictures"
        )
    return side


def _geometric_offsets(source_half: int, target_half: int) -> NDArray[np.float64]:
    """Symmetric coordinates 0, 1, 1 + q, 1 + q + q^2, ... whose last one is about `target_half`."""
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**source_half) / (1 - ratio) > target_half:
            high = ratio
        else:
            low = ratio
    positive = np.cumsum(ratio ** np.arange(source_half, dtype=np.float64))
    return np.concatenate([-positive[::-1], [0.0], positive])
