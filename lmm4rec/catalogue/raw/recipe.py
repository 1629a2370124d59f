"""A recipe: every word that is needed to read a folder of somebody's files, and nothing to guess.

It is what presets, detection and params.yaml come to; the download stage keeps it beside the files
(`recipe.json`), and all later reading goes by it alone. Files are named relative to that folder.

Where a list of columns stands, a cell is taken from the first that has one; categories and
descriptions are of all of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.params import Distinct, Section, Text

RECIPE_FILE = "recipe.json"
SPLITS = ("train", "validation", "test")

Columns = Annotated[list[Text], Distinct]
Part = Literal["all", "train", "validation", "test"]
DateOrder = Literal["day-first", "month-first"]
Weight = Annotated[float, Field(ge=0)]
NewArrivals = Literal["include", "exclude"]


class GivenSplit(Section):
    """The column that says which split a row belongs to, and what it calls the three."""

    column: Text
    train: Text
    validation: Text
    test: Text

    @model_validator(mode="after")
    def _tells_splits_apart(self) -> GivenSplit:
        names = (self.train, self.validation, self.test)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"gives two splits the one name {twice!r}; each needs its own")
        return self


class InteractionsRecipe(Section):
    """Where it stands who took what."""

    files: dict[Part, list[Text]]  # `all`, or the parts of a ready split
    layout: Layout
    user: Columns
    item: Columns
    rating: Columns = Field(default=[])
    timestamp: Columns = Field(default=[])
    date_order: DateOrder | None = None  # of dates such as 03/04/2024
    order_is_time: bool = False  # the position in the file stands for a time
    kind: Columns = Field(default=[])
    split: GivenSplit | None = None
    parts_are_splits: bool = True  # false: parts by other than interactions; all are read as one
    order: Text | None = None  # the column whose equal cells make rows one order
    carried_down: Columns = Field(default=[])  # columns that only an order's first row fills
    cancelled: Columns = Field(
        default=[]
    )  # a row of an order where one of these is filled counts as none
    quantity: Columns = Field(default=[])  # a row of none or fewer is a return
    hashed: bool = False  # users are personal data: only salted sums of them are kept


class Drafts(Section):
    """Rows of an items table that are not offered: where `column` holds one of `values`."""

    column: Text
    values: list[str]


class ItemsRecipe(Section):
    """Where it stands what the items are."""

    files: list[Text]
    layout: Layout
    item: Columns
    title: Columns = Field(default=[])
    brand: Columns = Field(default=[])
    categories: Columns = Field(default=[])
    flags: Columns = Field(default=[])  # columns of 0 and 1 whose names are categories
    description: Columns = Field(default=[])
    group: Columns = Field(default=[])
    continues: bool = False  # further rows of an id tell more of it, instead of repeating it
    alias: Columns = Field(default=[])  # what interactions call a variant of the item: its SKU
    parent: Columns = Field(
        default=[]
    )  # a variant's row names its product here: an id, or id:<number>
    number: Columns = Field(default=[])  # what id:<number> means
    drafts: Drafts | None = None
    is_numbered: bool = False  # ids in it are numbers that `ids` translates
    titles_may_be_script: bool = False


class PicturesRecipe(Section):
    """Where pictures are: in files named after items, in a column of the items, or in a table."""

    files: list[Text] = Field(
        default=[]
    )  # folders, archives, Parquet files whose pictures are packed
    columns: Columns = Field(default=[])  # of the items: links, file names, lists of them
    all_columns: bool = False  # pictures of all columns, instead of the first that has one
    position: Columns = Field(
        default=[]
    )  # of the items, beside `columns`: in which place a row's picture comes
    table: PictureTable | None = None
    by_name: bool = False  # files are named after items
    links_are_packed: bool = False  # the last parts of links are files' names


class PictureTable(Section):
    """A row a picture: which item it shows, and what its file is called."""

    files: list[Text]
    layout: Layout
    item: Columns
    picture: Columns


class IdMap(Section):
    """A table that translates numbers into the ids that they stand for."""

    files: list[Text]
    layout: Layout
    number: Text
    id: Text


class FeatureFiles(Section):
    """A matrix that came with the catalogue, for stage import-features."""

    kind: Literal["records", "rows", "rows-with-ids", "file-per-item"]
    modality: Literal["image", "text"]
    files: list[Text]
    ids: Text | None = None  # a file of ids, in the order of the rows
    missing: Text | None = None  # a file of row numbers that hold no vector of their own


class Recipe(Section):
    """Everything; see the parts."""

    preset: Text | None
    interactions: InteractionsRecipe
    items: ItemsRecipe | None
    pictures: PicturesRecipe | None
    users_by_number: IdMap | None = None
    items_by_number: IdMap | None = None
    features: dict[Text, FeatureFiles] = Field(default={})
    kinds: dict[Text, Weight] = Field(default={})  # weight by kind; 0: no interaction
    items_are: Literal["product", "variant"] = "product"
    new_arrivals: NewArrivals = "include"
    notes: list[Text] = Field(default=[])  # what was decided and ought to be said aloud

    @property
    def brings_split(self) -> bool:
        interactions = self.interactions
        ready = "train" in interactions.files and interactions.parts_are_splits
        return ready or interactions.split is not None


PicturesRecipe.model_rebuild()
