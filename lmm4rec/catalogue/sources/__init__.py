"""Sources of catalogues by kind. Adding one: a file with a `Source`, a line in `SOURCES`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm4rec.catalogue.sources.base import Source
from lmm4rec.catalogue.sources.demo import DemoSource
from lmm4rec.catalogue.sources.fetched import FetchedSource
from lmm4rec.catalogue.sources.folder_source import CATALOGUES, FolderSource
from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.params import check_section, find, read_params

SOURCES: dict[str, type[Source]] = {
    "demo": DemoSource,
    "folder": FolderSource,
    "fetched": FetchedSource,
}


def read_source(params: Path, dataset: str) -> Source:
    """The source of a dataset, as params.yaml describes it.

    Without a kind it is `fetched` where a category or files to fetch are named, else a folder:
    the one that is named, or catalogues/<dataset>.
    """
    key = f"datasets.{dataset}.source"
    value = find(read_params(params), key, params)
    kind = _kind(value, key, params)
    source = check_section(value, SOURCES[kind], key, params)
    if isinstance(source, FolderSource) and not source.folder:
        return source.model_copy(update={"folder": f"{CATALOGUES}/{dataset}"})
    return source


def _kind(value: Any, key: str, path: Path) -> str:
    if not isinstance(value, Mapping):
        raise InputError(
            f"{path}: {key} is {value!r}; write what there is to say of it, or {{}} for nothing"
        )
    guess = "fetched" if {"category", "fetch"} & value.keys() else "folder"
    kind = value.get("kind", guess)
    if kind not in SOURCES:
        raise InputError(f"{path}: {key}.kind is {kind!r}; {did_you_mean(str(kind), SOURCES)}")
    return str(kind)
