"""The same tables as Markdown, to be pasted where people read: a README, an issue, a paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmm4rec.report.comparisons import Comparison
from lmm4rec.report.runs import Runs, shown_metrics
from lmm4rec.report.table import Table


def tables(
    runs: Sequence[Runs], comparisons: Sequence[Comparison], further: Sequence[Table] = ()
) -> str:
    """Results on the test split, mean ± sd over seeds, the paired comparisons, further tables."""
    parts = [results_table(runs)]
    if comparisons:
        first = comparisons[0]
        parts.append(
            f"{first.metric}, paired t-test over {first.test.n_users} users (each user averaged "
            f"over seeds), Holm-Bonferroni over {len(comparisons)} comparisons:"
        )
        parts.append(comparisons_table(comparisons))
    for one in further:
        parts += [one.about, table(one.rows, one.n_words)]
    return "\n\n".join(parts) + "\n"


def results_table(runs: Sequence[Runs]) -> str:
    metrics = shown_metrics(runs)
    rows = [["recommender", "features", *metrics]]
    rows += [
        [run.recommender, run.features, *(spread(run.values("test", name)) for name in metrics)]
        for run in runs
    ]
    return table(rows, n_words=2)


def comparisons_table(comparisons: Sequence[Comparison]) -> str:
    rows = [["first", "second", "difference", "relative", "95 % interval", "p, corrected"]]
    rows += [
        [
            c.first.name,
            c.second.name,
            f"{c.test.difference:+.4f}",
            f"{c.relative:+.1%}",
            f"{c.test.low:+.4f} … {c.test.high:+.4f}",
            f"{c.p_corrected:.2g}",
        ]
        for c in comparisons
    ]
    return table(rows, n_words=2)


def table(rows: Sequence[Sequence[str]], n_words: int) -> str:
    """GitHub's table syntax: the first `n_words` columns are words, the rest numbers."""
    rule = ["---"] * n_words + ["---:"] * (len(rows[0]) - n_words)
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def spread(values: np.ndarray) -> str:
    if len(values) < 2:
        return f"{values.mean():.4f}"
    return f"{values.mean():.4f} ± {values.std(ddof=1):.4f}"
