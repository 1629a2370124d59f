"""A shop's export that is fetched is kept as one that is linked: nobody in it can be told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lmm4rec.catalogue.downloads import RemoteFile
from lmm4rec.catalogue.raw.catalogue import open_raw
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.sources import FetchedSource
from tests.catalogue.sources.test_formats import FORMATS


def test_personal_data_stay_out_and_pictures_are_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, raw = tmp_path / "mirror", tmp_path / "raw"
    shop = FORMATS / "22_shopify"
    mirror.mkdir()
    raw.mkdir()
    for name in ("orders_export_1.csv", "products_export_1.csv"):
        shutil.copy(shop / name, mirror)
    shutil.make_archive(str(mirror / "photos"), "zip", shop / "mirror")
    monkeypatch.setenv("LMM4REC_MIRROR", str(mirror))
    names = ("orders_export_1.csv", "products_export_1.csv", "photos.zip")
    files = {n.split(".")[0]: RemoteFile(url=f"http://x.invalid/{n}", sha256=None) for n in names}
    source = FetchedSource(fetch=files, pictures="photos.zip")
    source.download(raw, tmp_path / "scratch", tmp_path / "salt")
    read = open_raw(raw)
    assert len(read.interactions(Reading(0.0, False))["user_id"].unique()) == 8
    kept = b"".join(path.read_bytes() for path in raw.rglob("*") if path.is_file())
    assert b"customer3@shop.invalid" not in kept
    assert len(read.picture_names) == 14
