"""Catalogues whose files come from the network, or from the mirror that stands in for it."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lmm4rec.catalogue.downloads import RemoteFile
from lmm4rec.catalogue.raw.catalogue import RawCatalogue, open_raw
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.sources import FetchedSource, read_source
from lmm4rec.catalogue.sources.presets import read_presets
from lmm4rec.errors import InputError
from lmm4rec.params import check_section
from tests.catalogue.sources.amazon_lines import reviewed
from tests.local_server import local_server

CONTENTS = {
    "reviews": gzip.compress(reviewed("i")[0].encode()),
    "metadata": gzip.compress(b'{"asin": "i", "title": "t"}'),
}


def remote(url: str, sha256: str | None = None) -> RemoteFile:
    return RemoteFile(url=url, sha256=sha256)


def brought(source: FetchedSource, folder: Path) -> RawCatalogue:
    """As stage download brings it, whose section lies beside."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    source.download(raw, folder / "scratch", folder / "salt")
    (raw / "source.json").write_text("ours")
    return open_raw(raw)


def reading() -> Reading:
    return Reading(0.0, False)


def assert_both_are_read(raw: RawCatalogue) -> None:
    assert raw.interactions(reading())["user_id"].to_pylist() == ["u1"]
    assert raw.items(pa.array(["i"]), reading())["title"].to_pylist() == ["t"]


def test_download_verifies_and_records_sums(tmp_path: Path) -> None:
    sum_ = hashlib.sha256(CONTENTS["metadata"]).hexdigest()
    with local_server() as server:
        server.files = {
            "/d/reviews_X_5.json.gz": CONTENTS["reviews"],
            "/d/meta_X.json.gz": CONTENTS["metadata"],
        }
        reviews = remote(server.address("/d/reviews_X_5.json.gz"))
        metadata = remote(server.address("/d/meta_X.json.gz"), sum_)
        files = {"reviews": reviews, "metadata": metadata}
        raw = brought(FetchedSource(fetch=files), tmp_path / "right")
        wrong = {**files, "metadata": remote(metadata.url, "0" * 64)}
        with pytest.raises(InputError, match=rf"SHA-256 is {sum_}, not the 0000"):
            brought(FetchedSource(fetch=wrong), tmp_path / "wrong")
    sums = json.loads((raw.folder.parent / "checksums.json").read_text())
    assert sums == {
        "meta_X.json.gz": sum_,
        "reviews_X_5.json.gz": hashlib.sha256(CONTENTS["reviews"]).hexdigest(),
    }
    assert (raw.folder / "meta_X.json.gz").read_bytes() == CONTENTS["metadata"]
    assert_both_are_read(raw)


