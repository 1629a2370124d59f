"""Features that come as one file of records: an item's id, then its vector.

The layout of the 2014 Amazon release's image_features_X.b: `id_bytes` letters and `dimensions`
little-endian float32, record after record, gzipped or not (He and McAuley, AAAI 2016). Files hold
every product of a category; a corpus's items are picked out while the file streams by.

Shapes: I items of the corpus, D dims.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from lmm4rec.errors import InputError
from lmm4rec.features.gathering import Gathered, only_finite
from lmm4rec.params import Dimensions, Section, Sha256, Text
from lmm4rec.tables import rows_of

_RECORDS_AT_ONCE = 256
_GZIP = b"\x1f\x8b"

log = logging.getLogger(__name__)


class RecordsImport(Section):
    """One file of records."""

    kind: Literal["records"]
    id_bytes: int = Field(gt=0, le=1024)
    dimensions: Dimensions
    file: Text
    sha256: Sha256 | None

    def record(self) -> np.dtype[Any]:
        return np.dtype([("id", f"S{self.id_bytes}"), ("vector", "<f4", (self.dimensions,))])


def read_records(path: Path, item_ids: pa.Array, config: RecordsImport) -> Gathered:
    """The vectors of exactly these items, and counts of what the file held.

    Items without a record are missing, and so are those whose vector is not finite; of an id that
    stands twice the first record is kept. Raises InputError for a file that breaks off, whose
    records are of another size, or that has none of the items.
    """
    matrix = np.zeros((len(item_ids), config.dimensions), np.float32)
    present = np.zeros(len(item_ids), bool)
    counts: Counter[str] = Counter(records=0, duplicate_items=0)
    for records in _records(path, config):
        _refuse_ids_that_are_none(records["id"], path, counts["records"])
        counts["records"] += len(records)
        rows = rows_of(pa.array(records["id"].astype(str), pa.string()), item_ids)
        for at in np.flatnonzero(rows >= 0):
            if present[rows[at]]:
                counts["duplicate_items"] += 1
                continue
            matrix[rows[at]] = records["vector"][at]
            present[rows[at]] = True
    if not present.any():
        raise InputError(
            f"{path}: holds none of the corpus's {len(item_ids)} items in {counts['records']} "
            "records; give the file that belongs to this dataset"
        )
    return only_finite(Gathered(matrix, present, dict(counts)))


def _records(path: Path, config: RecordsImport) -> Iterator[NDArray[Any]]:
    """The file's records, some hundred at a time."""
    record = config.record()
    with (
        path.open("rb") as file,
        tqdm(total=path.stat().st_size, unit="B", unit_scale=True, desc=path.name) as progress,
    ):
        is_gzip = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        stream: BinaryIO = gzip.GzipFile(fileobj=file) if is_gzip else file  # type: ignore[assignment]
        number = 0
        while content := _read(stream, _RECORDS_AT_ONCE * record.itemsize, path):
            whole, rest = divmod(len(content), record.itemsize)
            if rest:
                raise InputError(
                    f"{path}: ends {rest} bytes into record {number + whole + 1} of "
                    f"{record.itemsize} bytes each; fetch it again, or correct id_bytes and "
                    "dimensions in params.yaml"
                )
            yield np.frombuffer(content, record)
            number += whole
            progress.update(file.tell() - progress.n)


def _read(stream: BinaryIO, size: int, path: Path) -> bytes:
    """`size` bytes, fewer only at the end."""
    parts = []
    try:
        while size and (part := stream.read(size)):
            parts.append(part)
            size -= len(part)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: not a whole gzip file ({error}); fetch it again") from None
    return b"".join(parts)


def _refuse_ids_that_are_none(ids: NDArray[np.bytes_], path: Path, before: int) -> None:
    """Letters and digits; anything else is a piece of a vector."""
    is_id = np.char.isalnum(ids)
    if not is_id.all():
        first = int(np.flatnonzero(~is_id)[0])
        raise InputError(
            f"{path}: record {before + first + 1} begins with {bytes(ids[first])!r}, which is no "
            "item id; correct id_bytes and dimensions in params.yaml, or give another file"
        )
