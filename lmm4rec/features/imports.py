"""Features that another tool made: which files hold them, and how they become a features folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from pydantic import Field, model_validator

from lmm4rec.features.arrays import (
    ColumnImport,
    FilePerItemImport,
    GivenFile,
    RowsImport,
    RowsWithIdsImport,
    read_column,
    read_file_per_item,
    read_rows,
    read_rows_with_ids,
)
from lmm4rec.features.features import Features
from lmm4rec.features.gathering import Gathered, gathered
from lmm4rec.features.records import RecordsImport, read_records
from lmm4rec.features.rules import FeatureRules, refuse_alike, refuse_too_few_vectors
from lmm4rec.local_files import LocalFiles, paths_alone
from lmm4rec.params import Revision, Section

ModalityImport = Annotated[
    RecordsImport | RowsImport | RowsWithIdsImport | FilePerItemImport | ColumnImport,
    Field(discriminator="kind"),
]
Placed = Callable[[GivenFile], Path]  # where a file's content lies by now


class DatasetImport(Section):
    """`imports.<name>.files.<dataset>`."""

    revision: Revision  # raise it when a file of this machine is another
    image: ModalityImport | None
    text: ModalityImport | None

    @model_validator(mode="after")
    def _holds_something(self) -> DatasetImport:
        if self.image is None and self.text is None:
            raise ValueError("names neither image nor text; give one of them")
        return self

    def modalities(self) -> dict[str, ModalityImport]:
        both = {"image": self.image, "text": self.text}
        return {name: one for name, one in both.items() if one is not None}

    def given_files(self) -> list[GivenFile]:
        """All its files, those at addresses too; folders are none."""
        return [file for one in self.modalities().values() for file in files_of(one)]

    def local_files(self) -> LocalFiles:
        files = [file.file for file in self.given_files() if not is_address(file.file)]
        modalities = self.modalities().values()
        folders = [one.folder for one in modalities if isinstance(one, FilePerItemImport)]
        return paths_alone(*files, *folders)


class ImportConfig(Section):
    """`imports.<name>` in params.yaml."""

    files: dict[str, DatasetImport]  # by dataset


def is_address(file: str) -> bool:
    return file.lower().startswith(("http://", "https://"))


def files_of(one: ModalityImport) -> list[GivenFile]:
    """The files that a modality is made of."""
    if isinstance(one, RecordsImport):
        return [GivenFile(file=one.file, sha256=one.sha256)]
    if isinstance(one, RowsImport):
        return [file for file in (one.array, one.ids, one.missing) if file is not None]
    if isinstance(one, RowsWithIdsImport):
        return [one.array, one.ids]
    return [one.table] if isinstance(one, ColumnImport) else []


def import_features(
    section: DatasetImport, item_ids: pa.Array, placed: Placed, rules: FeatureRules
) -> tuple[Features, dict[str, dict[str, int]]]:
    """The features of exactly these items, and by modality counts of what was there.

    Items without a vector are missing. InputError: what the files hold does not fit together,
    `rules` refuse it, or it is of none of the items.
    """
    found = {name: _read(one, item_ids, placed) for name, one in section.modalities().items()}
    for name, one in found.items():
        path = _path(section.modalities()[name], placed)
        refuse_too_few_vectors(path, one.present, item_ids, rules)
        refuse_alike(path, one.matrix, one.present, item_ids, rules)
    matrices = {name: one.matrix for name, one in found.items()}
    present = {name: one.present for name, one in found.items()}
    return Features(item_ids, matrices, present), {name: one.counts for name, one in found.items()}


def _read(one: ModalityImport, item_ids: pa.Array, placed: Placed) -> Gathered:
    path = _path(one, placed)
    if isinstance(one, RecordsImport):
        return read_records(path, item_ids, one)
    if isinstance(one, RowsImport):
        ids, missing = (None if file is None else placed(file) for file in (one.ids, one.missing))
        vectors = read_rows(path, ids, missing)
    elif isinstance(one, RowsWithIdsImport):
        vectors = read_rows_with_ids(path, placed(one.ids))
    elif isinstance(one, FilePerItemImport):
        vectors = read_file_per_item(path, item_ids.to_pylist())
    else:
        vectors = read_column(path, one.item, one.vector)
    return gathered(vectors, item_ids, path)


def _path(one: ModalityImport, placed: Placed) -> Path:
    """Where the vectors themselves are."""
    return Path(one.folder) if isinstance(one, FilePerItemImport) else placed(files_of(one)[0])
