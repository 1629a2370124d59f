"""Two metrics per test user, compact enough for git, so that any clone can test significance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lmm4rec.tables import write_table

if TYPE_CHECKING:
    from lmm4rec.evaluation.evaluation import SplitResult

PAIRED = ("recall", "ndcg")  # the metrics that papers of this field test
_PAIRED_CUTOFF = 20  # at this cutoff, or at the longest there is


def write_user_metrics(path: Path, result: SplitResult) -> None:
    """Per-user values as float32 in dictionary-encoded columns, users in id order."""
    cutoffs = {int(name.split("@")[1]) for name in result.metrics}
    cutoff = _PAIRED_CUTOFF if _PAIRED_CUTOFF in cutoffs else max(cutoffs)
    kept = [f"{name}@{cutoff}" for name in PAIRED]
    columns = {name: pa.array(result.metrics[name].astype(np.float32)) for name in kept}
    write_table(pa.table(columns), path)
