"""What is asked of features before anything is trained on them: for most items, and not all alike.

Shapes: I items, D dims.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from lmm4rec.errors import InputError
from lmm4rec.params import Section

_ROWS_AT_ONCE = 1024

log = logging.getLogger(__name__)


class FeatureRules(Section):
    """Section `features` of params.yaml."""

    minimum_item_share: float = Field(ge=0, le=1)
    maximum_alike_share: float = Field(ge=0, le=1)


ALL_ITEMS = FeatureRules(minimum_item_share=1.0, maximum_alike_share=1.0)
"""For what the pipeline itself wrote: a row for every item, whatever is in it."""


def as_item_ids(column: pa.ChunkedArray | pa.Array, path: Path) -> pa.Array:
    """Ids of any integer or string type as text, as corpora have them: NFC, outer blanks cut.

    InputError: they are of another type (numbers with a point have lost what they were).
    """
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise InputError(
            f"{path}: column 'item_id' holds {kind} values; write ids as texts or whole numbers"
        )
    texts = pc.utf8_trim_whitespace(pc.cast(pc.cast(column, kind), pa.string())).to_pylist()
    # not pyarrow's utf8_normalize, whose NFC (25.0) takes letters apart
    return pa.array([one and unicodedata.normalize("NFC", one) for one in texts], pa.string())


def refuse_too_few(
    path: Path, ids: pa.Array, item_ids: pa.Array, rows: NDArray[np.int64], rules: FeatureRules
) -> None:
    """InputError where too few of the corpus's items have a row; otherwise what lacks is told.

    `rows` [I]: each item's row among `ids`, -1 where it has none.
    """
    lacking = np.flatnonzero(rows < 0)
    found = len(item_ids) - len(lacking)
    if not found or found < rules.minimum_item_share * len(item_ids):
        first = ", ".join(item_ids[int(row)].as_py() for row in lacking[:3])
        theirs = f"its own ids begin with {ids[0].as_py()!r}" if len(ids) else "it has no ids"
        raise InputError(
            f"{path}: features of {len(lacking)} of the corpus's {len(item_ids)} items are "
            f"missing (first: {first}; {theirs}), more than features.minimum_item_share = "
            f"{rules.minimum_item_share} allows; make them of this dataset's items, or lower it"
        )
    extra = len(ids) - found
    if len(lacking) or extra:
        log.info(
            "%s: %d of %d items have no row and count as missing; %d rows are of no item",
            path, len(lacking), len(item_ids), extra,
        )  # fmt: skip


def refuse_too_few_vectors(
    path: Path, present: NDArray[np.bool_], item_ids: pa.Array, rules: FeatureRules
) -> None:
    """InputError where too few of the corpus's items have a vector (`present` [I])."""
    if present.sum() < rules.minimum_item_share * len(item_ids):
        first = item_ids[int(np.argmin(present))].as_py()
        raise InputError(
            f"{path}: {int((~present).sum())} of the corpus's {len(item_ids)} items have no vector "
            f"there (first: {first!r}), more than features.minimum_item_share = "
            f"{rules.minimum_item_share} allows; give the features of this dataset, or lower it"
        )


def refuse_alike(
    path: Path,
    matrix: NDArray[np.float32],
    present: NDArray[np.bool_],
    item_ids: pa.Array,
    rules: FeatureRules,
) -> None:
    """InputError where most vectors [I, D] of the items that have one say nothing.

    Those are vectors of one number throughout (zeros), or one vector that many items share.
    """
    rows = np.flatnonzero(present)
    if rules.maximum_alike_share == 1 or len(rows) < 2:
        return
    even: list[int] = []
    same: Counter[int] = Counter()
    first_of: dict[int, int] = {}
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        block = matrix[part]
        if block.shape[1] > 1:
            even += part[block.max(axis=1) == block.min(axis=1)].tolist()
        for row, vector in zip(part.tolist(), block, strict=True):
            key = hash(vector.tobytes())
            first_of.setdefault(key, row)
            same[key] += 1
    key, count = same.most_common(1)[0]
    what, alike, first = "one and the same", count, first_of[key]
    if len(even) >= count:
        what, alike, first = "one number throughout", len(even), even[0]
    if alike > rules.maximum_alike_share * len(rows):
        raise InputError(
            f"{path}: {alike} of {len(rows)} vectors are {what} (first: item "
            f"{item_ids[first].as_py()!r}), more than features.maximum_alike_share = "
            f"{rules.maximum_alike_share} allows; say in items.parquet which items have none "
            "(has_image, has_text), or give other features"
        )


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
