"""One HTML page of a dataset's results, from the metrics folders alone."""

from pathlib import Path

import click

from stages.running.command import PARAMS, any_path, existing_folder, output_path, stage


@stage
@click.option("--dataset", required=True)
@click.option("--metrics", required=True, type=existing_folder)
@click.option("--about", required=True, type=any_path, help="of the corpus")
@click.option("--efficiency", required=True, type=any_path, help="a folder that may be absent")
@click.option("--output", required=True, type=output_path)
def main(dataset: str, metrics: Path, about: Path, efficiency: Path, output: Path) -> None:
    from lmm4rec.folders import read_json, whole_folder, write_text
    from lmm4rec.report.catalogue import catalogue_table
    from lmm4rec.report.comparisons import compare
    from lmm4rec.report.efficiency import efficiency_table
    from lmm4rec.report.markdown import tables
    from lmm4rec.report.page import page
    from lmm4rec.report.runs import read_runs
    from lmm4rec.report.tunings import tunings_table
    from lmm4rec.study.run import read_run

    run = read_run(PARAMS)
    runs = [
        read_runs(metrics, features, recommender, run.seeds)
        for features, recommender in run.combinations()
    ]
    further = [
        *tunings_table(metrics, run.tuned),
        *efficiency_table(efficiency, run.encoders),
        catalogue_table(read_json(about)),
    ]
    metric = next(name for name in runs[0].users if name.startswith("ndcg"))
    with whole_folder(output) as folder:
        comparisons = compare(runs, metric)
        html = page(dataset, runs, comparisons, further)
        write_text(folder / "index.html", html)
        results = tables(runs, comparisons, further)
        write_text(folder / "results.md", results)
    click.echo(f"The report stands at {output / 'index.html'}.")


if __name__ == "__main__":
    main()
