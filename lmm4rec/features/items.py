"""The items of a corpus with their pictures: what encoders are shown of a catalogue."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lmm4rec.catalogue.corpus import read_items
from lmm4rec.catalogue.pictures.images import ROW_GROUP_ROWS
from lmm4rec.doors import made_by, reading
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.errors import InputError
from lmm4rec.tables import read_table


class Catalogue:
    """Items and pictures of one dataset, read in parts of `ROW_GROUP_ROWS` items.

    Raises InputError where the pictures are another corpus's.
    """

    def __init__(self, corpus: Path, images: Path) -> None:
        items = read_items(corpus)
        self._images = images / "images.parquet"
        self.item_ids: pa.Array = items["item_id"].combine_chunks()
        self._texts = items["text"]
        ids = read_table(self._images, ["item_id"], "images")["item_id"].combine_chunks()
        if not ids.equals(self.item_ids):
            strangers = set(ids.to_pylist()) ^ set(self.item_ids.to_pylist())
            named = f"; first difference: {min(strangers)!r}" if strangers else ""
            raise InputError(
                f"{self._images}: does not hold the items of {corpus} in their order{named}; run "
                "stage images again"
            )

    def __len__(self) -> int:
        return len(self.item_ids)

    def in_memory(self) -> PicturesWithTexts:
        """All pictures as they are stored (about 20 kB each) and all texts."""
        parts = [self.part(start) for start in range(0, len(self), ROW_GROUP_ROWS)]
        return PicturesWithTexts(
            [picture for part in parts for picture in part.pictures],
            [text for part in parts for text in part.texts],
        )

    def part(self, start: int) -> PicturesWithTexts:
        """The up to `ROW_GROUP_ROWS` items from row `start` on."""
        texts = [text or "" for text in self._texts.slice(start, ROW_GROUP_ROWS).to_pylist()]
        return PicturesWithTexts(self._pictures(start, len(texts)), texts)

    def _pictures(self, start: int, count: int) -> list[bytes | None]:
        """Bytes of `count` rows from `start` on; only the row groups that hold them are read."""
        found: list[bytes | None] = []
        with (
            reading(self._images, "a Parquet file", made_by("images")),
            pq.ParquetFile(self._images) as file,
        ):
            begin = 0
            for group in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                low, high = max(start - begin, 0), min(start + count - begin, rows)
                if low < high:
                    column = file.read_row_group(group, columns=["bytes"])["bytes"]
                    found += column.slice(low, high - low).to_pylist()
                begin += rows
        return found
