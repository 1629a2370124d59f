"""A picture that cannot be had never shifts a row, and a kill costs no finished shard."""

import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lmm4rec.catalogue.corpus import PICTURES_SCHEMA
from lmm4rec.catalogue.downloads import TransientError
from lmm4rec.catalogue.pictures import collection
from lmm4rec.catalogue.pictures.collection import ImagesParams, collect_images
from lmm4rec.catalogue.pictures.images import MORE_IMAGES_SCHEMA
from lmm4rec.catalogue.public_addresses import RefusedAddressError
from lmm4rec.errors import InputError
from lmm4rec.params import check_section

PARAMS = ImagesParams(
    short_side_pixels=16,
    jpeg_quality=90,
    minimum_side_pixels=8,
    maximum_bytes=100_000,
    maximum_pixels=10_000,
    pictures_per_item=1,
    timeout_seconds=1.0,
    attempts=1,
    maximum_unreachable_share=0.05,
)


def jpeg(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (12, 12), (5 * number, 5, 5)).save(stream, "JPEG", quality=95)
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


IDS = pa.array([f"item-{number:03d}" for number in range(30)])


def pictures(named: dict[int, list[int]]) -> pa.Table:
    """Of item number -> numbers of its pictures."""
    rows = [
        {"item_id": IDS[item].as_py(), "position": at, "picture": f"http://shop/{number}"}
        for item, numbers in sorted(named.items())
        for at, number in enumerate(numbers)
    ]
    return pa.Table.from_pylist(rows, schema=PICTURES_SCHEMA)


ONE_EACH = pictures({number: [number] for number in range(30) if number != 5})


def collect(
    root: Path,
    shop: Shop,
    named: pa.Table = ONE_EACH,
    threads: int = 3,
    wanted: int | str = 1,
) -> dict[str, int]:
    for name in ("out", "scratch"):
        (root / name).mkdir(parents=True, exist_ok=True)
    params = ImagesParams.model_validate(PARAMS.model_dump() | {"pictures_per_item": wanted})
    return collect_images(IDS, named, shop, root / "out", root / "scratch", params, threads)


