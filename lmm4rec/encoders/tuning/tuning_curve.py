"""The curve of an encoder's training: a row per epoch, from epoch 0, before any step."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lmm4rec.folders import whole_file

CurveRow = dict[str, float | int | None]


def curve_row(
    epoch: int,
    learning_rate: float | None,
    losses: dict[str, float] | None,
    validation: dict[str, float],
) -> CurveRow:
    total = None if losses is None else sum(losses.values())
    return {
        "epoch": epoch,
        "learning_rate": learning_rate,
        "training_loss": total,
        **validation,
        **{f"training_{name}": value for name, value in (losses or {}).items()},
    }


def best_epoch(curve: list[CurveRow]) -> int:
    """The epoch with the smallest held-out loss, the first of equals."""
    losses = [row["validation_loss"] for row in curve]
    return losses.index(min(loss for loss in losses if loss is not None))


def before_and_after(curve: list[CurveRow]) -> dict[str, Any]:
    """What tuning brought on the held-out pairs: the loss and the recalls of epoch 0, and of the
    epoch that was kept."""
    kept = best_epoch(curve)
    measures = [name for name in curve[0] if name == "validation_loss" or "_recall@" in name]
    return {
        "held_out_pairs": curve[0]["held_out_pairs"],
        "epochs": len(curve) - 1,
        "kept_epoch": kept,
        "before": {name: curve[0][name] for name in measures},
        "after": {name: curve[kept][name] for name in measures},
    }


def write_curve(path: Path, curve: list[CurveRow]) -> None:
    """The rows as CSV; what an epoch does not have (the losses of epoch 0) stays empty."""
    columns = list(dict.fromkeys(name for row in curve for name in row))
    with (
        whole_file(path) as unfinished,
        unfinished.open("w", encoding="utf-8", newline="") as stream,
    ):
        table = csv.DictWriter(stream, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(curve)


def spelled(row: CurveRow) -> str:
    return ", ".join(
        f"{name} {value:.4g}"
        for name, value in row.items()
        if name != "epoch" and value is not None
    )
