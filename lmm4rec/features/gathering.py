"""Vectors that came with ids of their own, brought to the items of a corpus.

Shapes: n vectors as they came, I items of the corpus, D dims.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lmm4rec.errors import InputError
from lmm4rec.tables import rows_of


class Vectors(NamedTuple):
    """As another tool left them."""

    ids: pa.Array  # [n], text; null: nobody says whose it is
    matrix: NDArray[Any]  # [n, D] real numbers, memory-mapped where it is a file
    is_there: NDArray[np.bool_]  # [n]; false: the tool put something else in a missing one's place


class Gathered(NamedTuple):
    """One modality of a corpus's items, in their order."""

    matrix: NDArray[np.float32]  # [I, D]; rows of missing ones are zeros
    present: NDArray[np.bool_]  # [I]
    counts: dict[str, int]


def gathered(vectors: Vectors, item_ids: pa.Array, path: Path) -> Gathered:
    """The vectors of exactly these items; of an id that stands twice the first is kept.

    Items without a vector are missing, and so are those whose vector is not finite.
    InputError: `path` has none of the items.
    """
    rows = rows_of(item_ids, vectors.ids)
    matrix = np.zeros((len(item_ids), vectors.matrix.shape[1]), np.float32)
    found = rows >= 0
    if not found.any():
        raise InputError(
            f"{path}: holds none of the corpus's {len(item_ids)} items (these begin with "
            f"{item_ids[0].as_py()!r}, its own with {_first(vectors.ids)}); give the features of "
            "this dataset, or the map between its numbers and the ids"
        )
    with np.errstate(over="ignore"):  # what float32 does not hold becomes infinity
        matrix[found] = vectors.matrix[rows[found]]
    present = found.copy()
    present[found] = vectors.is_there[rows[found]]
    matrix[~present] = 0.0
    known = len(vectors.ids) - vectors.ids.null_count
    distinct = len(pc.unique(vectors.ids.drop_null()))
    counts = {
        "vectors": len(vectors.ids),
        "without_id": vectors.ids.null_count,
        "duplicate_items": known - distinct,
        "of_no_item": distinct - int(found.sum()),
        "said_to_be_missing": int((found & ~present).sum()),
    }
    return only_finite(Gathered(matrix, present, counts))


def only_finite(found: Gathered) -> Gathered:
    """What is not finite is missing, and counted."""
    broken = ~np.isfinite(found.matrix).all(axis=1)
    found.matrix[broken], found.present[broken] = 0.0, False
    return found._replace(counts=found.counts | {"items_not_finite": int(broken.sum())})


def _first(ids: pa.Array) -> str:
    known = ids.drop_null()
    return repr(known[0].as_py()) if len(known) else "nothing"
