"""Files of every format are recognised by their content, and read whole."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.recognition import recognise
from lmm4rec.catalogue.readers.rows import column_names, read_rows
from lmm4rec.errors import InputError
from tests.catalogue.given import FORMATS, INPUTS


def strict() -> Reading:
    return Reading(maximum_unparsable_share=0.0, accept_truncated=False)


def table(separator: str, *, header: bool = True, quoted: bool = True, **more: Any) -> Layout:
    return Layout(family="delimited", separator=separator, header=header, quoted=quoted, **more)


JSON, LITERALS = Layout(family="json-lines"), Layout(family="literal-lines")
TABS, NO_HEADER = table("\t", quoted=False), table("\t", quoted=False, header=False)
# (file, layout, first columns, rows)
FILES = [
    ("01_amazon2014/reviews_Tiny_5.json.gz", JSON, ["reviewerID", "asin"], 61),
    ("01_amazon2014/meta_Tiny.json.gz", LITERALS, ["asin", "title"], 12),
    ("01_amazon2014/ratings_Tiny.csv", table(",", header=False), ["column_1"], 60),
    ("02_amazon2018/Tiny_5.json.gz", JSON, ["reviewerID"], 60),
    ("02_amazon2018/Tiny.csv", table(",", header=False), ["column_1"], 60),
    ("02_amazon2018/meta_Tiny.json.gz", JSON, ["category"], 11),
    ("03_amazon2023/Tiny.jsonl.gz", JSON, ["rating"], 62),
    ("03_amazon2023/meta_Tiny.jsonl.gz", JSON, ["main_category"], 11),
    ("04_amazon2023_benchmark/benchmark/5core/rating_only/Tiny.csv", table(","), ["user_id"], 60),
    (
        "04_amazon2023_benchmark/benchmark/5core/last_out_w_his/Tiny.train.csv.gz",
        table(","),
        ["user_id", "parent_asin", "rating", "timestamp", "history"],
        44,
    ),
    (
        "04_amazon2023_benchmark/made_by_the_scripts/5core/rating_only/Tiny.csv",
        table(",", header=False),
        ["column_1"],
        60,
    ),
    ("05_mmrec/tiny.inter", TABS, ["userID", "itemID"], 60),
    ("05_mmrec/i_id_mapping.csv", TABS, ["asin", "itemID"], 10),
    ("05_mmrec/meta-tiny.csv", table(","), ["itemID", "asin", "title"], 10),
    ("06_recbole/tiny.inter", table("\t", quoted=False, typed_header=True), ["user_id"], 60),
    ("06_recbole/tiny.item", table("\t", quoted=False, typed_header=True), ["item_id"], 9),
    ("08_ducho_elliot/train.tsv", NO_HEADER, ["column_1"], 44),
    ("08_ducho_elliot/meta.tsv", TABS, ["asin", "description", "imUrl"], 10),
    ("09_cornac/rating.txt", NO_HEADER, ["column_1", "column_2", "column_3"], 60),
    ("09_cornac/rating_uirt.txt", NO_HEADER, ["column_1"], 60),
    ("11_microlens/MicroLens-tiny_pairs.csv", table(","), ["user", "item", "timestamp"], 60),
    ("11_microlens/MicroLens-tiny_titles.csv", table(","), ["item", "title"], 9),
    (
        "11_microlens/MicroLens-tiny_title_en.csv",
        Layout(family="cut-lines", separator=",", quoted=False, header=False),
        ["id", "text"],
        9,
    ),
    ("13_yelp/yelp_academic_dataset_review.json", JSON, ["review_id", "user_id"], 60),
    ("13_yelp/yelp_academic_dataset_business.json", JSON, ["business_id"], 10),
    ("13_yelp/photos.json", JSON, ["photo_id", "business_id"], 12),
    ("14_steam/steam_reviews.json.gz", LITERALS, ["username"], 61),
    ("14_steam/steam_games.json.gz", LITERALS, ["publisher"], 11),
    (
        "15_movielens_1m/movies.dat",
        table("::", header=False, quoted=False, encoding="cp1252"),
        ["column_1", "column_2", "column_3"],
        10,
    ),
    ("15_movielens_1m/ratings.dat", table("::", header=False, quoted=False), ["column_1"], 60),
    ("16_movielens_100k/u.data", NO_HEADER, ["column_1"], 60),
    (
        "16_movielens_100k/u.item",
        table("|", header=False, quoted=False, encoding="cp1252"),
        ["column_1", "column_2"],
        10,
    ),
    ("17_movielens_25m/movies.csv", table(","), ["movieId", "title", "genres"], 12),
    ("17_movielens_25m/links.csv", table(","), ["movieId", "imdbId", "tmdbId"], 12),
    ("18_pinterest_ncf/pinterest-20.train.rating", NO_HEADER, ["column_1"], 52),
    (
        "19_polyvore/polyvore_item_metadata.json",
        Layout(family="json-by-id"),
        ["id", "url_name", "description"],
        10,
    ),
    ("19_polyvore/nondisjoint/train.json", Layout(family="json-sets"), ["user", "item"], 36),
    (
        "20_huggingface/items/train-00000-of-00002.parquet",
        Layout(family="parquet"),
        ["sku", "title"],
        7,
    ),
    ("22_shopify/products_export_1.csv", table(","), ["Handle", "Title"], 17),
    ("22_shopify/orders_export_1.csv", table(","), ["Name", "Email"], 63),
    ("23_woocommerce/wc-product-export.csv", table(","), ["ID", "Type", "SKU"], 14),
    ("26_own_folder/orders.csv", table(";", encoding="cp1252"), ["Kunde", "Artikelnummer"], 60),
    ("26_own_folder/products.csv", table(";"), ["Artikelnummer", "Name"], 13),
    ("27_pixelrec/Pixel-tiny.csv", table(","), ["item_id", "user_id", "timestamp"], 60),
]


@pytest.mark.parametrize(("name", "layout", "columns", "n"), FILES, ids=[f[0] for f in FILES])
def test_each_format_is_recognised_and_read(
    name: str, layout: Layout, columns: list[str], n: int
) -> None:
    path = FORMATS / name
    found = recognise(path)
    assert found == layout
    names = column_names(path, found)
    assert names[: len(columns)] == columns
    reading = strict()
    read = read_rows([path], found, names, reading)
    assert read.num_rows == n
    assert read.column_names == [*names, "file_number"]
    assert reading.counts["unparsable_lines"] == 0


def test_a_leading_quote_in_a_tab_separated_file_is_a_letter() -> None:
    path = INPUTS / "08_leading_quote_tsv/cat/items.tsv"
    read = read_rows([path], recognise(path), ["item", "title"], strict())
    assert read.num_rows == 300
    titles = read["title"].to_pylist()
    assert any(title.startswith('"') for title in titles)
    assert all("\n" not in title for title in titles)


def test_backslash_escapes_are_read_where_a_file_has_them_throughout() -> None:
    path = INPUTS / "41_backslash_escape/cat/items.csv"
    read = read_rows([path], recognise(path), ["title", "description"], strict())
    assert read["title"].to_pylist() == ['a 12" doll, red'] * 8
    assert read["description"][3].as_py() == "plain 3"


def test_quotes_throughout_a_tab_separated_file_are_quotes(tmp_path: Path) -> None:
    path = tmp_path / "items.tsv"
    path.write_text('"item"\t"title"\n"1"\t"a\tb"\n"2"\t"say ""c"""\n', encoding="utf-8")
    layout = recognise(path)
    assert layout.quoted
    read = read_rows([path], layout, ["item", "title"], strict())
    assert read["title"].to_pylist() == ["a\tb", 'say "c"']


