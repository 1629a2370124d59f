"""Pictures are read part by part, whatever row groups they were written in."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lmm4rec.features import items
from lmm4rec.features.items import Catalogue
from tests.catalogue import toy_catalogue as toy


@pytest.mark.parametrize("group_rows", [1, 3, 4, 7, 19, 30])
@pytest.mark.parametrize("part_rows", [1, 4, 5, 40])
def test_parts_that_cross_row_groups_hold_the_pictures_of_their_texts(
    group_rows: int, part_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "ROW_GROUP_ROWS", part_rows)
    pictures = [None if row % 5 == 3 else b"picture %d" % row for row in range(19)]
    texts = [f"text {row}" for row in range(19)]
    toy.write_catalogue(tmp_path, pictures, texts)
    place = tmp_path / "data/images/toy/images.parquet"
    pq.write_table(pq.read_table(place), place, row_group_size=group_rows)
    catalogue = Catalogue(tmp_path / "data/corpus/toy", tmp_path / "data/images/toy")
    for start in range(0, 19, part_rows):
        part = catalogue.part(start)
        assert list(part.pictures) == pictures[start : start + part_rows]
        assert list(part.texts) == texts[start : start + part_rows]
    whole = catalogue.in_memory()
    assert (list(whole.pictures), list(whole.texts)) == (pictures, texts)
