"""A recipe over one file, as the 2014 release is read or as a test says."""

from __future__ import annotations

from typing import Any

from lmm4rec.catalogue.raw.recipe import InteractionsRecipe, ItemsRecipe, Recipe
from lmm4rec.catalogue.readers.layout import Layout

WHEN = 1_400_000_000


def recipe(file: str, family: Any = "json-lines", **columns: Any) -> Recipe:
    """As the 2014 release is read, from one file of reviews and `m.gz`."""
    roles: dict[str, Any] = dict(
        user=["reviewerID"], item=["asin"], rating=["overall"], timestamp=["unixReviewTime"]
    )
    layout = Layout(family=family, separator="," if family == "delimited" else None)
    parts = {"files": {"all": [file]}, **roles, **columns}
    interactions = InteractionsRecipe(layout=layout, **parts)
    names = {name: [name] for name in ("title", "categories", "description")}
    items = ItemsRecipe(
        files=["m.gz"], layout=Layout(family="literal-lines"), item=["asin"], **names
    )
    return Recipe(preset=None, interactions=interactions, items=items, pictures=None)
