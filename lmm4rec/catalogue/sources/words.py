"""The words by which params.yaml and presets say where things are; each may be left out.

A word left out is found by names and values; null says that there is no such thing. What they come
to together is a `Recipe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from lmm4rec.catalogue.raw.recipe import DateOrder, Drafts, GivenSplit, Part
from lmm4rec.catalogue.readers.layout import Family, Layout
from lmm4rec.params import Section, Text

Names = Text | list[Text] | None

LAYOUT_WORDS = tuple(Layout.model_fields)
_NO_COLUMNS = {"having", "date_order"}  # words whose values are texts and name no column of ours


class TableWords(Section):
    """Which files, and how they are laid out."""

    file: Text | list[Text] | None = None  # a name, or one with *
    family: Family | None = None
    encoding: Literal["utf-8", "cp1252", "utf-16"] | None = None
    separator: Text | None = None
    second_separator: Text | None = None
    quoted: bool | None = None
    header: bool | None = None
    typed_header: bool | None = None
    names: list[Text] | None = None  # of a file's columns, in order

    def layout(self) -> dict[str, Any]:
        """What they say of the layout."""
        said = self.model_dump(exclude_unset=True)
        return {word: said[word] for word in LAYOUT_WORDS if said.get(word) is not None}

    def columns(self) -> dict[str, list[str]]:
        """The columns that they name, by role; none where a role is null."""
        own = set(type(self).model_fields) - set(TableWords.model_fields) - _NO_COLUMNS
        said = {role: getattr(self, role) for role in self.model_fields_set & own}
        return {
            role: [] if value is None else [value] if isinstance(value, str) else list(value)
            for role, value in said.items()
            if value is None or isinstance(value, str | list)
        }


class InteractionsWords(TableWords):
    file: Text | list[Text] | dict[Part, Text | list[Text]] | None = None  # type: ignore[assignment]
    user: Names = None
    item: Names = None
    rating: Names = None
    timestamp: Names = None
    date_order: DateOrder | None = None
    order_is_time: bool | None = None
    kind: Names = None
    split: GivenSplit | None = None
    parts_are_splits: bool | None = None
    order: Text | None = None
    carried_down: Names = None
    cancelled: Names = None
    quantity: Names = None
    hashed: bool | None = None

    @model_validator(mode="after")
    def _tells_splits_apart(self) -> InteractionsWords:
        said = self.file.values() if isinstance(self.file, dict) else []
        names = [name for one in said for name in ([one] if isinstance(one, str) else one)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"gives two splits the one name {twice!r}; each needs its own")
        return self


class ItemsWords(TableWords):
    item: Names = None
    title: Names = None
    brand: Names = None
    categories: Names = None
    flags: Names = None
    description: Names = None
    group: Names = None
    continues: bool | None = None
    alias: Names = None
    parent: Names = None
    number: Names = None
    drafts: Drafts | None = None
    is_numbered: bool | None = None
    titles_may_be_script: bool | None = None


class PictureTableWords(TableWords):
    having: list[Text] = Field(default=[])  # columns by which the file is known
    item: Names = None
    picture: Names = None


class PicturesWords(Section):
    files: list[Text] | None = None
    columns: Names = None
    position: Names = None
    all_columns: bool | None = None  # pictures of all columns, instead of the first that has one
    table: PictureTableWords | None = None
    by_name: bool | None = None


class IdMapWords(TableWords):
    number: Text
    id: Text


class FeatureWords(Section):
    kind: Literal["records", "rows", "rows-with-ids", "file-per-item"]
    modality: Literal["image", "text"] | None = None  # null: as the folders of file-per-item say
    file: Text
    ids: Text | None = None
    missing: Text | None = None


class Words(Section):
    """All of a catalogue's."""

    interactions: Text | InteractionsWords | None = None
    items: Text | ItemsWords | None = None
    pictures: Text | PicturesWords | None = None
    users_by_number: IdMapWords | None = None
    items_by_number: IdMapWords | None = None
    features: dict[Text, FeatureWords] | None = None
    kinds: dict[Text, float] | None = None
    group: Names = None
    items_are: Literal["product", "variant"] | None = None
    new_arrivals: Literal["include", "exclude"] | None = None

    def of(self, role: str) -> Mapping[str, Any] | None:
        """What they say of a table, by word, those alone that stand there; None: there is none."""
        if role not in self.model_fields_set:
            return {}
        said = getattr(self, role)
        if isinstance(said, Section):
            return {word: getattr(said, word) for word in said.model_fields_set}
        return None if said is None else {"file": said}
