"""Features: what an encoder says of every item, joined by item id and never by position.

Folder format (public: anyone may put such a folder under data/features/<dataset>/<name>):
`items.parquet` (item_id, text or whole numbers, and has_image / has_text as booleans; without such
a column every row counts as there), a matrix of numbers `image.npy` and / or `text.npy` and / or
`fused.npy` with one row per row of `items.parquet`, and optionally `about.json`. Rows of a missing
modality are flagged false in `items.parquet`, zeros or not; an item without a row has neither
modality. Matrices are memory-mapped; arrays of Python objects are refused.

Shapes: I items, D dims of one modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lmm4rec.arrays import read_array, row_not_finite, write_array
from lmm4rec.doors import finished_name
from lmm4rec.errors import InputError
from lmm4rec.features.rules import (
    ALL_ITEMS,
    FeatureRules,
    as_item_ids,
    refuse_alike,
    refuse_too_few,
)
from lmm4rec.folders import write_json
from lmm4rec.tables import read_column_names, read_table, rows_of, write_table

SOURCES_ADVICE = "look into what it was made of: weights, precision, or the reference's values"
MODALITIES = ("image", "text", "fused")

Matrix = NDArray[np.float32]
MissingPolicy = Literal["mean", "zero"]


@dataclass(frozen=True)
class Features:
    """Matrices [I, D] by modality, a row per item id, and which rows are really there."""

    item_ids: pa.Array
    matrices: dict[str, Matrix]
    present: dict[str, NDArray[np.bool_]]  # [I] per modality

    def matrix(self, modality: str, missing: MissingPolicy) -> Matrix:
        """[I, D] with missing rows replaced: by the mean of the present ones, or by zeros."""
        if modality not in self.matrices:
            raise InputError(
                f"these features have no {modality!r} matrix, only {', '.join(self.matrices)}; "
                "set the recommender's `modalities` in params.yaml to what there is"
            )
        matrix, present = self.matrices[modality], self.present[modality]
        if present.all():
            return matrix
        filled = matrix.copy()
        fill = matrix[present].mean(axis=0) if missing == "mean" and present.any() else 0.0
        filled[~present] = fill
        return filled


def write_features(folder: Path, features: Features, about: dict[str, object]) -> None:
    """Write the folder format. `about` says how the features came to be; no times, no hosts.

    Raises `InputError` where a vector is not finite, before anything is written.
    """
    for modality, matrix in features.matrices.items():
        refuse_not_finite(matrix, features.item_ids, folder / f"{modality}.npy", SOURCES_ADVICE)
    columns: dict[str, object] = {"item_id": features.item_ids}
    columns["has_image"] = _flags(features, "image")
    columns["has_text"] = _flags(features, "text")
    write_table(pa.table(columns), folder / "items.parquet")
    for modality, matrix in features.matrices.items():
        write_array(folder / f"{modality}.npy", np.ascontiguousarray(matrix, dtype=np.float32))
    counts = {f"items_with_{name}": int(flags.sum()) for name, flags in features.present.items()}
    write_json(folder / "about.json", {**about, "items": len(features.item_ids), **counts})


def read_features(folder: Path, item_ids: pa.Array, rules: FeatureRules = ALL_ITEMS) -> Features:
    """The features of exactly these items, in this order, whatever the folder's own order is.

    Items without a row are missing, rows of other items are left out; both are told.
    Raises `InputError` if the folder lacks more of the items than `rules` allow (naming the first),
    repeats an id, has matrices of another length, or holds values that are not finite or nearly all
    alike.
    """
    ids = read_feature_ids(folder)
    rows = rows_of(item_ids, ids)
    _refuse_repeated(folder, ids)
    refuse_too_few(folder, ids, item_ids, rows, rules)
    found = [name for name in MODALITIES if (folder / f"{name}.npy").exists()]
    if not found:
        raise InputError(
            f"{folder}: holds none of image.npy, text.npy, fused.npy; run stage extract again"
        )
    matrices = {
        name: _read_matrix(folder / f"{name}.npy", len(ids), rows, item_ids) for name in found
    }
    flags = _read_flags(folder, len(ids))
    flags["fused"] = flags["image"] & flags["text"]
    has_row = rows >= 0
    present = {name: flags[name][np.maximum(rows, 0)] & has_row for name in found}
    for name in found:
        refuse_alike(folder / f"{name}.npy", matrices[name], present[name], item_ids, rules)
    return Features(item_ids, matrices, present)


def read_feature_ids(folder: Path) -> pa.Array:
    """The items of a features folder, in its own order, as text."""
    path = folder / "items.parquet"
    return as_item_ids(read_table(path, ["item_id"], "extract")["item_id"], path)


def _refuse_repeated(folder: Path, ids: pa.Array) -> None:
    if len(ids.unique()) != len(ids):
        counts = ids.value_counts()
        repeated = next(pair["values"] for pair in counts.to_pylist() if pair["counts"] > 1)
        raise InputError(f"{folder}: item_id {repeated!r} stands twice in items.parquet; keep one")


def refuse_not_finite(matrix: Matrix, item_ids: pa.Array, path: Path, advice: str) -> None:
    """InputError naming `path`, and the first item whose vector holds NaN or infinity."""
    bad = row_not_finite(matrix)
    if bad is not None:
        raise InputError(
            f"{finished_name(path)}: the vector of item {item_ids[bad].as_py()!r} holds NaN or "
            f"infinity; {advice}"
        )


def _read_matrix(path: Path, n_rows: int, rows: NDArray[np.int64], item_ids: pa.Array) -> Matrix:
    matrix = read_array(path, 2, "extract")
    if len(matrix) != n_rows:
        raise InputError(
            f"{path}: shape {matrix.shape} does not fit the {n_rows} rows of items.parquet; "
            "write both together"
        )
    in_order = np.array_equal(rows, np.arange(n_rows))
    with np.errstate(over="ignore"):  # what float32 does not hold becomes infinity
        if in_order:
            chosen = np.asarray(matrix, dtype=np.float32)
        else:
            chosen = np.zeros((len(rows), matrix.shape[1]), np.float32)
            chosen[rows >= 0] = matrix[rows[rows >= 0]]
    refuse_not_finite(chosen, item_ids, path, "mend or drop that feature")
    return chosen


def _read_flags(folder: Path, n_rows: int) -> dict[str, NDArray[np.bool_]]:
    path = folder / "items.parquet"
    names = read_column_names(path, "extract")
    flags = {}
    for modality in ("image", "text"):
        column = f"has_{modality}"
        if column not in names:
            flags[modality] = np.ones(n_rows, dtype=bool)
            continue
        values = read_table(path, [column], "extract")[column]
        if not pa.types.is_boolean(values.type) or values.null_count:
            found = "nulls" if pa.types.is_boolean(values.type) else f"{values.type} values"
            raise InputError(
                f"{path}: column {column!r} holds {found}, not booleans; write true or false for "
                "every item"
            )
        flags[modality] = values.to_numpy(zero_copy_only=False).astype(bool)
    return flags


def _flags(features: Features, modality: str) -> NDArray[np.bool_]:
    """has_<modality>, read off the fused matrix where the modality has none of its own."""
    for name in (modality, "fused"):
        if name in features.present:
            return features.present[name]
    return np.zeros(len(features.item_ids), dtype=bool)
