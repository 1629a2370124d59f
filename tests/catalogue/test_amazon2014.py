"""The 2014 format, dirt included."""

import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from lmm4rec.catalogue.sources.amazon2014 import (
    Amazon2014Source,
    RemoteFile,
    read_metadata,
    read_reviews,
)

from lmm4rec.catalogue.sources.base import Reading
from lmm4rec.errors import InputError
from tests.local_server import local_server


def reading(share: float = 0.0, accept_truncated: bool = False) -> Reading:
    return Reading(share, accept_truncated)


def gz(path: Path, lines: Sequence[str]) -> Path:
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def review(user: str, item: str, stars: float = 5.0, when: int = 1) -> dict[str, object]:
    return {"reviewerID": user, "asin": item, "overall": stars, "unixReviewTime": when}


def test_reviews_as_json_or_as_python_literals(tmp_path: Path) -> None:
    rows = [review("u1", "i1", 4.0, 7), review("u'2", "i2")]
    as_json = read_reviews(gz(tmp_path / "a.gz", [json.dumps(row) for row in rows]), reading())
    as_literals = read_reviews(gz(tmp_path / "b.gz", [repr(row) for row in rows]), reading())
    assert as_json.equals(as_literals)
    assert as_json.select(["user_id", "item_id", "rating", "timestamp"]).to_pylist() == [
        {"user_id": "u1", "item_id": "i1", "rating": 4.0, "timestamp": 7},
        {"user_id": "u'2", "item_id": "i2", "rating": 5.0, "timestamp": 1},
    ]


def test_lines_are_never_evaluated(tmp_path: Path) -> None:
    trap = "{'asin': 'i1', 'title': __import__('os').system('touch " + str(tmp_path / "x") + "')}"
    counted = reading(share=1.0)
    assert not read_metadata(gz(tmp_path / "m.gz", [trap]), pa.array(["i1"]), counted).num_rows
    assert counted.counts["unparsable_lines"] == 1
    assert not (tmp_path / "x").exists()


def test_unparsable_lines_are_counted_up_to_a_share(tmp_path: Path) -> None:
    lines = [json.dumps(review(f"u{number}", "i")) for number in range(96)]
    lines[10:10] = ["{broken", '{"asin": "i"}', "[]", "(" * 500]
    path = gz(tmp_path / "reviews.gz", lines)
    counted = reading(share=0.04)
    assert read_reviews(path, counted).num_rows == 96
    assert counted.counts["unparsable_lines"] == 4
    with pytest.raises(
        InputError, match=r"reviews\.gz: 4 of 100 lines cannot be read \(first: line 11\)"
    ):
        read_reviews(path, reading(share=0.039))


def test_missing_ids_stay_for_the_next_step_to_count(tmp_path: Path) -> None:
    row = {"overall": 5.0, "unixReviewTime": 1, "asin": "i"}
    table = read_reviews(gz(tmp_path / "r.gz", [json.dumps(row)]), reading())
    assert table["user_id"].to_pylist() == [None]


def test_truncated_file(tmp_path: Path) -> None:
    lines = [json.dumps(review(hashlib.sha256(b"%d" % n).hexdigest(), "i")) for n in range(2000)]
    path = gz(tmp_path / "reviews.gz", lines)
    whole = read_reviews(path, reading())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"reviews\.gz: breaks off .*accept_truncated: true"):
        read_reviews(path, reading())
    counted = reading(accept_truncated=True)
    part = read_reviews(path, counted)
    assert 0 < part.num_rows < 2000 and part.equals(whole.slice(0, part.num_rows))
    assert counted.counts["truncated_files"] == 1
    assert counted.counts["unparsable_lines"] == 0  # the torn line is no line


DAMAGED = bytearray(gzip.compress(json.dumps(review("u1", "i1")).encode(), mtime=0))
DAMAGED[-6] ^= 1  # in the checksum


@pytest.mark.parametrize(
    "content", [b"<html>moved</html>", bytes(DAMAGED)], ids=["html", "damaged"]
)
def test_what_is_no_gzip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "reviews.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"reviews\.gz: not a sound gzip file"):
        read_reviews(tmp_path / "reviews.gz", reading())


def test_metadata_fields(tmp_path: Path) -> None:
    full = {
        "asin": "i1",
        "title": "Bread &amp; Butter\n  Dish",
        "brand": "It's",
        "categories": [["Home", "Kitchen"], ["Other"]],
        "description": "line\nline",
        "imUrl": " http://shop/a.jpg ",
        "related": {"also_bought": ["i2"]},
    }
    path = gz(tmp_path / "m.gz", [repr(full), repr({"asin": "i2"}), repr({"asin": "unwanted"})])
    items = read_metadata(path, pa.array(["i1", "i2", "i3"]), reading()).to_pylist()
    assert items == [
        {
            "item_id": "i1",
            "title": "Bread & Butter Dish",
            "brand": "It's",
            "categories": "Home Kitchen",
            "description": "line line",
            "image": "http://shop/a.jpg",
        },
        {
            "item_id": "i2",
            "title": "",
            "brand": "",
            "categories": "",
            "description": "",
            "image": None,
        },
    ]


