"""Presets: what published catalogues and shops' exports look like, as data (presets.yaml)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.words import InteractionsWords, ItemsWords, Words
from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.params import Text, check_section, read_params

_FILE = Path(__file__).with_name("presets.yaml")


class InteractionsWay(InteractionsWords):
    """One way in which interactions may lie in a folder."""

    having: list[Text] = Field(default=[])  # columns by which the file is known
    shards: bool = False  # all files of the name are one table
    names_without_header: list[Text] | None = None  # of the columns, in files that have no header
    told_apart_by_items: bool = False  # which of user and item is which, the items table says


class ItemsWay(ItemsWords):
    having: list[Text] = Field(default=[])
    shards: bool = False


class Preset(Words):
    """Interactions and items in several ways; a part that is absent is found by detection."""

    signature: Annotated[list[Text | list[Text]], Field(min_length=1)]
    fetch: dict[Text, Text] = Field(default={})  # addresses by role, with {category}
    interactions: list[InteractionsWay] = Field(default=[])  # type: ignore[assignment]
    items: list[ItemsWay] | None = Field(default=[])  # type: ignore[assignment]
    notes: list[Text] = Field(default=[])


@lru_cache(maxsize=1)
def read_presets() -> dict[str, Preset]:
    content = read_params(_FILE)
    return {name: check_section(value, Preset, name, _FILE) for name, value in content.items()}


def preset(name: str) -> Preset:
    presets = read_presets()
    if name not in presets:
        raise InputError(f"source.preset is {name!r}; {did_you_mean(name, presets)}")
    return presets[name]


def matching_preset(folder: Folder) -> str | None:
    """The first whose signature the folder has."""
    return next(
        (name for name, one in read_presets().items() if lacking(folder, one) is None), None
    )


def lacking(folder: Folder, one: Preset) -> str | None:
    """What of its signature the folder lacks, in words; None where it has all."""
    for sign in one.signature:
        if isinstance(sign, str):
            if not set(folder.matching(sign)) - set(folder.packs):
                return f"a file {sign}"
        elif not any(has_columns(folder, name, sign) for name in folder.tables):
            return f"a table with the columns {', '.join(sign)}"
    return None


def has_columns(folder: Folder, name: str, columns: list[str]) -> bool:
    layout = folder.layout(name)
    return layout is not None and not set(columns) - set(folder.columns(name, layout))