def stored(root: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a file of pictures, each with its red instead of its bytes."""
    rows = pq.read_table(root / "out" / name).to_pylist()
    return [{**row, "bytes": red(row["bytes"])} for row in rows]


def red(content: bytes | None) -> int | None:
    if content is None:
        return None
    found = Image.open(io.BytesIO(content)).getpixel((6, 6))
    assert isinstance(found, tuple)
    return round(found[0] / 5)


def test_every_item_has_its_own_row_and_status(tmp_path: Path) -> None:
    counts = collect(tmp_path, Shop())
    assert counts == {"ok": 25, "no-link": 1, "not-found": 1, "not-an-image": 2, "too-large": 1}
    file = pq.ParquetFile(tmp_path / "out" / "images.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(4)] == [8, 8, 8, 6]
    rows = file.read().to_pylist()
    assert [row["item_id"] for row in rows] == IDS.to_pylist()
    statuses = {number: row["status"] for number, row in enumerate(rows) if row["status"] != "ok"}
    assert statuses == {
        3: "not-found", 5: "no-link", 10: "not-an-image", 11: "too-large", 20: "not-an-image"
    }  # fmt: skip
    for number, row in enumerate(rows):
        assert (row["bytes"] is None) == (row["status"] != "ok")
        assert row["bytes"] is None or red(row["bytes"]) == number
    more = pq.read_table(tmp_path / "out" / "more_images.parquet")
    assert (more.schema, more.num_rows) == (MORE_IMAGES_SCHEMA, 0)
    assert json.loads((tmp_path / "out" / "about.json").read_text()) == {
        "items": 30, "pictures_by_status": counts, "pictures_named": 29, "pictures_tried": 29,
        "pictures_kept": 25, "items_with_another_than_their_first": 0,
        "items_sharing_a_picture": 0,
    }  # fmt: skip


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
    with pytest.raises(InputError, match=r"pictures of 2 of 30 items .* \(first: item item-007\)"):
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


# ------------------------------------------------------------------------ several pictures an item


SEVERAL = {
    0: [3, 10, 7, 8],  # dead, broken, good, good
    1: [11, 9],  # too large, good
    2: [3, 20],  # dead, broken: the last reason stands
    4: [12, 3, 13, 14],
    29: [15],
}


def test_the_next_one_that_opens_stands_in(tmp_path: Path) -> None:
    shop = Shop()
    counts = collect(tmp_path, shop, pictures(SEVERAL))
    assert counts["ok"] == 4 and counts["not-an-image"] == 1 and counts["no-link"] == 25
    found = {row["item_id"]: row for row in stored(tmp_path, "images.parquet")}
    kept = {number: found[IDS[number].as_py()] for number in SEVERAL}
    assert {number: (row["status"], row["bytes"]) for number, row in kept.items()} == {
        0: ("ok", 7), 1: ("ok", 9), 2: ("not-an-image", None), 4: ("ok", 12), 29: ("ok", 15)
    }  # fmt: skip
    assert sorted(shop.asked) == [3, 3, 7, 9, 10, 11, 12, 15, 20]  # none after one that opens
    assert stored(tmp_path, "more_images.parquet") == []
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    assert about["pictures_named"] == 13 and about["pictures_tried"] == 9
    assert about["pictures_kept"] == 4 and about["items_with_another_than_their_first"] == 2


@pytest.mark.parametrize(
    ("wanted", "more"),
    [
        (2, {0: [(0, 3), (1, 10), (3, 8)], 1: [(0, 11)], 2: [(0, 3)], 4: [(1, 3), (2, 13)]}),
        ("all", {0: [(0, 3), (1, 10), (3, 8)], 1: [(0, 11)], 2: [(0, 3)],
                 4: [(1, 3), (2, 13), (3, 14)]}),
    ],
)  # fmt: skip
def test_several_are_kept(
    wanted: int | str, more: dict[int, list[tuple[int, int]]], tmp_path: Path
) -> None:
    status = {3: "not-found", 10: "not-an-image", 11: "too-large"}
    collect(tmp_path / "one", Shop(), pictures(SEVERAL))
    collect(tmp_path / "more", Shop(), pictures(SEVERAL), wanted=wanted)
    mains = [(tmp_path / name / "out" / "images.parquet").read_bytes() for name in ("one", "more")]
    assert mains[0] == mains[1]
    assert stored(tmp_path / "more", "more_images.parquet") == [
        {"item_id": IDS[item].as_py(), "position": at, "status": status.get(number, "ok"),
         "bytes": None if number in status else number}
        for item, others in more.items()
        for at, number in others
    ]  # fmt: skip
    about = json.loads((tmp_path / "more" / "out" / "about.json").read_text())
    assert about["pictures_kept"] == 4 + sum(n not in status for o in more.values() for _, n in o)


def test_choices_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    rng = random.Random(3)
    numbers = [3, 10, 11, 20, *range(30, 40)]
    named = {item: rng.choices(numbers, k=rng.randint(1, 6)) for item in range(0, 30, 2)}
    for wanted in (1, 2, 3, "all"):
        root = tmp_path / str(wanted)
        collect(root, Shop(), pictures(named), wanted=wanted)
        rows = stored(root, "images.parquet") + stored(root, "more_images.parquet")
        kept = {
            item: [row["bytes"] for row in rows if row["item_id"] == IDS[item].as_py()]
            for item in named
        }
        for item, of_item in named.items():
            good = [number for number in of_item if number >= 30]
            expected = good if wanted == "all" else good[: int(wanted)]
            assert [one for one in kept[item] if one is not None] == expected


def test_one_out_of_reach_is_stood_in_for_and_asked_for_again(tmp_path: Path) -> None:
    """More than the share allows: the run ends, and the next asks for its main picture again."""
    named = pictures({0: [7, 8], 1: [9, 8], 2: [12]})
    with pytest.raises(InputError, match=r"pictures of 2 of 30 items"):
        collect(tmp_path, Shop(closed={7, 9}), named)
    later = Shop(closed={9})
    assert collect(tmp_path, later, named)["ok"] == 3
    assert sorted(later.asked) == [7, 8, 9]
    assert [row["bytes"] for row in stored(tmp_path, "images.parquet")[:3]] == [7, 8, 12]


def test_what_stays_out_of_reach_is_not_found_among_several(tmp_path: Path) -> None:
    collect(tmp_path, Shop(closed={9}), pictures({0: [7, 9, 8]}), wanted="all")
    others = stored(tmp_path, "more_images.parquet")
    assert [(row["position"], row["status"]) for row in others] == [(1, "not-found"), (2, "ok")]


def test_a_kill_costs_no_shard_of_several(tmp_path: Path) -> None:
    named = pictures({number: [number, 30 + number, 3] for number in range(30)})
    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path / "killed", Shop(dies_at=51), named, threads=1, wanted="all")
    second = Shop()
    collect(tmp_path / "killed", second, named, wanted="all")
    assert min(set(second.asked) - {3}) == 16
    collect(tmp_path / "whole", Shop(), named, threads=1, wanted="all")
    for name in ("images.parquet", "more_images.parquet", "about.json"):
        killed, whole = (tmp_path / run / "out" / name for run in ("killed", "whole"))
        assert killed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("order", [[1, 0], [0, 40]])
def test_pictures_of_another_corpus_are_a_sentence(order: list[int], tmp_path: Path) -> None:
    rows = [{"item_id": f"item-{item:03d}", "position": 0, "picture": "p"} for item in order]
    named = pa.Table.from_pylist(rows, schema=PICTURES_SCHEMA)
    with pytest.raises(InputError, match=r"picture_sources\.parquet: .* run stage preprocess"):
        collect(tmp_path, Shop(), named)


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "two", None])
def test_pictures_per_item_is_a_number_or_all(value: Any) -> None:
    section = PARAMS.model_dump() | {"pictures_per_item": value}
    says = "images.pictures_per_item should be a whole number from 1 to 10000, or the word all, not"
    with pytest.raises(InputError, match=says):
        check_section(section, ImagesParams, "images", Path("params.yaml"))