def test_quotes_that_are_doubled_inside_are_quotes_in_a_tab_separated_file(tmp_path: Path) -> None:
    path = tmp_path / "items.tsv"
    path.write_text('item\ttitle\n1\tplain\n2\t"12"" pan"\n', encoding="utf-8")
    read = read_rows([path], recognise(path), ["title"], strict())
    assert read["title"].to_pylist() == ["plain", '12" pan']


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_encodings_line_ends_and_packing_change_nothing(
    tmp_path: Path, encoding: str, end: str, is_packed: bool
) -> None:
    text = end.join(["sku;name;when", "007;crème brûlée;15.11.2023", '8;"a;b";16.11.2023', ""])
    content = text.encode(encoding)
    path = tmp_path / ("t.csv.gz" if is_packed else "t.csv")
    path.write_bytes(gzip.compress(content) if is_packed else content)
    layout = recognise(path)
    assert layout.encoding == encoding.removesuffix("-sig")
    read = read_rows([path], layout, ["sku", "name", "when"], strict())
    assert read["sku"].to_pylist() == ["007", "8"]
    assert read["name"].to_pylist() == ["crème brûlée", "a;b"]


def test_a_late_letter_of_cp1252_is_found(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = b"".join(b"%d,plain\n" % k for k in range(600_000))
    path.write_bytes(b"id,title\n" + rows + b"x,caf\xe9\n")
    assert recognise(path).encoding == "cp1252"


def test_a_torn_letter_does_not_turn_utf8_into_cp1252(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"id,title\n" + "1,crème brûlée\n".encode() * 99 + b"2,\xe9\n")
    layout = recognise(path)
    assert layout.encoding == "utf-8"
    reading = Reading(maximum_unparsable_share=0.05, accept_truncated=False)
    assert read_rows([path], layout, ["title"], reading).num_rows == 99
    assert reading.counts["unparsable_lines"] == 1


def test_a_byte_of_no_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"id,title\n1,caf\xe9\x81\n")
    with pytest.raises(InputError, match=r"byte 15 \(0x81\) is neither UTF-8 nor Windows-1252"):
        recognise(path)


