"""What is kept of a result, and how far another processor's rounding may take it.

A few projections stand for a whole array: whatever changes in it moves them, and rounding does not.
Legend: R rows, D dims.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Numbers = dict[str, Any]  # floats are compared within a tolerance, all else exactly

RELATIVE = 2e-4  # of a loss, or of the largest number of a list
OF_CHANGE = 5e-3  # of a tensor's change, in which Adam magnifies the rounding of small gradients
SMALLEST_SHARE = 0.5  # of the median change: what moves less is compared as if it moved so much
DIRECTIONS = 3


def projected(rows: NDArray[Any]) -> list[list[float]]:
    """[R, D] -> [R, 3]: each row along three random directions."""
    directions = np.random.default_rng(5).standard_normal((rows.shape[1], DIRECTIONS))
    return [[_short(value) for value in row] for row in rows.astype(np.float64) @ directions]


def change(before: dict[str, Tensor] | None, after: dict[str, Tensor]) -> Numbers:
    """Of each tensor: the root mean square of how it changed, and its mean along a direction.

    Before None: of the weights themselves.
    """
    found = {}
    for name, value in sorted(after.items()):
        if not value.is_floating_point():
            continue  # counters and tables of positions
        moved = value.double() - (0 if before is None else before[name].double())
        flat = moved.numpy().reshape(-1)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        along = float(flat @ rng.standard_normal(flat.size)) / flat.size**0.5
        found[name] = [_short(float(np.sqrt(np.mean(flat**2)))), _short(along)]
    return {"tensors": found}


def rounded(value: Any) -> Any:
    """Floats anywhere inside with six digits."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return _short(value) if isinstance(value, float) else value


def differences(found: Any, stored: Any, where: str = "") -> list[str]:
    """What differs by more than rounding, in words; empty: nothing does."""
    if isinstance(stored, dict) and isinstance(found, dict):
        if found.keys() != stored.keys():
            return [f"{where}: has {sorted(found.keys() ^ stored.keys())[0]!r} or has it no more"]
        if where.endswith(".tensors"):
            return _moved_tensors(found, stored, where)
        return [
            line for name in stored
            for line in differences(found[name], stored[name], f"{where}.{name}")
        ]  # fmt: skip
    if isinstance(stored, list) and isinstance(found, list) and not _is_numeric(stored):
        stored, found = dict(enumerate(stored)), dict(enumerate(found))
        return differences(found, stored, where)
    if _is_numeric(stored) and _is_numeric(found):
        left, right = np.array(found, float), np.array(stored, float)
        if left.shape != right.shape:
            return [f"{where}: of shape {list(left.shape)}, not {list(right.shape)}"]
        worst = float(np.abs(left - right).max())
        if worst > RELATIVE * float(np.abs(right).max()):
            return [f"{where}: off by {worst:.2g} from {float(np.abs(right).max()):.4g}"]
        return []
    return [] if found == stored else [f"{where}: {found!r}, not {stored!r}"]


def _moved_tensors(found: Numbers, stored: Numbers, where: str) -> list[str]:
    usual = float(np.median([size for size, _ in stored.values() if size] or [0]))
    lines = []
    for name, (size, along) in stored.items():
        allowed = OF_CHANGE * max(size, SMALLEST_SHARE * usual)
        worst = max(abs(found[name][0] - size), abs(found[name][1] - along))
        if worst > allowed:
            lines.append(f"{where}.{name}: off by {worst / max(size, 1e-12):.2g} of its change")
    return lines


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_numeric, value))
    return isinstance(value, float | int) and not isinstance(value, bool)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
