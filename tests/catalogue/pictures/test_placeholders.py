"""Pictures that many items share are counted, and told where they are most."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from lmm4rec.catalogue.pictures.archive import write_archive
from lmm4rec.catalogue.pictures.collection import collect_images
from lmm4rec.catalogue.pictures.links import from_archive
from lmm4rec.catalogue.pictures.matching import picture_table
from tests.catalogue.pictures.test_collection import PARAMS, jpeg


def test_a_placeholder_of_many_items_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = tmp_path / "images.zip"
    same = jpeg(1)
    write_archive(archive, [(f"{k}.jpg", same if k < 3 else jpeg(9)) for k in range(4)])
    pictures = picture_table({f"{k}": [f"{k}.jpg"] for k in range(4)})
    (tmp_path / "out").mkdir()
    (tmp_path / "scratch").mkdir()
    ids = pa.array([f"{k}" for k in range(4)])
    collect_images(
        ids, pictures, from_archive(archive), tmp_path / "out", tmp_path / "scratch", PARAMS, 1
    )
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert about["items_sharing_a_picture"] == 3
    assert "3 of 4 pictures are another item's too: placeholders?" in caplog.text
