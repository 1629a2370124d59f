"""Formats without a sample folder come in as right as those with one."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest

from tests.catalogue.sources.catalogues import make
from tests.catalogue.sources.other_formats import BUILDERS, Builder


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_it_comes_in_as_it_is(build: Builder, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    wanted = build(theirs)
    made = make(theirs, tmp_path)
    bought = made.items.filter(pc.greater(made.items["interactions"], 0))
    pictures = made.pictures.filter(
        pc.is_in(made.pictures["item_id"], value_set=bought["item_id"].combine_chunks())
    )
    first = bought.slice(0, 1).to_pylist()[0]
    rated, times = made.interactions["rating"], made.interactions["timestamp"]
    found = {
        **made.about,
        "preset": made.raw.recipe.preset,
        "rows": made.about["cleaning"]["interaction_rows"],
        "splits": made.about["interactions_by_split"],
        "first_timestamp": pc.min(times).as_py() or None,
        "items_with_picture": len(pc.unique(pictures["item_id"])),
        "pictures_total": pictures.num_rows,
        "first_item": first["item_id"],
        "first_text": first["text"],
        "first_group": first["group"],
        "purchases": pc.sum(pc.equal(made.interactions["kind"], "purchase")).as_py(),
        "ratings": [pc.min(rated).as_py(), pc.max(rated).as_py()],
    }
    assert {key: found[key] for key in wanted} == wanted