@pytest.mark.parametrize(
    ("reviews", "metadata"),
    [
        ("/rev/Baby.json.gz", "/meta/Baby.json.gz"),
        ("/get?f=rev", "/get?f=meta"),
        ("/source.json", "/meta.json.gz"),
        ("/checksums.json", "/recipe.json"),
        ("/a.gz", "/a.gz.part"),
        ("/a.gz.part.validator", "/a.gz"),
    ],
)
@pytest.mark.parametrize("is_mirrored", [False, True])
def test_files_whose_addresses_end_alike_or_as_ours_do_are_two(
    is_mirrored: bool, reviews: str, metadata: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_server() as server:
        server.files = {reviews: CONTENTS["reviews"], metadata: CONTENTS["metadata"]}
        files = {"reviews": server.address(reviews), "metadata": server.address(metadata)}
        source = FetchedSource(fetch={role: remote(url) for role, url in files.items()})
        if is_mirrored:
            (tmp_path / "mirror").mkdir()
            for role, name in source._names().items():
                (tmp_path / "mirror" / name).write_bytes(CONTENTS[role])
            monkeypatch.setenv("LMM4REC_MIRROR", str(tmp_path / "mirror"))
        raw = brought(source, tmp_path)
    assert_both_are_read(raw)
    assert len(json.loads((raw.folder.parent / "checksums.json").read_text())) == 2


def test_a_file_alone_is_a_catalogue_without_texts(tmp_path: Path) -> None:
    with local_server() as server:
        server.files = {"/r.json.gz": CONTENTS["reviews"]}
        raw = brought(
            FetchedSource(fetch={"reviews": remote(server.address("/r.json.gz"))}), tmp_path
        )
    assert raw.interactions(reading()).num_rows == 1
    assert raw.items(pa.array(["i"]), reading()).num_rows == 0


def test_what_is_no_gzip_is_refused_where_it_comes(tmp_path: Path) -> None:
    with local_server() as server:
        server.files = {"/r.json.gz": b"<html>moved</html>"}
        source = FetchedSource(fetch={"reviews": remote(server.address("/r.json.gz"))})
        with pytest.raises(InputError, match=r"r\.json\.gz: .*web page"):
            brought(source, tmp_path)


@pytest.mark.parametrize("preset", [name for name, one in read_presets().items() if one.fetch])
def test_a_category_of_a_release_comes_by_its_name(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a mirror, whose files are called as the addresses end."""
    source = FetchedSource(preset=preset, category="Toys_and_Games")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for role, file in source.remote_files().items():
        name = file.url.rpartition("/")[2]
        assert "Toys_and_Games" in name and not {"{", "}"} & set(file.url)
        (mirror / name).write_bytes(LINES[preset][role])
    monkeypatch.setenv("LMM4REC_MIRROR", str(mirror))
    raw = brought(source, tmp_path)
    assert raw.recipe.preset == preset and raw.recipe.new_arrivals == "exclude"
    assert_both_are_read(raw)


_ITEM_2018 = b'{"asin": "i", "title": "t", "also_buy": []}'
_REVIEW_2023 = (
    b'{"user_id": "u1", "parent_asin": "i", "asin": "j", "rating": 5.0, "timestamp": 1400000000123}'
)
_ITEM_2023 = b'{"parent_asin": "i", "main_category": "Toys", "title": "t"}'
LINES: dict[str, dict[str, bytes]] = {
    "amazon-2014": CONTENTS,
    "amazon-2018": {"reviews": CONTENTS["reviews"], "metadata": gzip.compress(_ITEM_2018)},
    "amazon-2023": {
        "reviews": gzip.compress(_REVIEW_2023), "metadata": gzip.compress(_ITEM_2023),
    },
}  # fmt: skip


def test_a_sum_of_a_category_is_held_against_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "reviews_Baby_5.json.gz").write_bytes(CONTENTS["reviews"])
    (mirror / "meta_Baby.json.gz").write_bytes(CONTENTS["metadata"])
    monkeypatch.setenv("LMM4REC_MIRROR", str(mirror))
    source = FetchedSource(preset="amazon-2014", category="Baby", sha256={"metadata": "a" * 64})
    with pytest.raises(InputError, match=r"meta_Baby\.json\.gz: the file's SHA-256 is"):
        brought(source, tmp_path)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a category of no preset": ({"category": "Baby"}, "preset None no addresses .* amazon-2014"),
    "a category of another preset": (
        {"category": "Baby", "preset": "steam"}, "preset steam no addresses of categories; choose",
    ),
    "both": (
        {"category": "Baby", "preset": "amazon-2014", "fetch": {"a": {"url": "u", "sha256": None}}},
        "either a category of a preset or files to fetch, and not both",
    ),
    "nothing to fetch": ({"fetch": {}}, r"fetch should not be empty"),
    "a sum of what is not fetched": (
        {"category": "Baby", "preset": "amazon-2014", "sha256": {"metdata": "a" * 64}},
        "a sum of metdata, which amazon-2014 does not fetch; it fetches reviews, metadata",
    ),
    "a sum that is none": (
        {"category": "Baby", "preset": "amazon-2014", "sha256": {"metadata": "abc"}},
        r"sha256\.metadata should be a SHA-256",
    ),
    "a role that is no name": (
        {"fetch": {"../x": {"url": "http://h/a", "sha256": None}}},
        "fetches '../x', which cannot be a name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fetched_is_refused_in_the_section(case: str) -> None:
    section, message = REFUSED[case]
    with pytest.raises(InputError, match=rf"(?s)datasets\.toys\.source.*{message}"):
        check_section(section, FetchedSource, "datasets.toys.source", Path("params.yaml"))


def test_a_section_with_a_category_or_files_is_fetched_without_being_told(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        "datasets:\n"
        "  a: {source: {preset: amazon-2014, category: Baby}}\n"
        "  b: {source: {fetch: {reviews: {url: 'http://h/r.gz', sha256: null}}}}\n"
        "  c: {source: {}}\n"
    )
    kinds = {name: type(read_source(path, name)).__name__ for name in "abc"}
    assert kinds == {"a": "FetchedSource", "b": "FetchedSource", "c": "FolderSource"}
