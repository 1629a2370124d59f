"""Other people's files that weights are made of: fetched or found, checked, and recorded.

What a source held when its file was first of use is kept in a folder that outlives every run; a
file that later differs is refused unless params.yaml pins its sum.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import model_validator

from lmm4rec.catalogue.downloads import fetch, file_name, file_sha256
from lmm4rec.errors import InputError
from lmm4rec.folders import read_json, write_json
from lmm4rec.params import Section, Sha256, Text

SOURCES_FILE = "sources.json"  # in the weights folder: what it was made of

log = logging.getLogger(__name__)


class FileSource(Section):
    """Where a file comes from, and the SHA-256 it must have (null: that of its first download)."""

    url: Text | None
    path: Text | None  # a local file instead of the address
    sha256: Sha256 | None

    @model_validator(mode="after")
    def _names_one_source(self) -> FileSource:
        if (self.url is None) == (self.path is None):
            raise ValueError("must name either a url or a path; set the other to null")
        return self


@dataclass(frozen=True)
class ReceivedFiles:
    """Receives files and remembers which."""

    scratch: Path  # downloads, finished or not
    sums: Path  # a JSON file per source that was ever seen
    files: list[dict[str, str | int | None]] = field(default_factory=list)

    def receive(self, source: FileSource) -> Path:
        """The file, whole and with the right sum."""
        if source.path is not None:
            return self.note(Path(source.path), None, source.sha256)
        assert source.url is not None
        # a folder an address: those of two files may end alike
        folder = self.scratch / hashlib.sha256(source.url.encode()).hexdigest()[:16]
        path = folder / file_name(source.url)
        fetch(source.url, path, source.sha256)
        return self.note(path, source.url, source.sha256)

    def note(self, path: Path, origin: str | None, sha256: str | None) -> Path:
        """Check and record a file; `origin` is its public address, None for a person's own."""
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; correct `path` in params.yaml")
        found, size = file_sha256(path), path.stat().st_size
        log.info("%s: %d bytes, SHA-256 %s", path.name, size, found)
        if sha256 is not None and found != sha256.lower():
            raise InputError(
                f"{path}: the file's SHA-256 is {found}, not the {sha256} of params.yaml; fetch it "
                "again, or look into it and pin the new sum"
            )
        entry = {"file": path.name, "source": origin, "bytes": size, "sha256": found}
        if origin is not None and sha256 is None:
            self._compare_with_first(entry, origin)
        self.files.append(entry)
        return path

    def remember(self) -> None:
        """Take the sums of all files for those of their sources: what was made of them is sound."""
        for entry in self.files:
            if entry["source"] is not None:
                write_json(self._record(str(entry["source"])), entry)

    def _compare_with_first(self, entry: dict[str, str | int | None], origin: str) -> None:
        record = self._record(origin)
        first = read_json(record) if record.exists() else entry
        if first["sha256"] != entry["sha256"]:
            raise InputError(
                f"{origin}: holds {entry['bytes']} bytes with SHA-256 {entry['sha256']}, but "
                f"{first['bytes']} bytes with {first['sha256']} when it was first fetched; it "
                "changed or was damaged on the way: fetch it again, or pin the new sum as `sha256` "
                "in params.yaml"
            )

    def _record(self, origin: str) -> Path:
        return self.sums / f"{hashlib.sha256(origin.encode()).hexdigest()[:16]}.json"
