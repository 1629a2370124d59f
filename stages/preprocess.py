"""Turn a dataset's raw files into a corpus: filtered, split, with a text per item."""

from pathlib import Path

import click

from stages.running.command import PARAMS, existing_folder, output_path, stage


@stage
@click.option("--dataset", required=True, help="a name under `datasets` in params.yaml")
@click.option("--raw", required=True, type=existing_folder)
@click.option("--output", required=True, type=output_path)
def main(dataset: str, raw: Path, output: Path) -> None:
    import logging

    from lmm4rec.catalogue.preprocessing import PreprocessParams, write_corpus
    from lmm4rec.catalogue.raw.catalogue import open_raw
    from lmm4rec.catalogue.summary import corpus_lines
    from lmm4rec.errors import said_of
    from lmm4rec.folders import whole_folder
    from lmm4rec.params import read_section

    params = read_section(PARAMS, f"datasets.{dataset}.preprocess", PreprocessParams)
    with said_of(f"datasets.{dataset}"), whole_folder(output) as folder:
        about = write_corpus(open_raw(raw), folder, params)
    for line in corpus_lines(about, dataset):
        logging.info("%s", line)


if __name__ == "__main__":
    main()
