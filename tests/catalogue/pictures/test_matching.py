"""A picture goes to the item its name says, in the order its name says, or to none."""

import random
import unicodedata

import pytest

from lmm4rec.catalogue.corpus import PICTURES_SCHEMA
from lmm4rec.catalogue.pictures.matching import Matched, match_pictures


def pictures(matched: Matched) -> dict[str, list[str]]:
    """Item -> its pictures in order; positions count from 0 without gaps."""
    found: dict[str, list[str]] = {}
    for row in matched.table.to_pylist():
        of_item = found.setdefault(row["item_id"], [])
        assert row["position"] == len(of_item)
        of_item.append(row["picture"])
    assert matched.table.schema == PICTURES_SCHEMA
    assert list(found) == sorted(found)
    return found


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["p/a.jpg", "p/b.jpg"], "p/<item>.jpg"),
        (["a.JPG", "b.jpg"], "<item>.jpg"),
        (["p/0/a.jpg", "p/1/b.png"], "p/**/<item>{.jpg,.png}"),
        (["p/a_0.jpg", "p/b_1.jpg"], "p/<item>_<k>.jpg"),
        (["p/a-0.jpg", "p/b-1.jpg"], "p/<item>-<k>.jpg"),
        (["p/a (1).jpg", "p/b (2).jpg"], "p/<item> (<k>).jpg"),
        (["p/a(1).jpg", "p/b(2).jpg"], "p/<item>(<k>).jpg"),
        (["p/a/front.jpg", "p/b/IMG_1.jpg"], "p/<item>/*.jpg"),
        (["p/x/a/large/1.jpg", "p/y/b/1.jpg"], "p/**/<item>/*.jpg"),
        (["p.zip#a.jpg", "p.zip#b.jpg"], "p.zip/<item>.jpg"),
        (["s/p.tar#x/a.jpg", "s/q.tar.gz#b.jpg"], "s/**/<item>.jpg"),
        (["a", "b"], "<item>"),
    ],
)
def test_forms(names: list[str], pattern: str) -> None:
    matched = match_pictures(names, ["b", "a", "c"])
    assert pictures(matched) == {"a": [names[0]], "b": [names[1]]}
    assert (matched.pattern, matched.strangers, matched.hint) == (pattern, (), None)


def test_order_is_by_number_and_the_plain_name_comes_first() -> None:
    names = ["a_10.jpg", "a_2.jpg", "a.jpg", "x/a_1.jpg", "b/10.jpg", "b/9.jpg", "b/side.jpg"]
    assert pictures(match_pictures(names, ["a", "b"])) == {
        "a": ["a.jpg", "x/a_1.jpg", "a_2.jpg", "a_10.jpg"],
        "b": ["b/9.jpg", "b/10.jpg", "b/side.jpg"],
    }


def test_ids_may_end_like_numbered_pictures_and_hold_dots() -> None:
    names = ["a_1.jpg", "a_1_0.jpg", "a_0.jpg", "TB-0.7.jpg", "TB-0.jpg", "v1.0_2.jpg"]
    assert pictures(match_pictures(names, ["a", "a_1", "TB-0.7", "TB-0", "v1.0"])) == {
        "TB-0": ["TB-0.jpg"], "TB-0.7": ["TB-0.7.jpg"], "a": ["a_0.jpg"],
        "a_1": ["a_1.jpg", "a_1_0.jpg"], "v1.0": ["v1.0_2.jpg"],
    }  # fmt: skip


def test_letters_are_the_same_however_they_are_composed() -> None:
    apart = unicodedata.normalize("NFD", "crème-3")
    assert pictures(match_pictures([f"{apart}_0.jpg"], ["crème-3"])) == {
        "crème-3": [f"{apart}_0.jpg"]
    }
    assert pictures(match_pictures(["crème-3.jpg"], [apart])) == {apart: ["crème-3.jpg"]}


def test_numbered_pictures_in_folders_of_numbered_items() -> None:
    """ids 1, 2, 3 and files 1/1.jpg, 1/2.jpg, ...: the file's number is no id."""
    names = [f"p/{item}/{k}.jpg" for item in (1, 2, 3) for k in (1, 2)]
    expected = {str(item): [f"p/{item}/{k}.jpg" for k in (1, 2)] for item in (1, 2, 3)}
    assert pictures(match_pictures(names, ["1", "2", "3"])) == expected


