"""JSON documents, merchant feeds and WebDataset tars."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.recognition import recognise
from lmm4rec.catalogue.readers.rows import column_names, read_rows
from lmm4rec.errors import InputError
from tests.catalogue.given import FORMATS


def reading(share: float = 0.0) -> Reading:
    return Reading(maximum_unparsable_share=share, accept_truncated=False)


def test_items_by_id() -> None:
    path = FORMATS / "19_polyvore/polyvore_item_metadata.json"
    read = read_rows([path], recognise(path), ["id", "title", "url_name", "catgeories"], reading())
    first = read.slice(0, 1).to_pylist()[0]
    assert first["id"] == "100000500"
    assert first["title"] is None
    assert first["url_name"] == "oak desk lamp"
    assert json.loads(first["catgeories"]) == ["Home", "Lighting", "Lamps"]


def test_sets_and_their_members() -> None:
    paths = sorted((FORMATS / "19_polyvore/nondisjoint").glob("*.json"))
    read = read_rows(paths, recognise(paths[0]), ["user", "item"], reading())
    assert read.num_rows == 60
    assert len(set(read["user"].to_pylist())) == 8
    assert len(set(read["item"].to_pylist())) == 10


def test_baskets_by_user(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text('{"0": [7, "01"], "3": []}', encoding="utf-8")
    read = read_rows([path], recognise(path), ["user", "item"], reading())
    assert list(zip(read["user"].to_pylist(), read["item"].to_pylist(), strict=True)) == [
        ("0", "7"),
        ("0", "01"),
    ]


def test_numbers_by_id(tmp_path: Path) -> None:
    path = tmp_path / "item2id.json"
    path.write_text(json.dumps({f"{k:05d}": k for k in range(60)}), encoding="utf-8")
    layout = recognise(path)
    assert layout.family == "json-mapping"
    assert column_names(path, layout) == ["id", "value"]
    read = read_rows([path], layout, ["id", "value"], reading())
    assert read["id"].to_pylist()[7] == "00007" and read["value"].to_pylist()[7] == "7"


def test_a_list_of_objects(tmp_path: Path) -> None:
    path = tmp_path / "items.json.gz"
    path.write_bytes(gzip.compress(b'[{"id": 9007199254740993, "t": "a"},\n {"u": [1, null]}]'))
    layout = recognise(path)
    assert column_names(path, layout) == ["id", "t", "u"]
    read = read_rows([path], layout, ["id", "u"], reading(), ids=["id"])
    assert read["id"].to_pylist() == ["9007199254740993", None]
    assert read["u"].to_pylist() == [None, "[1,null]"]


BROKEN = {
    "cut short": ('{"0": [7, 1', "not valid JSON"),
    "another shape": ('{"0": [7], "1": 5}', r"expected \{user: \[item, ...\]\}"),
    "deep": ("[" * 200_000, "not valid JSON"),
}


@pytest.mark.parametrize(("text", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_documents_that_cannot_be_read(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=why):
        read_rows([path], Layout(family="json-baskets"), ["user"], reading())


RSS = """<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>
<item><title>plain</title><g:id>GM-0003</g:id><g:title>Rain Jacket, Blue &amp; dry</g:title>
<g:image_link>https://cdn.invalid/GM-0003/0.jpg</g:image_link>
<g:additional_image_link>https://cdn.invalid/GM-0003/1.jpg</g:additional_image_link>
<g:additional_image_link>https://cdn.invalid/GM-0003/2.jpg</g:additional_image_link>
<g:shipping><g:country>DE</g:country></g:shipping></item>
<item><g:id>007</g:id><g:title></g:title><description><![CDATA[<p>x</p>]]></description></item>
</channel></rss>"""


def test_a_merchant_feed(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text(RSS, encoding="utf-8")
    layout = recognise(path)
    assert layout.family == "feed"
    names = column_names(path, layout)
    assert names[:2] == ["title", "id"] and "additional_image_link" in names
    read = read_rows(
        [path], layout, ["id", "title", "additional_image_link", "description"], reading()
    )
    assert read["id"].to_pylist() == ["GM-0003", "007"]
    assert read["title"].to_pylist() == ["Rain Jacket, Blue & dry", None]
    assert json.loads(read["additional_image_link"][0].as_py()) == [
        "https://cdn.invalid/GM-0003/1.jpg",
        "https://cdn.invalid/GM-0003/2.jpg",
    ]
    assert read["description"].to_pylist() == [None, "<p>x</p>"]
    assert read_rows([path], layout, ["shipping"], reading())["shipping"][0].as_py() == (
        '{"country": "DE"}'
    )


def test_an_atom_feed(tmp_path: Path) -> None:
    path = tmp_path / "feed.atom"
    path.write_text(
        '<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id>'
        '<link href="https://shop.invalid/1"/></entry></feed>',
        encoding="utf-8",
    )
    read = read_rows([path], recognise(path), ["id", "link"], reading())
    assert read["link"].to_pylist() == ["https://shop.invalid/1"]


def test_a_feed_that_is_no_sound_xml(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text(RSS[:-40], encoding="utf-8")
    with pytest.raises(InputError, match="not sound XML"):
        read_rows([path], Layout(family="feed"), ["id"], reading())


def test_a_feed_that_declares_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text(
        '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/hostname">]>\n<rss><item><id>&a;</id></item></rss>',
        encoding="utf-8",
    )
    with pytest.raises(InputError, match="declares entities"):
        read_rows([path], recognise(path), ["id"], reading())


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


MEMBERS = {
    "W000.side1.jpg": b"x",
    "W000.json": b'{"sku": "W000", "title": "Oak Desk Lamp"}',
    "W000.jpg": b"x",
    "W000.txt": b"A lamp. \n",
    "deep/TB-0.7.jpg": b"x",
    "deep/TB-0.7.json": b'{"sku": "TB-0.7"}',
    "W008.json": b'{"sku": "W008"}',
    "W008.cls": b"3",
}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_samples_of_a_tar(tmp_path: Path, mode: str) -> None:
    path = tar_of(tmp_path / "shard-0.tar", MEMBERS, mode)
    layout = recognise(path)
    assert layout.family == "tar-samples"
    assert column_names(path, layout) == ["key", "txt", "pictures", "sku", "title"]
    read = read_rows([path], layout, ["key", "sku", "txt", "pictures"], reading(), root=tmp_path)
    assert read["key"].to_pylist() == ["W000", "deep/TB-0", "W008"]
    assert read["sku"].to_pylist() == ["W000", None, "W008"]
    assert read["txt"].to_pylist() == ["A lamp.", None, None]
    assert [json.loads(one) if one else None for one in read["pictures"].to_pylist()] == [
        ["shard-0.tar#W000.jpg", "shard-0.tar#W000.side1.jpg"],
        ["shard-0.tar#deep/TB-0.7.jpg"],
        None,
    ]


def test_a_torn_sample_is_counted(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "s.tar", {"a.json": b"{", "a.jpg": b"x", "b.json": b'{"sku": "b"}'})
    counted = reading(0.5)
    read = read_rows([path], Layout(family="tar-samples"), ["key", "sku"], counted)
    assert read["sku"].to_pylist() == [None, "b"]
    assert counted.counts["unparsable_lines"] == 1


def test_a_tar_that_breaks_off(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "s.tar", {f"{k}.json": b'{"sku": "b"}' for k in range(50)})
    content = path.read_bytes()
    for size, why in ((10_300, "breaks off"), (10_240, "breaks off"), (10_752 + 3, "not a sound")):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=why):
            read_rows([path], Layout(family="tar-samples"), ["key"], reading())
