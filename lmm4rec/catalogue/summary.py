"""What preprocessing made of a catalogue, in a small table, and what ought to be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LABEL_WIDTH = 14
# What rows are dropped for, by the name under which it is counted.
_DROPPED = {
    "unparsable_lines": "cannot be read",
    "cancelled": "cancelled orders",
    "returns": "of no or a negative quantity",
    "kinds_without_weight": "of a kind of weight 0",
    "without_ids": "without a user or an item",
    "duplicate_interactions": "repeat a pair",
    "below_minimum_rating": "rated below the minimum",
    "outside_core": "outside the core",
    "without_training": "of users without a training row",
}
# What else is counted and may surprise.
_TOLD = {
    "repeated_item_rows": "rows that repeat an item (the first of each counts)",
    "interactions_of_unknown_variants": "interactions with a variant that no product has",
    "validation_drawn_from_train": "validation rows drawn from train, since the split brings none",
    "items_with_blanks_around": "ids of items with blanks around them, which are cut",
    "users_with_blanks_around": "ids of users with blanks around them, which are cut",
    "titles_of_script": "titles that are code of a web page and count as missing",
    "drafts": "drafts (with texts where they were bought, and no new arrivals)",
    "unrated": "interactions without a rating, where others have one",
    "truncated_files": "files that break off",
}


def facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, words) of a corpus's about.json, what ought to be looked at last."""
    splits = ", ".join(f"{part} {n:,}" for part, n in about["interactions_by_split"].items())
    dropped = [
        f"{about['cleaning'][count]:,} {words}"
        for count, words in _DROPPED.items()
        if about["cleaning"].get(count)
    ]
    rows = about["cleaning"].get("interaction_rows", about["cleaning"]["raw_interactions"])
    pictured = _share(about["items_with_picture_named"], about["items"])
    return [
        ("users", f"{about['users']:,}"),
        ("items", f"{about['items']:,}{_new(about['new_arrivals'])}"),
        ("interactions", f"{about['interactions']:,} of {rows:,} rows ({splits})"),
        ("density", f"{100 * (1 - about['sparsity']):.4g} %"),
        ("dropped", "; ".join(dropped) or "nothing"),
        ("described", _share(about["items_described"], about["items"])),
        ("with picture", f"{pictured}, pictures: {about['pictures_named']:,}"),
        *(("look", warning) for warning in warnings(about)),
    ]


def corpus_lines(about: Mapping[str, Any], name: str) -> list[str]:
    """The same for a terminal."""
    return [f"{name}:", *(labelled(label, words) for label, words in facts(about))]


def warnings(about: Mapping[str, Any]) -> list[str]:
    """What may be meant otherwise, and is no reason to stop."""
    found = []
    if about["pictures_of_no_item"]:
        first = about["first_picture_of_no_item"]
        found.append(f"pictures of no item: {about['pictures_of_no_item']:,} ({first} the first)")
    if about["pictures_not_there"]:
        found.append(f"pictures that are named and not there: {about['pictures_not_there']:,}")
    if about["items_sharing_a_text"]:
        found.append(f"items whose text is another's too: {about['items_sharing_a_text']:,}")
    for what, pair in about["alike"].items():
        if pair:
            found.append(f"ids of {what} that may be one, in two spellings: {pair} among others")
    cleaning = about["cleaning"]
    found += [f"{words}: {cleaning[n]:,}" for n, words in _TOLD.items() if cleaning.get(n)]
    return found + list(about["read_as"].get("notes", []))


def _new(count: int) -> str:
    return f", and {count:,} that nobody bought yet" if count else ""


def _share(count: int, of: int) -> str:
    return f"{count:,} of {of:,} items ({100 * count / of:.1f} %)"


def labelled(label: str, words: str) -> str:
    """A line of a table of labels and words."""
    return f"  {label:<{_LABEL_WIDTH}}{words}"
