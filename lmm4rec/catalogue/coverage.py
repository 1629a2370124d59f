"""How much of what is bought has words and pictures; too little means that ids do not join.

A catalogue whose ids lost their zeros joins nothing: a study of it would run, on zero vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.raw.catalogue import RawCatalogue
from lmm4rec.catalogue.raw.pictures import FoundPictures
from lmm4rec.errors import InputError

_SHOWN = 3
_LIFTED_TO = 0.5  # a change of ids that joins so many of them is worth to be told


@dataclass(frozen=True)
class Coverage:
    """Ids: `bought` is what the corpus is made of."""

    bought: pa.Array
    described: pa.ChunkedArray
    pictures: FoundPictures
    n_only_described: int = 0  # items that nobody ever bought

    @property
    def n_described(self) -> int:
        return _known(self.bought, self.described)

    @property
    def n_pictured(self) -> int:
        """Items with a picture that is a link, or there."""
        absent = pa.array(list(self.pictures.not_there), pa.string())
        table = self.pictures.table
        there = table.filter(pc.invert(pc.is_in(table["picture"], value_set=absent)))
        return _known(self.bought, there["item_id"])

    def counts(self, new: pa.Array) -> dict[str, Any]:
        """For about.json."""
        found = self.pictures
        return {
            "items_described": self.n_described,
            "items_only_described": self.n_only_described,
            "new_arrivals": len(new),
            "items_with_picture_named": self.n_pictured,
            "pictures_named": found.table.num_rows,
            "pictures_pattern": found.pattern,
            "pictures_not_there": len(found.not_there),
            "pictures_of_no_item": len(found.strangers),
            "first_picture_of_no_item": next(iter(found.strangers), None),
        }


def refuse_undescribed(coverage: Coverage, raw: RawCatalogue, minimum: float) -> None:
    """InputError where the items table knows less than that share of what is bought."""
    n = len(coverage.bought)
    if coverage.n_described >= minimum * n:
        return
    items = raw.recipe.items
    assert items is not None
    bought, theirs = coverage.bought.to_pylist(), coverage.described.to_pylist()
    hint = _hint(bought, theirs)
    if hint is None:
        known = set(theirs)
        missing = [one for one in bought if one not in known]
        hint = (
            f"interactions name {', '.join(missing[:_SHOWN])}, the table "
            f"{', '.join(theirs[:_SHOWN]) or 'nothing'}; write which column holds the same ids, as "
            "source.items.item"
        )
    raise InputError(
        f"{raw.folder / items.files[0]}: describes {coverage.n_described} of {n} bought items, "
        f"fewer than minimum_described_share = {minimum} asks for: {hint}, or lower that parameter"
    )


def refuse_unpictured(coverage: Coverage, raw: RawCatalogue, minimum: float) -> None:
    """InputError where pictures are found of less than that share of what is bought."""
    n = len(coverage.bought)
    if coverage.n_pictured >= minimum * n:
        return
    found = coverage.pictures
    hint = found.hint
    if hint is None:
        files = list(found.not_there[:_SHOWN]) or raw.picture_names[:_SHOWN]
        hint = (
            f"items are called {', '.join(coverage.bought.to_pylist()[:_SHOWN])}, pictures "
            f"{', '.join(files) or 'nothing'}; write where they are, as source.pictures, or null "
            "for none"
        )
    raise InputError(
        f"{raw.folder}: there are pictures of {coverage.n_pictured} of {n} bought items, fewer "
        f"than minimum_pictured_share = {minimum} asks for: {hint}, or lower that parameter"
    )


def _known(ids: pa.Array, known: pa.ChunkedArray) -> int:
    if isinstance(known, pa.ChunkedArray):
        known = known.combine_chunks()
    return int(pc.sum(pc.is_in(ids, value_set=known), min_count=0).as_py())


def _hint(bought: list[str], theirs: list[str]) -> str | None:
    """A change of the bought ids after which most of them are known, in words."""
    known = set(theirs)
    lengths = sorted({len(one) for one in theirs})
    widths = [length for length in lengths if length > min(map(len, bought))]
    tries: list[tuple[str, Callable[[str], str]]] = [
        (f"filled up with zeros to {width} characters", lambda one, w=width: one.zfill(w))  # type: ignore[misc]
        for width in widths[:5]
    ]
    tries += [
        ("without leading zeros", lambda one: one.lstrip("0")),
        ("in lower case", str.lower),
        ("in upper case", str.upper),
        ("without .0 at the end", lambda one: one.removesuffix(".0")),
    ]
    for words, change in tries:
        changed = [change(one) for one in bought]
        joined = sum(one in known for one in changed)
        if joined > _LIFTED_TO * len(bought):
            example = next(k for k, one in enumerate(changed) if one in known)
            return (
                f"{joined} would be known {words} ({bought[example]} is {changed[example]} there), "
                "so that one of the two files has lost how ids are written: mend it, as text"
            )
    return None
