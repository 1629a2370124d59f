"""What every source of a catalogue is: a section of params.yaml that brings files and a recipe.

`download` puts the source's files, as they came, under `files/` in a folder, beside a recipe that
says how they are read (`recipe.json`), and pictures in one archive. From then on params.yaml says
nothing of them any more: `raw.catalogue.RawCatalogue` reads that folder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from lmm4rec.local_files import UNSAID_REVISION, LocalFiles
from lmm4rec.params import Revision, Section

SOURCE_FILE = "source.json"

# Columns by <table>.<word>: interactions.user and so on.
Taken = Mapping[str, list[str]]


class Source(Section, ABC):
    """Where a catalogue comes from."""

    revision: Revision = UNSAID_REVISION  # of what it brings; raised to read it anew

    @abstractmethod
    def download(self, folder: Path, scratch: Path, salt: Path) -> None:
        """Bring everything into `folder`; unfinished downloads stay in `scratch` for resuming.

        `salt`: a file of this project, made where it is needed, by which personal data are hashed.
        """

    def taken_for(self, folder: Path, before: Taken) -> Taken:
        """What the columns in `folder`, as `download` left it, were taken for, by word.

        InputError: other columns than `before`, and params.yaml does not say so.
        """
        return {}

    @property
    def brings_split(self) -> bool | None:
        """Whether its interactions say which split they belong to; None: its files will show."""
        return None

    @property
    def brings_ratings(self) -> bool | None:
        return None

    def local_files(self) -> LocalFiles:
        """What it reads that lies on this machine and outside the project's care."""
        return {}
