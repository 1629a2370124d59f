"""Files of features, fetched or found: where each lies by now, and the sum of what was read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lmm4rec.catalogue.downloads import fetch, file_name, file_sha256
from lmm4rec.errors import InputError
from lmm4rec.features.arrays import GivenFile
from lmm4rec.features.imports import is_address


class GivenFiles:
    """Puts what is at an address into a scratch folder, once; what is on this machine stays there.

    `sums` are the SHA-256 by address, or by the name of a file of this machine.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch, self._places = scratch, dict[str, Path]()
        self.sums: dict[str, str] = {}

    def placed(self, given: GivenFile) -> Path:
        """InputError: it is not there, or its sum is another than the one given."""
        if given.file not in self._places:
            where = self._fetched if is_address(given.file) else self._found
            self._places[given.file] = where(given)
        return self._places[given.file]

    def _fetched(self, given: GivenFile) -> Path:
        # two addresses may end alike
        own = hashlib.sha256(given.file.encode()).hexdigest()[:16]
        path = self._scratch / own / file_name(given.file)
        self.sums[given.file] = fetch(given.file, path, given.sha256)
        return path

    def _found(self, given: GivenFile) -> Path:
        path = Path(given.file)
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; correct it under imports")
        found = file_sha256(path)
        if given.sha256 not in (None, found) and found != str(given.sha256).lower():
            raise InputError(
                f"{path}: the file's SHA-256 is {found}, not the {given.sha256} of params.yaml; "
                "give the file that was meant, or its sum"
            )
        other = self.sums.get(path.name, found)
        self.sums[path.name if other == found else given.file] = found
        return path
