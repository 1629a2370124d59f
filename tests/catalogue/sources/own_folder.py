"""A person's own folder in tests, read by the words that they write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lmm4rec.catalogue.raw.catalogue import RawCatalogue, open_raw
from lmm4rec.catalogue.sources import FolderSource
from lmm4rec.params import check_section
from tests.catalogue.sources.catalogues import download

LOG: dict[str, Any] = {"file": "log.csv", "user": "who", "item": "what"}
ITEMS: dict[str, Any] = {"file": "items.csv", "item": "id", "title": "name"}
WHEN = 1_500_000_000


def mine(folder: Path) -> Path:
    theirs = folder / "mine"
    theirs.mkdir(exist_ok=True)
    return theirs


def opened(folder: Path, made: str = "made", **words: Any) -> RawCatalogue:
    """What download makes of `mine` by these words, typed as params.yaml holds them."""
    section = {"folder": str(mine(folder)), **words}
    source = check_section(section, FolderSource, "datasets.mine.source", Path("params.yaml"))
    said = {name: getattr(source, name) for name in source.model_fields_set - {"folder"}}
    return open_raw(download(mine(folder), folder / made, **said))