def test_first_of_a_repeated_asin_is_kept_wherever_its_key_stands(tmp_path: Path) -> None:
    lines = [
        "{'title': 'one', 'asin': 'i1'}",
        "{'asin': 'i1', 'title': 'two'}",
        '{"asin": "i2", "title": "json"}',
        "{'asin': \"i'3\", 'title': 'quoted'}",
    ]
    counted = reading()
    wanted = pa.array(["i1", "i2", "i'3"])
    items = read_metadata(gz(tmp_path / "m.gz", lines), wanted, counted)
    assert items["title"].to_pylist() == ["one", "json", "quoted"]
    assert counted.counts["duplicate_items"] == 1


def test_unwanted_lines_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [repr({"asin": f"i{number}", "title": "t"}) for number in range(50)]
    parsed = []
    monkeypatch.setattr(
        "lmm4rec.catalogue.sources.amazon2014._parse",
        lambda line: parsed.append(line) or {"asin": "i7", "title": "t"},
    )
    read_metadata(gz(tmp_path / "m.gz", lines), pa.array(["i7"]), reading())
    assert len(parsed) == 1


def test_download_verifies_and_records_sums(tmp_path: Path) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    with local_server() as server:
        server.files = {"/d/reviews_X_5.json.gz": b"reviews", "/d/meta_X.json.gz": b"meta"}
        sum_ = hashlib.sha256(b"meta").hexdigest()
        source = Amazon2014Source(
            kind="amazon2014",
            revision=1,
            reviews=RemoteFile(url=server.address("/d/reviews_X_5.json.gz"), sha256=None),
            metadata=RemoteFile(url=server.address("/d/meta_X.json.gz"), sha256=sum_),
        )
        source.download(out, scratch)
    sums = json.loads((out / "checksums.json").read_text())
    assert sums["meta_X.json.gz"] == sum_
    assert sums["reviews_X_5.json.gz"] == hashlib.sha256(b"reviews").hexdigest()
    assert (out / "meta_X.json.gz").read_bytes() == b"meta"


@pytest.mark.parametrize(
    ("reviews", "metadata"),
    [
        ("/rev/Baby.json.gz", "/meta/Baby.json.gz"),
        ("/get?f=rev", "/get?f=meta"),
        ("/source.json", "/meta.json.gz"),
        ("/checksums.json", "/reviews-checksums.json"),
        ("/a.gz", "/a.gz.part"),
        ("/a.gz.part.validator", "/a.gz"),
    ],
)
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_files_whose_addresses_end_alike_are_two(
    is_mirrored: bool, reviews: str, metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    contents = {
        "reviews": gzip.compress(b'{"reviewerID": "u", "asin": "i", "overall": 5, '
                                 b'"unixReviewTime": 1}'),
        "metadata": gzip.compress(b'{"asin": "i", "title": "t"}'),
    }  # fmt: skip
    with local_server() as server:
        server.files = {reviews: contents["reviews"], metadata: contents["metadata"]}
        source = Amazon2014Source(
            kind="amazon2014",
            revision=1,
            reviews=RemoteFile(url=server.address(reviews), sha256=None),
            metadata=RemoteFile(url=server.address(metadata), sha256=None),
        )
        if is_mirrored:
            (tmp_path / "mirror").mkdir()
            for role, name in source._names().items():
                (tmp_path / "mirror" / name).write_bytes(contents[role])
            monkeypatch.setenv("LMM4REC_MIRROR", str(tmp_path / "mirror"))
        source.download(out, scratch)
    (out / "source.json").write_text("ours")  # as the stage does
    assert source.read_interactions(out, reading())["user_id"].to_pylist() == ["u"]
    assert source.read_items(out, pa.array(["i"]), reading())["title"].to_pylist() == ["t"]
    assert len(json.loads((out / "checksums.json").read_text())) == 2


def test_without_metadata_no_item_is_described(tmp_path: Path) -> None:
    reviews = RemoteFile(url="http://x/reviews.json.gz", sha256=None)
    source = Amazon2014Source(kind="amazon2014", revision=1, reviews=reviews, metadata=None)
    assert source.read_items(tmp_path, pa.array(["i1"]), reading()).num_rows == 0
