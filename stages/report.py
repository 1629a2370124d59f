"""One HTML page of a dataset's results, from the metrics folder alone."""

from pathlib import Path

import click

from stages.command import PARAMS, existing_folder, output_path, stage


@stage
@click.option("--dataset", required=True)
@click.option("--metrics", required=True, type=existing_folder)
@click.option("--output", required=True, type=output_path)
def main(dataset: str, metrics: Path, output: Path) -> None:
    from lmm4rec.folders import whole_folder
    from lmm4rec.report.comparisons import compare
    from lmm4rec.report.markdown import tables
    from lmm4rec.report.page import page
    from lmm4rec.report.runs import read_runs
    from lmm4rec.report.tunings import read_tunings
    from lmm4rec.run import read_run

    run = read_run(PARAMS)
    runs = [
        read_runs(metrics, features, recommender, run.seeds)
        for features, recommender in run.combinations()
    ]
    tunings = read_tunings(metrics, run.tuned)
    metric = next(name for name in runs[0].users if name.startswith("ndcg"))
    with whole_folder(output) as folder:
        comparisons = compare(runs, metric)
        html = page(dataset, runs, comparisons, tunings)
        (folder / "index.html").write_text(html, encoding="utf-8")
        (folder / "results.md").write_text(tables(runs, comparisons, tunings), encoding="utf-8")
    click.echo(f"The report stands at {output / 'index.html'}.")


if __name__ == "__main__":
    main()
