"""How a file's bytes become rows: what is found out once, kept, and read by from then on."""

from __future__ import annotations

from typing import Literal, TypeAlias

import pyarrow as pa
from pydantic import Field

from lmm4rec.params import Section

Family = Literal[
    "delimited",  # cells between separators, with a header or without
    "json-lines",  # an object a line
    "literal-lines",  # a Python literal (or JSON) a line
    "json-records",  # one document [{...}, ...]: an object a row
    "json-by-id",  # one document {id: {...}}: column `id`, then the objects' keys
    "json-mapping",  # one document {id: value}: columns id, value
    "json-baskets",  # one document {user: [item, ...]}: columns user, item
    "json-sets",  # one document [{set_id, items: [{item_id}, ...]}]: columns user, item
    "baskets",  # a line: user, then items between separators: columns user, item, position
    "cut-lines",  # a line cut at its first separator: columns id, text
    "text-lines",  # line k is of number k: columns row, text
    "feed",  # merchant RSS or Atom: an entry a row, g: left out, what repeats is a JSON list
    "parquet",
    "tar-samples",  # WebDataset: a sample a row: its json's keys, key, txt, pictures
]


class Layout(Section):
    """Names are the columns' own; a file without a header has column_1, column_2, ...

    A preset may give such a file's names. gzip is no part of it: whatever is packed is unpacked.
    """

    family: Family
    encoding: Literal["utf-8", "cp1252", "utf-16"] = "utf-8"
    separator: str | None = None  # of delimited, baskets and cut-lines
    second_separator: str | None = None  # of baskets: between items, where it is another
    quoted: bool = True  # cells may stand in double quotes; otherwise quotes are letters
    escape: Literal['"', "\\"] = '"'  # what stands before a quote inside such a cell
    header: bool = True
    typed_header: bool = False  # name:type, as RecBole writes; the type is cut off
    names: list[str] = Field(default=[])  # of the columns, in order; empty: the header's own


Texts: TypeAlias = "pa.Array | pa.ChunkedArray"
"""A column of texts, as `read_rows` gives it."""


def flat(column: Texts) -> pa.Array:
    """A column of texts in one piece, as string."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole if pa.types.is_string(whole.type) else whole.cast(pa.string())
