"""What every source of a catalogue is: a section of params.yaml that can fetch and read itself.

Three steps: `download` puts the source's files, as they came, into a folder together with
`source.json` (its own section, so that the folder can be read without params.yaml); then
`read_interactions` and `read_items` turn that folder into two plain tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from lmm4rec.errors import InputError
from lmm4rec.local_files import LocalFiles
from lmm4rec.params import Revision, Section

SOURCE_FILE = "source.json"

RAW_INTERACTIONS = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("rating", pa.float64()),  # null where the source has none
        ("timestamp", pa.int64()),  # seconds since 1970, 0 where the source has none
        ("split", pa.string()),  # train, validation or test; null unless the source brings a split
    ]
)
TEXT_FIELDS = ("title", "brand", "categories", "description")
RAW_ITEMS = pa.schema(
    [
        ("item_id", pa.string()),
        *((name, pa.string()) for name in TEXT_FIELDS),
        ("image", pa.string()),
    ]
)


@dataclass
class Reading:
    """How much dirt is tolerated while reading, and how much was met (for about.json)."""

    maximum_unparsable_share: float
    accept_truncated: bool
    counts: Counter[str] = field(default_factory=Counter)

    def unparsable(self, path: Path, bad: int, total: int, first: str) -> None:
        """Count lines that could not be read; too many of them end the run."""
        self.counts["unparsable_lines"] += bad
        if bad > self.maximum_unparsable_share * total:
            raise InputError(
                f"{path}: {bad} of {total} lines cannot be read (first: {first}), more than "
                f"maximum_unparsable_share = {self.maximum_unparsable_share} allows; fetch the "
                "file again, or raise that parameter"
            )


class Source(Section, ABC):
    """Where a catalogue comes from."""

    kind: str
    revision: Revision  # of the code that fetches or generates it, and of its content

    @abstractmethod
    def download(self, folder: Path, scratch: Path) -> None:
        """Put the source's files into `folder`; unfinished ones stay in `scratch` for resuming."""

    @property
    def brings_split(self) -> bool:
        """Whether its interactions say which split they belong to."""
        return False

    @property
    def brings_ratings(self) -> bool:
        return True

    def local_files(self) -> LocalFiles:
        """What it reads that lies on this machine and outside the project's care."""
        return {}

    @abstractmethod
    def read_interactions(self, folder: Path, reading: Reading) -> pa.Table:
        """All interactions, `RAW_INTERACTIONS`, in any order, dirt included."""

    @abstractmethod
    def read_items(self, folder: Path, wanted: pa.Array, reading: Reading) -> pa.Table:
        """What the source says of the wanted items, `RAW_ITEMS`: each at most once, some not."""
