"""Sources of catalogues by kind. Adding one: a file with a `Source`, a line in `SOURCES`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm4rec.catalogue.sources.amazon2014 import Amazon2014Source
from lmm4rec.catalogue.sources.base import SOURCE_FILE, Source
from lmm4rec.catalogue.sources.demo import DemoSource
from lmm4rec.catalogue.sources.files import FilesSource
from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.folders import read_json
from lmm4rec.params import check_section, find, read_params

SOURCES: dict[str, type[Source]] = {
    "demo": DemoSource,
    "amazon2014": Amazon2014Source,
    "files": FilesSource,
}


def read_source(params: Path, dataset: str) -> Source:
    """The source of a dataset, as params.yaml describes it."""
    key = f"datasets.{dataset}.source"
    return _source(find(read_params(params), key, params), key, params)


def open_source(raw: Path) -> Source:
    """The source whose files lie in `raw`, as the download stage left them."""
    path = raw / SOURCE_FILE
    return _source(read_json(path), "source", path)


def _source(value: Any, key: str, path: Path) -> Source:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind not in SOURCES:
        raise InputError(f"{path}: {key}.kind is {kind!r}; {did_you_mean(str(kind), SOURCES)}")
    return check_section(value, SOURCES[kind], key, path)
