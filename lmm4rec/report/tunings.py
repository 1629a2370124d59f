"""What fine-tuning did to each encoder: held-out retrieval before and after, from metrics in git.

Half of a dataset's report that knows no recommender: `tuning/<encoder>.json` beside the runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmm4rec.report.runs import read_metrics

ABOUT = (
    "Fine-tuning on the catalogue's pairs of picture and text: share of held-out pairs whose "
    "partner is among the k most similar, before and after (R@k; the epoch with the smallest "
    "held-out loss is kept, 0 being the encoder as it was)."
)


@dataclass(frozen=True)
class Tuning:
    encoder: str
    metrics: dict[str, Any]  # as stage finetune writes them


def read_tunings(folder: Path, encoders: Sequence[str]) -> list[Tuning]:
    """Of every encoder in `encoders`. InputError: one has not been tuned."""
    return [
        Tuning(
            name, read_metrics(folder / "tuning" / f"{name}.json", f"finetune@{folder.name}-{name}")
        )
        for name in encoders
    ]


def tuning_rows(tunings: Sequence[Tuning]) -> list[list[str]]:
    """The table's cells, its head first: a row per encoder, a column per kind of recall."""
    recalls = [name for name in tunings[0].metrics["before"] if "_recall@" in name]
    spelled = [name.replace("_to_", " → ").replace("_recall", " R") for name in recalls]
    rows = [["encoder", "held-out pairs", "kept epoch", *spelled]]
    for tuning in tunings:
        before, after = tuning.metrics["before"], tuning.metrics["after"]
        rows.append(
            [
                tuning.encoder,
                str(tuning.metrics["held_out_pairs"]),
                f"{tuning.metrics['kept_epoch']} of {tuning.metrics['epochs']}",
                *(f"{before[name]:.3f} → {after[name]:.3f}" for name in recalls),
            ]
        )
    return rows
