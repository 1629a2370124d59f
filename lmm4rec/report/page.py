"""The HTML page: results, comparisons and further tables, readable without a network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from lmm4rec.report.comparisons import Comparison
from lmm4rec.report.runs import Runs, shown_metrics
from lmm4rec.report.table import Table

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; }
table { border-collapse: collapse; margin: 1rem 0 2rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
.best, .strong { font-weight: 700; } .quiet { color: #777; }
"""


def page(
    dataset: str,
    runs: Sequence[Runs],
    comparisons: Sequence[Comparison],
    further: Sequence[Table] = (),
) -> str:
    """The whole page. `runs` share their protocol; the first one's is printed."""
    protocol = runs[0].metrics[0]["protocol"]
    facts = "".join(
        f"<li>{escape(str(key)).replace('_', ' ')}: {escape(str(value))}</li>"
        for key, value in sorted(protocol.items())
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(dataset)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(dataset)}</h1>"
        f"<h2>Results on the test split</h2>{results_table(runs)}"
        f"<h2>Paired comparisons</h2>{comparisons_table(comparisons)}"
        f"{''.join(map(section, further))}"
        f"<h2>Protocol</h2><ul>{facts}</ul></html>\n"
    )


def results_table(runs: Sequence[Runs]) -> str:
    """Mean and standard deviation over seeds; the best mean of a column stands out."""
    metrics = shown_metrics(runs)
    best = {name: max(run.values("test", name).mean() for run in runs) for name in metrics}
    head = "".join(f"<th>{escape(name)}</th>" for name in metrics)
    rows = []
    for run in runs:
        cells = "".join(_cell(run.values("test", name), best[name]) for name in metrics)
        rows.append(
            f"<tr><td>{escape(run.recommender)}</td><td>{escape(run.features)}</td>{cells}</tr>"
        )
    return f"<table><tr><th>recommender</th><th>features</th>{head}</tr>{''.join(rows)}</table>"


def comparisons_table(comparisons: Sequence[Comparison]) -> str:
    """Difference, its 95 % interval, and the corrected p-value of every comparison."""
    if not comparisons:
        return "<p>Nothing to compare: the run holds a single model.</p>"
    rows = "".join(
        f"<tr><td>{escape(c.first.name)}</td><td>{escape(c.second.name)}</td>"
        f"<td>{c.test.difference:+.4f} ({c.relative:+.1%})</td>"
        f"<td>{c.test.low:+.4f} … {c.test.high:+.4f}</td>"
        f"<td class={'strong' if c.p_corrected < 0.05 else 'quiet'}>{c.p_corrected:.2g}</td></tr>"
        for c in comparisons
    )
    n_users = comparisons[0].test.n_users
    return (
        f"<p>{escape(comparisons[0].metric)}, averaged over seeds per user, paired t-test over "
        f"{n_users} users, Holm-Bonferroni over {len(comparisons)} comparisons.</p>"
        "<table><tr><th>first</th><th>second</th><th>difference</th><th>95 % interval</th>"
        f"<th>p, corrected</th></tr>{rows}</table>"
    )


def section(table: Table) -> str:
    """A table with its title and explanation."""
    head, *rows = ([escape(cell) for cell in row] for row in table.rows)
    body = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
    return (
        f"<h2>{escape(table.title)}</h2><p>{escape(table.about)}</p>"
        f"<table><tr><th>{'</th><th>'.join(head)}</th></tr>{body}</table>"
    )


def _cell(values: np.ndarray, best: float) -> str:
    mark = ' class="best"' if values.mean() == best else ""
    spread = f' <span class="quiet">± {values.std(ddof=1):.4f}</span>' if len(values) > 1 else ""
    return f"<td{mark}>{values.mean():.4f}{spread}</td>"
