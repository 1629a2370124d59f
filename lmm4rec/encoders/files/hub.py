"""Files of a hub's repositories: from the hub through its own cache, or from a mirror folder.

LMM4REC_MIRROR names a folder that replaces the network; the repository `owner/name` is looked up
in it as the folder `name`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from lmm4rec.catalogue.downloads import MIRROR_VARIABLE
from lmm4rec.errors import InputError

_TOKENIZER_FILES = ("*token*", "*.model", "vocab*", "merges.txt", "config.json")
_CODE_FILES = ("*.py",)  # of a tokenizer's own, which is never run


@dataclass(frozen=True)
class Repository:
    """A repository of the hub, or a local folder laid out like one."""

    name: str  # owner/name; for a folder, its path
    folder: Path | None = None

    def file(self, names: Sequence[str]) -> Path:
        """The first of `names` that there is."""
        if self.folder is None:
            return hub_file(self.name, names)
        for name in names:
            if (self.folder / name).is_file():
                return self.folder / name
        raise InputError(
            f"{self.folder}: holds none of {', '.join(names)}; give a folder laid out like a "
            "repository of the hub"
        )

    def file_if_any(self, name: str) -> Path | None:
        """The file, or None where the repository has none of that name."""
        if self.folder is None:
            return _hub_file_if_any(self.name, (name,))
        return self.folder / name if (self.folder / name).is_file() else None

    def origin(self, name: str) -> str | None:
        """Where others find the file; None for a folder of one's own."""
        return f"{self.name}/{name}" if self.folder is None else None


def hub_file(repository: str, names: Sequence[str]) -> Path:
    """The first of `names` that the repository has."""
    found = _hub_file_if_any(repository, names)
    if found is not None:
        return found
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        raise _not_mirrored(_mirror_folder(mirror, repository), repository, names)
    raise InputError(f"{repository}: the hub's repository has none of {', '.join(names)}")


def _hub_file_if_any(repository: str, names: Sequence[str]) -> Path | None:
    """None where the repository is there without such a file; InputError where it is not."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        folder = _mirror_folder(mirror, repository)
        return next((folder / name for name in names if (folder / name).is_file()), None)
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except LocalEntryNotFoundError as error:  # its way of saying that the hub is out of reach
            raise _silent(repository, name, error) from None
        except EntryNotFoundError:
            continue
        except Exception as error:  # the hub's client raises errors of every library below it
            raise _silent(repository, name, error) from None
    return None


def hub_tokenizer(repository: str) -> Path:
    """A folder with the tokenizer's files of the repository."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        return hub_file(repository, ("tokenizer.json", "tokenizer_config.json")).parent
    try:
        return Path(
            snapshot_download(
                repository,
                allow_patterns=list(_TOKENIZER_FILES),
                ignore_patterns=list(_CODE_FILES),
            )
        )
    except Exception as error:  # the hub's client raises errors of every library below it
        raise _silent(repository, "tokenizer", error) from None


def _mirror_folder(mirror: str, repository: str) -> Path:
    return Path(mirror) / repository.rpartition("/")[2]


def _not_mirrored(folder: Path, repository: str, names: Sequence[str]) -> InputError:
    return InputError(
        f"{folder}: holds none of {', '.join(names)}, and {MIRROR_VARIABLE} says to take "
        f"{repository} from there; put a copy of the repository there or unset {MIRROR_VARIABLE}"
    )


def _silent(repository: str, name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"{repository}: {name} could not be fetched from the hub ({type(error).__name__}: {reason})"
        f"; check network and name, set {MIRROR_VARIABLE} to a folder that holds a copy of the "
        "repository, or set `path` to local weights"
    )
