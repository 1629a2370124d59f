"""How much dirt is tolerated while reading, and how much was met."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lmm4rec.errors import InputError


@dataclass
class Reading:
    """The tolerance, and the counts that end up in about.json."""

    maximum_unparsable_share: float
    accept_truncated: bool
    counts: Counter[str] = field(default_factory=Counter)
    unwanted: set[str] = field(default_factory=set)  # ids of records that were passed over
    times: str | None = None  # how the interactions' times are written, in words

    def unparsable(self, path: Path, bad: int, total: int, first: str) -> None:
        """Count lines that could not be read; too many of them end the run."""
        self.counts["unparsable_lines"] += bad
        if bad > self.maximum_unparsable_share * total:
            raise InputError(
                f"{path}: {bad} of {total} lines cannot be read (first: {first}), more than "
                f"maximum_unparsable_share = {self.maximum_unparsable_share} allows; mend those "
                "lines, or raise maximum_unparsable_share"
            )

    def broke_off(self, path: Path) -> None:
        """A packed file ends in the middle: counted if that is accepted, refused otherwise."""
        if not self.accept_truncated:
            raise InputError(
                f"{path}: breaks off before its end; fetch it again, or set accept_truncated: true "
                "to use the lines that are whole"
            )
        self.counts["truncated_files"] += 1
