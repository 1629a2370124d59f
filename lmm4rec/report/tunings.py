"""What fine-tuning did to each encoder: held-out retrieval before and after, from metrics in git.

Half of a dataset's report that knows no recommender: `tuning/<encoder>.json` beside the runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmm4rec.report.runs import read_metrics
from lmm4rec.report.table import Table

_ABOUT = (
    "Fine-tuning on the catalogue's pairs of picture and text: share of held-out pairs whose "
    "partner is among the k most similar, before and after (R@k; the epoch with the smallest "
    "held-out loss is kept, 0 being the encoder as it was)."
)


def tunings_table(folder: Path, encoders: Sequence[str]) -> list[Table]:
    """One table of all `encoders`, none if there are none. InputError: one has not been tuned."""
    stage = f"finetune@{folder.name}"
    tunings = {
        name: read_metrics(folder / "tuning" / f"{name}.json", f"{stage}-{name}")
        for name in encoders
    }
    return [Table("Fine-tuning", _ABOUT, _rows(tunings), n_words=1)] if tunings else []


def _rows(tunings: Mapping[str, dict[str, Any]]) -> list[list[str]]:
    """A row per encoder, a column per kind of recall."""
    found = next(iter(tunings.values()))["before"]  # JSON's keys come in the alphabet's order
    recalls = sorted((name for name in found if "_recall@" in name), key=_direction_and_cutoff)
    spelled = [name.replace("_to_", " → ").replace("_recall", " R") for name in recalls]
    rows = [["encoder", "held-out pairs", "kept epoch", *spelled]]
    for encoder, metrics in tunings.items():
        before, after = metrics["before"], metrics["after"]
        rows.append(
            [
                encoder,
                str(metrics["held_out_pairs"]),
                f"{metrics['kept_epoch']} of {metrics['epochs']}",
                *(f"{before[name]:.3f} → {after[name]:.3f}" for name in recalls),
            ]
        )
    return rows


def _direction_and_cutoff(name: str) -> tuple[str, int]:
    direction, _, cutoff = name.partition("@")
    return direction, int(cutoff)
