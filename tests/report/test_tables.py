"""What the tables say, cell by cell: Markdown as it is pasted, HTML as it is read."""

from __future__ import annotations

import numpy as np
import pytest

from lmm4rec.report import markdown, page
from lmm4rec.report.comparisons import Comparison
from lmm4rec.report.runs import Runs
from lmm4rec.report.statistics import PairedTest, UserMetric
from lmm4rec.report.table import Table

METRIC = "ndcg@20"


def runs(recommender: str, features: str, *seeds: tuple[float, float]) -> Runs:
    """(recall@20, ndcg@20) of each seed; every user at the mean."""
    tests = [{"recall@20": recall, METRIC: ndcg} for recall, ndcg in seeds]
    mean = float(np.mean([ndcg for _, ndcg in seeds]))
    metrics = [{"test": test, "protocol": {"ties_are": "broken by <id>"}} for test in tests]
    return Runs(features, recommender, metrics, {METRIC: UserMetric.of(["a", "b"], [mean, mean])})


BETTER = runs("vbpr", "a<b", (0.5, 0.2), (0.7, 0.4))
WORSE = runs("bpr", "none", (0.55, 0.4))


def comparison(p: float) -> Comparison:
    test = PairedTest(17, -0.1, -0.25, 0.05, effect_size=-0.5, t=-2.0, p=p / 2)
    return Comparison(BETTER, WORSE, METRIC, test, p)


def test_markdown_of_results() -> None:
    assert markdown.results_table([BETTER, WORSE]).splitlines() == [
        "| recommender | features | recall@20 | ndcg@20 |",
        "| --- | --- | ---: | ---: |",
        "| vbpr | a<b | 0.6000 ± 0.1414 | 0.3000 ± 0.1414 |",  # 0.1 * sqrt(2): n - 1
        "| bpr | none | 0.5500 | 0.4000 |",
    ]


def test_markdown_of_comparisons_and_of_what_follows() -> None:
    further = Table("Speed", "In seconds.", [["encoder", "time"], ["clip", "3"]], n_words=1)
    assert markdown.tables([BETTER], [comparison(0.04), comparison(0.051)], [further]) == (
        markdown.results_table([BETTER])
        + "\n\nndcg@20, paired t-test over 17 users (each user averaged over seeds), "
        "Holm-Bonferroni over 2 comparisons:\n\n"
        "| first | second | difference | relative | 95 % interval | p, corrected |\n"
        "| --- | --- | ---: | ---: | ---: | ---: |\n"
        "| vbpr(a<b) | bpr | -0.1000 | -25.0% | -0.2500 … +0.0500 | 0.04 |\n"
        "| vbpr(a<b) | bpr | -0.1000 | -25.0% | -0.2500 … +0.0500 | 0.051 |\n\n"
        "In seconds.\n\n| encoder | time |\n| --- | ---: |\n| clip | 3 |\n"
    )
    assert "paired" not in markdown.tables([BETTER], [])


def test_the_page_marks_the_best_of_each_column() -> None:
    quiet = ' <span class="quiet">± 0.1414</span>'
    assert page.results_table([BETTER, WORSE]) == (
        "<table><tr><th>recommender</th><th>features</th><th>recall@20</th><th>ndcg@20</th></tr>"
        f'<tr><td>vbpr</td><td>a&lt;b</td><td class="best">0.6000{quiet}</td>'
        f"<td>0.3000{quiet}</td></tr>"
        '<tr><td>bpr</td><td>none</td><td>0.5500</td><td class="best">0.4000</td></tr></table>'
    )


@pytest.mark.parametrize(("p", "mark"), [(0.049, "strong"), (0.05, "quiet"), (0.6, "quiet")])
def test_the_page_tells_what_is_significant(p: float, mark: str) -> None:
    row = (
        "<tr><td>vbpr(a&lt;b)</td><td>bpr</td><td>-0.1000 (-25.0%)</td>"
        f"<td>-0.2500 … +0.0500</td><td class={mark}>{p:.2g}</td></tr>"
    )
    table = page.comparisons_table([comparison(p)])
    assert row in table and "over 17 users, Holm-Bonferroni over 1 comparisons" in table
    assert "Nothing to compare" in page.comparisons_table([])


def test_the_whole_page() -> None:
    further = Table("Speed", "In seconds.", [["encoder", "time"], ["clip", "3"]], n_words=1)
    html = page.page("toy<s", [BETTER, WORSE], [comparison(0.04)], [further])
    assert "<title>toy&lt;s</title>" in html and "<h1>toy&lt;s</h1>" in html
    assert "<h2>Protocol</h2><ul><li>ties are: broken by &lt;id&gt;</li></ul></html>\n" in html
    assert (
        "<h2>Speed</h2><p>In seconds.</p><table><tr><th>encoder</th><th>time</th></tr>"
        "<tr><td>clip</td><td>3</td></tr></table>"
    ) in html
