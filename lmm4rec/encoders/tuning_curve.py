"""The curve of an encoder's training: a row per epoch, from epoch 0, before any step."""

from __future__ import annotations

import csv
from pathlib import Path

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


def write_curve(path: Path, curve: list[CurveRow]) -> None:
    """The rows as CSV; what an epoch does not have (the losses of epoch 0) stays empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in curve for name in row))
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(curve)


def spelled(row: CurveRow) -> str:
    return ", ".join(
        f"{name} {value:.4g}"
        for name, value in row.items()
        if name != "epoch" and value is not None
    )