HEADERS = {
    "names": ("user,item,time\na,b,2020-01-01\n", True),
    "a number": ("u1,i1,4.0\nu2,i2,3.0\n", False),
    "a date": ("anna,lamp,2020-01-01\nbert,pan,2020-01-02\n", False),
    "ids like those below": ("A3X00,B0Y01\nA4X11,B0Y02\n", False),
    "a cell that comes again": ("anna,lamp\nanna,pan\n", False),
    "digits in names": ("Option1 Name,Option1 Value\nSize,L\nColour,Red\n", True),
    "an empty name": ("a,,c\nd,e,f\n", False),
    "no name for the rows' numbers": (",user,stars\n0,anna,5\n1,bert,4\n", True),
    "a separator at each line's end": ("user,stars,\nanna,5,\nbert,4,\n", True),
    "a name twice": ("item,title,title\ni1,t,u\ni2,v,w\n", True),
}


@pytest.mark.parametrize(("text", "is_header"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_is_names_and_no_values(tmp_path: Path, text: str, is_header: bool) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    assert recognise(path).header is is_header


def test_decimal_commas_are_no_separators(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("1;2,5;3,5\n2;4,5;1,5\n", encoding="utf-8")
    assert recognise(path).separator == ";"


def test_baskets_and_texts_behind_a_key_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "baskets.txt").write_text("u1\ta\tb\nu2\tc\n", encoding="utf-8")
    (tmp_path / "texts.txt").write_text(
        "1::A pan. Use :: as you like\n2::A bag\n3::A::B c\n", encoding="utf-8"
    )
    assert recognise(tmp_path / "baskets.txt").family == "baskets"
    layout = recognise(tmp_path / "texts.txt")
    assert (layout.family, layout.separator) == ("cut-lines", "::")
    read = read_rows([tmp_path / "texts.txt"], layout, ["id", "text"], strict())
    assert read["text"].to_pylist() == ["A pan. Use :: as you like", "A bag", "A::B c"]


def test_json_documents_by_their_shape(tmp_path: Path) -> None:
    texts = {
        "json-by-id": '{"7": {"title": "a"}, "8": {"title": null}}',
        "json-baskets": '{"0": [7, 1],\n "3": [4]}',
        "json-records": '[\n {"id": 1},\n {"id": 2}\n]',
        "json-sets": '[{"set_id": "1", "items": [{"item_id": "2", "index": 1}]}]',
    }
    for family, text in texts.items():
        path = tmp_path / f"{family}.json"
        path.write_text(text, encoding="utf-8")
        assert recognise(path).family == family


def test_a_name_says_nothing(tmp_path: Path) -> None:
    shutil.copy(FORMATS / "13_yelp/photos.json", tmp_path / "photos.csv")
    shutil.copy(FORMATS / "01_amazon2014/meta_Tiny.json.gz", tmp_path / "meta.parquet")
    assert recognise(tmp_path / "photos.csv") == JSON
    assert recognise(tmp_path / "meta.parquet") == LITERALS


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        recognise(tmp_path / "nothing.csv")


def test_quotes_far_below_the_beginning_decide(tmp_path: Path) -> None:
    plain = "".join(f"{k}\tsome plain words {k}\n" for k in range(60_000))
    path = tmp_path / "items.tsv"
    path.write_text(f'item\ttitle\n{plain}x\t"12"" pan"\n{plain}', encoding="utf-8")
    assert recognise(path).quoted
    path.write_text(f'item\ttitle\n{plain}x\t"Pan\n{plain}', encoding="utf-8")
    assert not recognise(path).quoted


def test_a_line_for_a_workbook_is_to_be_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sep=;\na;b\n1;2\n", encoding="utf-8")
    with pytest.raises(InputError, match="take that line out"):
        recognise(path)
