"""A picture that cannot be had never shifts a row, and a kill costs no finished shard."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lmm4rec.catalogue.downloads import TransientError
from lmm4rec.catalogue.pictures import collection
from lmm4rec.catalogue.pictures.collection import ImagesParams, collect_images
from lmm4rec.catalogue.public_addresses import RefusedAddressError
from lmm4rec.errors import InputError

PARAMS = ImagesParams(
    short_side_pixels=16,
    jpeg_quality=90,
    minimum_side_pixels=8,
    maximum_bytes=100_000,
    maximum_pixels=10_000,
    timeout_seconds=1.0,
    attempts=1,
    maximum_unreachable_share=0.05,
)


def jpeg(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (12, 12), (number % 256, 5, 5)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "ROW_GROUP_ROWS", 8)


class Shop:
    """Answers links `http://shop/<number>`, oddly for some numbers; counts who asked."""

    def __init__(
        self,
        closed: set[int] | None = None,
        dies_at: int | None = None,
        inside: tuple[int, ...] = (),
    ) -> None:
        self.asked: list[int] = []
        self.inside = inside
        self.closed, self.dies_at = closed or set(), dies_at

    def __call__(self, link: str) -> bytes | None:
        number = int(link.rpartition("/")[2])
        self.asked.append(number)
        if number == self.dies_at:
            raise KeyboardInterrupt
        if number in self.inside:
            raise RefusedAddressError("shop is 10.0.0.1, which is no public address")
        if number in self.closed:
            raise TransientError("closed")
        odd = {3: None, 10: b"<html>", 11: bytes(200_000), 20: jpeg(1)[:80]}
        return odd[number] if number in odd else jpeg(number)


def catalogue(n: int) -> pa.Table:
    links = [None if number == 5 else f"http://shop/{number}" for number in range(n)]
    ids = [f"item-{number:03d}" for number in range(n)]
    return pa.table({"item_id": ids, "image": pa.array(links, pa.string())})


def collect(root: Path, shop: Shop, n: int = 30, threads: int = 3) -> dict[str, int]:
    for name in ("out", "scratch"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return collect_images(catalogue(n), shop, root / "out", root / "scratch", PARAMS, threads)


def test_every_item_has_its_own_row_and_status(tmp_path: Path) -> None:
    counts = collect(tmp_path, Shop())
    assert counts == {"ok": 25, "no-link": 1, "not-found": 1, "not-an-image": 2, "too-large": 1}
    file = pq.ParquetFile(tmp_path / "out" / "images.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(4)] == [8, 8, 8, 6]
    rows = file.read().to_pylist()
    assert [row["item_id"] for row in rows] == catalogue(30)["item_id"].to_pylist()
    statuses = {number: row["status"] for number, row in enumerate(rows) if row["status"] != "ok"}
    assert statuses == {
        3: "not-found", 5: "no-link", 10: "not-an-image", 11: "too-large", 20: "not-an-image"
    }  # fmt: skip
    for number, row in enumerate(rows):
        assert (row["bytes"] is None) == (row["status"] != "ok")
        if row["bytes"]:
            red = Image.open(io.BytesIO(row["bytes"])).getpixel((6, 6))[0]
            assert abs(red - number) <= 6


def test_kill_in_the_middle_keeps_finished_shards(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path / "killed", Shop(dies_at=21), threads=1)
    assert not (tmp_path / "killed" / "out" / "images.parquet").exists()
    second = Shop()
    collect(tmp_path / "killed", second)
    assert min(second.asked) == 16  # the first two shards stood
    collect(tmp_path / "whole", Shop(), threads=1)
    images = [tmp_path / name / "out" / "images.parquet" for name in ("killed", "whole")]
    assert images[0].read_bytes() == images[1].read_bytes()


def test_unreachable_pictures_alone_are_asked_for_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 of 30 pictures .* \(first: item item-007\)"):
        collect(tmp_path, Shop(closed={7, 25}))
    later = Shop()
    assert collect(tmp_path, later)["ok"] == 25
    assert sorted(later.asked) == [7, 25]


def test_few_unreachable_pictures_count_as_not_found(tmp_path: Path) -> None:
    assert collect(tmp_path, Shop(closed={7}))["not-found"] == 2
    statuses = pq.read_table(tmp_path / "out" / "images.parquet")["status"].to_pylist()
    assert statuses[7] == "not-found"


def test_refused_links_are_counted_told_and_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another run may have the option that allows them; what else stands is not asked for."""
    with pytest.raises(InputError, match="could not be reached"):
        collect(tmp_path, Shop(closed={7, 25}, inside=(1, 9)))
    again = Shop(inside=(1, 9))
    counts = collect(tmp_path, again)
    assert sorted(again.asked) == [1, 7, 9, 25]
    assert counts["refused"] == 2 and counts["ok"] == 23 and sum(counts.values()) == 30
    statuses = pq.read_table(tmp_path / "out" / "images.parquet")["status"].to_pylist()
    assert [number for number, status in enumerate(statuses) if status == "refused"] == [1, 9]
    assert "2 links lead where nothing is asked; first: item item-00" in caplog.text
    assert "shop is 10.0.0.1" in caplog.text
