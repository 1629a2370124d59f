"""What a catalogue's columns were taken for the last time, and whether it is still so.

A file whose columns were renamed would be read with other ones, and nobody would hear of it.
"""

from __future__ import annotations

from lmm4rec.catalogue.raw.recipe import Recipe
from lmm4rec.catalogue.sources.base import Taken
from lmm4rec.catalogue.sources.words import Words
from lmm4rec.errors import InputError

_ROLES = {
    "interactions": ("user", "item", "rating", "timestamp", "kind"),
    "items": ("item", "title", "brand", "categories", "description", "group"),
    "pictures": ("columns",),
}


def taken_for(recipe: Recipe) -> dict[str, list[str]]:
    """Columns by `<table>.<word>`, of what the recipe reads."""
    return {
        f"{table}.{word}": list(columns)
        for table, words in _ROLES.items()
        for word in words
        if (columns := getattr(getattr(recipe, table), word, None))
    }


def refuse_changed(before: Taken, now: Taken, said: Words) -> None:
    """InputError where a word is read from other columns than before and nobody said so."""
    if not before:
        return
    for place in sorted({*before, *now}):
        table, _, word = place.partition(".")
        if before.get(place) == now.get(place) or word in (said.of(table) or {"file": None}):
            continue
        old, new = (", ".join(one.get(place, [])) or "nothing" for one in (before, now))
        meant = f"[{new}]" if "," in new else new if place in now else "null"
        raise InputError(
            f"{table}: {word} was read from {old} and would now be read from {new}; write "
            f"source.{table}.{word}: {meant} (beside source.{table}.file) if that is meant, or put "
            "back the column that was there"
        )
