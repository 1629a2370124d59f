"""The table of what encoders cost, from the files of stage efficiency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmm4rec.folders import read_json
from lmm4rec.report.table import Table

_HEAD = (
    "encoder",
    "parameters, M",
    "of image, M",
    "of text, M",
    "trained, M",
    "GFLOP a picture",
    "GFLOP a text",
    "measured on",
    "items/s",
    "of matrix rate",
    "peak memory, MiB",
)
_ABOUT = (
    "Forward passes of a picture and a text each, texts of full length; a multiply-add counts as "
    "two operations. Trained: in fine-tuning. On CPU the memory is that of the whole process."
)


def efficiency_table(folder: Path, encoders: Sequence[str]) -> list[Table]:
    """One table of those of the `encoders` that have been counted, none if none was.

    What was measured stands in a file of its own, whose lack leaves cells empty.
    """
    counted = {encoder: folder / f"{encoder}.json" for encoder in encoders}
    rows = [
        _cells(read_json(path)) + _measured_cells(folder / f"{encoder}.measured.json")
        for encoder, path in counted.items()
        if path.exists()
    ]
    return [Table("What the encoders cost", _ABOUT, [_HEAD, *rows], n_words=2)] if rows else []


def _cells(counted: dict[str, Any]) -> list[str]:
    parameters, flops = counted["parameters"], counted["flops_per_item"]
    kinds = ("total", "image_tower", "text_tower", "trained")
    return [
        counted["encoder"],
        *(f"{parameters[kind] / 1e6:.2f}" for kind in kinds),
        *(f"{flops[kind] / 1e9:.3g}" for kind in ("image", "text")),
    ]


def _measured_cells(path: Path) -> list[str]:
    if not path.exists():
        return [""] * 4
    measured = read_json(path)
    return [
        f"{measured['device']}, {measured['precision']}, batch {measured['batch_size']}",
        f"{measured['items_per_second']:.1f}",
        f"{measured['share_of_matrix_rate']:.0%}",
        str(measured["peak_memory_mib"]),
    ]
