"""What a table says of pictures is found in the archive, told as absent, or asked back about."""

import unicodedata

import pyarrow as pa
import pytest

from lmm4rec.catalogue.corpus import PICTURES_SCHEMA
from lmm4rec.catalogue.pictures.listed import Located, locate_listed
from lmm4rec.errors import InputError


def locate(names: list[str], **listed: list[str | None] | None) -> Located:
    table = pa.table(
        {
            "item_id": pa.array(list(listed), pa.string()),
            "pictures": pa.array(list(listed.values()), pa.list_(pa.string())),
        }
    )
    return locate_listed(table, names)


def pictures(located: Located) -> list[tuple[str, int, str]]:
    assert located.table.schema == PICTURES_SCHEMA
    return [tuple(row.values()) for row in located.table.to_pylist()]


@pytest.mark.parametrize(
    "called",
    ["photos/IMG_0001.jpg", "IMG_0001.jpg", "IMG_0001", "./photos/IMG_0001.jpg", "IMG_0001.png",
     "photos\\IMG_0001.jpg", "C:\\me\\IMG_0001.jpg", "/home/me/IMG_0001.jpg", " IMG_0001.jpg ",
     "file:///home/me/IMG_0001.jpg", "IMG%5F0001.jpg"],
)  # fmt: skip
def test_ways_to_call_a_file(called: str) -> None:
    located = locate(["photos/IMG_0001.jpg", "photos/IMG_0002.jpg"], a=[called])
    assert pictures(located) == [("a", 0, "photos/IMG_0001.jpg")]
    assert (located.links, located.found, located.not_there) == (0, 1, ())
    assert located.strangers == ("photos/IMG_0002.jpg",)


def test_exact_paths_win_over_ends_and_ends_over_names() -> None:
    names = ["a.jpg", "x/a.jpg", "x/y/a.jpg", "z/y/b.jpg", "b.png"]
    located = locate(names, i=["a.jpg"], j=["x/a.jpg"], k=["y/a.jpg"], l=["y/b.jpg", "b.png"])
    assert [row[2] for row in pictures(located)] == [
        "a.jpg", "x/a.jpg", "x/y/a.jpg", "z/y/b.jpg", "b.png"
    ]  # fmt: skip


def test_links_stay_and_what_is_absent_keeps_its_name() -> None:
    link = "https://cdn.invalid/p/a.jpg?v=1#x"
    located = locate(["p/a.jpg"], b=["gone.jpg", link, "a", None, " "], a=None)
    assert pictures(located) == [("b", 0, "gone.jpg"), ("b", 1, link), ("b", 2, "p/a.jpg")]
    assert (located.links, located.found, located.not_there) == (1, 1, ("gone.jpg",))


def test_items_are_sorted_and_repeated_pictures_count_once() -> None:
    table = pa.table(
        {"item_id": ["b", "a", "b"], "pictures": [["x.jpg", "y.jpg"], ["x.jpg"], ["y.jpg", "z"]]}
    )
    located = locate_listed(table, ["x.jpg", "y.jpg", "z.jpg"])
    assert pictures(located) == [
        ("a", 0, "x.jpg"), ("b", 0, "x.jpg"), ("b", 1, "y.jpg"), ("b", 2, "z.jpg")
    ]  # fmt: skip


def test_photo_ids_and_members_of_packs() -> None:
    names = ["photos/-Photo30x.jpg", "shards/s-000.tar#W000.side1.jpg", "p.zip#in/q.jpg"]
    located = locate(names, a=["-Photo30x"], b=["shards/s-000.tar#W000.side1.jpg"], c=["in/q.jpg"])
    assert [row[2] for row in pictures(located)] == names


def test_a_cell_is_found_by_its_place_alone() -> None:
    names = ["t.parquet#3/image/0", "0.jpg"]
    located = locate(names, a=["t.parquet#3/image/0"], b=["t.parquet#4/image/0"], c=["0"])
    assert [row[2] for row in pictures(located)] == [
        "t.parquet#3/image/0", "t.parquet#4/image/0", "0.jpg"
    ]  # fmt: skip
    assert located.not_there == ("t.parquet#4/image/0",)


def test_letters_are_the_same_however_they_are_composed() -> None:
    apart = unicodedata.normalize("NFD", "crème.jpg")
    assert pictures(locate(["p/crème.jpg"], a=[apart])) == [("a", 0, "p/crème.jpg")]


@pytest.mark.parametrize(
    ("names", "called", "mended"),
    [
        (["x/a.jpg", "y/a.jpg"], "a.jpg", "y/a.jpg"),
        (["x/a.jpg", "x/a.png"], "a", "a.png"),
        (["x/a.jpg", "y/a.jpg"], "z/a.jpg", "x/a.jpg"),
    ],
)
def test_a_name_of_several_files_is_asked_back(names: list[str], called: str, mended: str) -> None:
    with pytest.raises(InputError, match=r"picture '.*' of item 'sku' may be .* or .*; write it"):
        locate(names, sku=[called])
    assert locate(names, sku=[mended]).found == 1
