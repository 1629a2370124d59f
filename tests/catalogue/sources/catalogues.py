"""Catalogues for tests: a folder read by words, and the corpus that becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lmm4rec.catalogue.preprocessing import PreprocessParams, write_corpus
from lmm4rec.catalogue.raw.catalogue import RawCatalogue, open_raw
from lmm4rec.catalogue.sources import FolderSource

PREPROCESS: dict[str, Any] = {
    "maximum_unparsable_share": 0.01,
    "accept_truncated": False,
    "minimum_described_share": 0.5,
    "minimum_pictured_share": 0.5,
    "minimum_rating": None,
    "core": 0,
    "split": "random",
    "split_seed": 1,
    "text_fields": ["title", "brand", "categories", "description"],
}


@dataclass(frozen=True)
class Made:
    """A catalogue that went through download and preprocess."""

    raw: RawCatalogue
    about: dict[str, Any]
    interactions: pa.Table
    items: pa.Table
    pictures: pa.Table


def download(theirs: Path, folder: Path, **words: Any) -> Path:
    """The raw folder that stage download makes of it."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    (folder / "scratch").mkdir()
    source = FolderSource(folder=str(theirs), **words)
    source.download(raw, folder / "scratch", folder / "salt")
    return raw


def make(
    theirs: Path, folder: Path, preprocess: dict[str, Any] | None = None, **words: Any
) -> Made:
    """The corpus of a folder, as download and preprocess make it."""
    raw = open_raw(download(theirs, folder, **words))
    corpus = folder / "corpus"
    corpus.mkdir()
    split = "given" if raw.recipe.brings_split else "random"
    params = PreprocessParams(**{**PREPROCESS, "split": split, **(preprocess or {})})
    about = write_corpus(raw, corpus, params)
    return Made(
        raw,
        about,
        pq.read_table(corpus / "interactions.parquet"),
        pq.read_table(corpus / "items.parquet"),
        pq.read_table(corpus / "picture_sources.parquet"),
    )