def test_shards_of_numbered_items() -> None:
    """The same ids in folders that only keep them apart: every file name is there once."""
    names = ["p/1/3.jpg", "p/1/2.jpg", "p/2/1.jpg"]
    assert pictures(match_pictures(names, ["1", "2", "3"])) == {
        "1": ["p/2/1.jpg"], "2": ["p/1/2.jpg"], "3": ["p/1/3.jpg"]
    }  # fmt: skip


def test_strangers_are_named_and_cells_are_none() -> None:
    names = ["p/a_0.jpg", "p/99999_0.jpg", "p/ab.jpg", "t.parquet#7/image/0"]
    matched = match_pictures(names, ["a", "0", "7", "image"])
    assert pictures(matched) == {"a": ["p/a_0.jpg"]}
    assert matched.strangers == ("p/99999_0.jpg", "p/ab.jpg")


def test_nothing_at_all() -> None:
    for names, items in (([], ["a"]), (["a.jpg"], []), ([], [])):
        matched = match_pictures(names, items)
        assert matched.table.num_rows == 0
        assert (matched.pattern, matched.hint) == (None, None)


def test_numbers_longer_than_any_number() -> None:
    names = [f"a_{'9' * 5000}.jpg", f"a/{'9' * 5000}.jpg", f"a/{'8' * 5000}.jpg"]
    matched = match_pictures(names, ["a"])
    assert pictures(matched) == {"a": [names[2], names[1]]}


def test_names_made_from_items_lead_back_to_them() -> None:
    rng = random.Random(5)
    letters = "ab0127._-() é"
    for _ in range(200):
        items = list({"".join(rng.choices(letters, k=rng.randint(1, 6))).strip(" .") or "x"
                      for _ in range(6)})  # fmt: skip
        form = rng.choice(["{}_{}.jpg", "{}-{}.JPEG", "{} ({}).png", "{}({}).webp"])
        told = {item: [f"deep/{form.format(item, k)}" for k in (1, 2, 11)] for item in items}
        # a name that another item has too says nothing of the form
        names = [name for of_item in told.values() for name in of_item]
        stems = {name.removeprefix("deep/").rpartition(".")[0] for name in names}
        if stems & set(items) or len(set(names)) < len(names):
            continue
        rng.shuffle(names)
        matched = match_pictures(names, items)
        assert pictures(matched) == {item: told[item] for item in sorted(items)}


# ------------------------------------------------------------------------------------------- hints


def hinted(names: list[str], items: list[str]) -> str:
    hint = match_pictures(names, items).hint
    assert hint is not None
    return hint


def test_zeros_that_ids_have_lost() -> None:
    items = [str(108775000 + n) for n in range(30)] + ["0100000000"]  # one kept its zero
    names = [f"images/010/0{item}.jpg" for item in items[:20]] + ["images/010/0100000000.jpg"]
    hint = hinted(names, items)
    assert "ids have lost their leading zeros: item '108775000' is '0108775000'" in hint
    assert "(images/010/0108775000.jpg)" in hint
    assert "100 % would match instead of 5 %" in hint and hint.endswith("zeros included")
    padded = [item.zfill(10) for item in items]
    assert len(pictures(match_pictures(names, padded))) == 21  # what it advises helps


def test_zeros_that_names_have_lost() -> None:
    hint = hinted([f"{n}_0.jpg" for n in range(1, 20)], [f"{n:05d}" for n in range(1, 20)])
    assert "differ in leading zeros: item '00010' is the picture 10_0.jpg" in hint


@pytest.mark.parametrize(
    ("names", "items", "says"),
    [
        (["p/a.jpg", "p/b.jpg"], ["a.jpg", "b.jpg"], "end like files: item 'a.jpg' is the picture"),
        (["p/SKU1.jpg", "p/SKU2.jpg"], ["sku1", "sku2"], "differ in upper and lower case: item 's"),
        (["p/\uff21.jpg", "p/\uff22.jpg"], ["A", "B"], "different characters for the same letters"),
        (["p/a.jpg", "p/b.jpg"], ["x/a", "y/b"], "name folders that the pictures do not lie in"),
    ],
)
def test_hints(names: list[str], items: list[str], says: str) -> None:
    hint = hinted(names, items)
    assert says in hint and "100 % would match instead of 0 %" in hint


def test_no_hint_where_nothing_explains_it_or_much_matches() -> None:
    assert match_pictures(["x.jpg", "y.jpg"], ["a", "b"]).hint is None
    few = match_pictures(["a.jpg", "b.jpg", "C.jpg"], ["a", "b", "c", *map(str, range(99))])
    assert few.hint is None  # most pictures have an item: the other items have none
