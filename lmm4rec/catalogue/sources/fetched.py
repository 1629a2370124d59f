"""A published catalogue: files that are fetched, by a preset's addresses or by their own."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from lmm4rec.catalogue.downloads import RemoteFile, fetch, file_name
from lmm4rec.catalogue.raw.tables import FILES
from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.folder_source import WordedSource, finish, without_personal_data
from lmm4rec.catalogue.sources.presets import preset, read_presets
from lmm4rec.folders import write_json
from lmm4rec.params import Sha256, Text

CHECKSUMS_FILE = "checksums.json"
_ROLE = re.compile(r"[A-Za-z][\w-]*")  # a part of files' names

log = logging.getLogger(__name__)


class FetchedSource(WordedSource):
    """A preset's files of one category, or files by their addresses."""

    kind: Literal["fetched"] = "fetched"
    category: Text | None = None  # Baby, Toys_and_Games, ... as the preset's addresses call it
    fetch: dict[Text, RemoteFile] | None = Field(default=None, min_length=1)  # by what they are
    sha256: dict[Text, Sha256] = Field(default={})  # of the preset's files: reviews, metadata

    @model_validator(mode="after")
    def _has_addresses(self) -> FetchedSource:
        if (self.category is None) == (self.fetch is None):
            raise ValueError("needs either a category of a preset or files to fetch, and not both")
        if self.category is None:
            odd = next((role for role in self.fetch or {} if not _ROLE.fullmatch(role)), None)
            if odd is not None:
                raise ValueError(
                    f"fetches {odd!r}, which cannot be a name; a name begins with a letter, then "
                    "come letters, digits, - and _"
                )
            return self
        known = {name: one.fetch for name, one in read_presets().items() if one.fetch}
        if self.preset not in known:
            raise ValueError(
                f"has a category, and preset {self.preset} no addresses of categories; choose "
                f"{', '.join(known)}"
            )
        strangers = self.sha256.keys() - known[self.preset].keys()
        if strangers:
            raise ValueError(
                f"gives a sum of {min(strangers)}, which {self.preset} does not fetch; it fetches "
                f"{', '.join(known[self.preset])}"
            )
        return self

    def remote_files(self) -> dict[str, RemoteFile]:
        """By role."""
        if self.fetch is not None:
            return dict(self.fetch)
        addresses = preset(self.preset or "").fetch
        return {
            role: RemoteFile(
                url=address.format(category=self.category), sha256=self.sha256.get(role)
            )
            for role, address in addresses.items()
        }

    def download(self, folder: Path, scratch: Path, salt: Path) -> None:
        checksums, kept = {}, self._names()
        for role, file in self.remote_files().items():
            path = scratch / role / kept[role]
            checksums[path.name] = fetch(file.url, path, file.sha256)
            log.info("%s: SHA-256 %s", path.name, checksums[path.name])
        (folder / FILES).mkdir()
        for role, name in kept.items():
            (scratch / role / name).rename(folder / FILES / name)
        write_json(folder / CHECKSUMS_FILE, checksums)
        theirs = Folder(folder / FILES)
        found = self.recipe(theirs)
        recipe = without_personal_data(theirs, found, theirs.root, salt)
        if recipe is not found:  # whoever is named in the files themselves stays out
            for name in (name for part in found.interactions.files.values() for name in part):
                (theirs.root / name).unlink()
        finish(theirs, recipe, folder)

    def _names(self) -> dict[str, str]:
        """File names by role: as addresses end, with the role before it where that is taken.

        So it is where a `Folder` would pass over a file of that name.
        """
        own = {role: file_name(file.url) for role, file in self.remote_files().items()}
        is_seen = all(name[:1] not in ("", ".") for name in own.values())
        if is_seen and len(set(own.values())) == len(own):
            return own
        return {role: f"{role}-{name}" for role, name in own.items()}
