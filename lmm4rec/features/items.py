"""The items of a corpus with their pictures: what encoders are shown of a catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lmm4rec.catalogue.corpus import read_items
from lmm4rec.catalogue.pictures.images import IMAGES, MORE_IMAGES, NO_LINK, OK, ROW_GROUP_ROWS
from lmm4rec.doors import made_by, reading
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.errors import InputError
from lmm4rec.folders import read_json
from lmm4rec.tables import read_table, rows_of


class Catalogue:
    """Items and pictures of one dataset, read in parts of `ROW_GROUP_ROWS` items.

    Raises InputError where the pictures are another corpus's.
    """

    def __init__(self, corpus: Path, images: Path) -> None:
        items = read_items(corpus)
        self._images, self._more = images / IMAGES, images / MORE_IMAGES
        self.item_ids: pa.Array = items["item_id"].combine_chunks()
        self._texts = items["text"]
        ids = read_table(self._images, ["item_id"], "images")["item_id"].combine_chunks()
        if not ids.equals(self.item_ids):
            strangers = set(ids.to_pylist()) ^ set(self.item_ids.to_pylist())
            named = f"; first difference: {min(strangers)!r}" if strangers else ""
            raise _of_another_corpus(self._images, corpus, named)
        more = read_table(self._more, ["item_id", "status"], "images")
        self._rows_of_more = rows_of(more["item_id"], ids)  # of every further picture: its item
        if (self._rows_of_more < 0).any() or (np.diff(self._rows_of_more) < 0).any():
            raise _of_another_corpus(self._more, corpus, "")
        self._opens = pc.equal(more["status"], OK).to_numpy(zero_copy_only=False).astype(bool)

    def __len__(self) -> int:
        return len(self.item_ids)

    def in_memory(self) -> PicturesWithTexts:
        """The main pictures as they are stored (about 20 kB each) and all texts."""
        parts = [self.part(start) for start in range(0, len(self), ROW_GROUP_ROWS)]
        return PicturesWithTexts(
            [picture for part in parts for picture in part.pictures],
            [text for part in parts for text in part.texts],
        )

    def part(self, start: int) -> PicturesWithTexts:
        """The up to `ROW_GROUP_ROWS` items from row `start` on, with their main pictures."""
        texts = self._part_texts(start)
        return PicturesWithTexts(_bytes(self._images, start, start + len(texts)), texts)

    def further(self, start: int) -> PicturesWithTexts:
        """Pictures of the items of `part(start)` beside their main ones, with the items' texts."""
        rows = self.further_rows(start)
        if not len(rows):
            return PicturesWithTexts([], [])
        low, high = self._more_of(start)
        pictures, texts = _bytes(self._more, low, high), self._part_texts(start)
        opening = [pictures[at] for at in np.flatnonzero(self._opens[low:high])]
        return PicturesWithTexts(opening, [texts[row] for row in rows])

    def further_rows(self, start: int) -> NDArray[np.int64]:
        """For each picture of `further(start)` the row of its item in that part, ascending."""
        low, high = self._more_of(start)
        found: NDArray[np.int64] = self._rows_of_more[low:high][self._opens[low:high]] - start
        return found

    def pictures_used(self) -> int:
        """How many pictures there are in all, main and further ones."""
        statuses = read_table(self._images, ["status"], "images")["status"]
        return int(pc.sum(pc.equal(statuses, OK), min_count=0).as_py() + self._opens.sum())

    def _more_of(self, start: int) -> tuple[int, int]:
        low, high = np.searchsorted(self._rows_of_more, [start, start + ROW_GROUP_ROWS]).tolist()
        return low, high

    def _part_texts(self, start: int) -> list[str]:
        return [text or "" for text in self._texts.slice(start, ROW_GROUP_ROWS).to_pylist()]


def pictures_of(catalogue: Catalogue, images: Path) -> dict[str, object]:
    """What about.json says of pictures where items name several: how many, and how many are used.

    Nothing where each names one at most: `items_with_image` says it then.
    """
    about = read_json(images / "about.json")
    named, items = about["pictures_named"], about["items"] - about["pictures_by_status"][NO_LINK]
    if named == items:
        return {}
    return {"pictures": {"there": named, "used": catalogue.pictures_used()}}


def _bytes(path: Path, start: int, stop: int) -> list[bytes | None]:
    """Column `bytes` of rows `start` to `stop`; only the row groups that hold them are read."""
    found: list[bytes | None] = []
    with reading(path, "a Parquet file", made_by("images")), pq.ParquetFile(path) as file:
        begin = 0
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            low, high = max(start - begin, 0), min(stop - begin, rows)
            if low < high:
                column = file.read_row_group(group, columns=["bytes"])["bytes"]
                found += column.slice(low, high - low).to_pylist()
            begin += rows
    return found


def _of_another_corpus(path: Path, corpus: Path, named: str) -> InputError:
    return InputError(
        f"{path}: does not hold the items of {corpus} in their order{named}; run stage images again"
    )
