"""Files of a hub's repositories: from the hub through its own cache, or from a mirror folder.

LMM4REC_MIRROR names a folder that replaces the network; the repository `owner/name` is looked up
in it as the folder `name`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from lmm4rec.downloads import MIRROR_VARIABLE
from lmm4rec.errors import InputError

_TOKENIZER_FILES = ("*token*", "*.model", "vocab*", "merges.txt", "config.json")


def hub_file(repository: str, names: Sequence[str]) -> Path:
    """The first of `names` that the repository has."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        return _mirrored(mirror, repository, names)
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except LocalEntryNotFoundError as error:  # its way of saying that the hub is out of reach
            raise _silent(repository, name, error) from None
        except EntryNotFoundError:
            continue
        except Exception as error:  # the hub's client raises errors of every library below it
            raise _silent(repository, name, error) from None
    raise InputError(f"{repository}: the hub's repository has none of {', '.join(names)}")


def hub_tokenizer(repository: str) -> Path:
    """A folder with the tokenizer's files of the repository."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        return _mirrored(mirror, repository, ("tokenizer.json", "tokenizer_config.json")).parent
    try:
        return Path(snapshot_download(repository, allow_patterns=list(_TOKENIZER_FILES)))
    except Exception as error:  # the hub's client raises errors of every library below it
        raise _silent(repository, "tokenizer", error) from None


def _mirrored(mirror: str, repository: str, names: Sequence[str]) -> Path:
    folder = Path(mirror) / repository.rpartition("/")[2]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
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
