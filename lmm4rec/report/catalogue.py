"""What the results were measured on: the catalogue's numbers, beside its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmm4rec.catalogue.summary import facts
from lmm4rec.report.table import Table


def catalogue_table(about: Mapping[str, Any]) -> Table:
    """Of a corpus's about.json."""
    rows = [("", "of the catalogue"), *facts(about)]
    return Table("The catalogue", "What the corpus holds, and what was left out of it.", rows, 2)
