"""Fetch or generate a dataset's raw files."""

from pathlib import Path

import click

from stages.running.command import PARAMS, SCRATCH, output_path, stage


@stage
@click.option("--dataset", required=True, help="a name under `datasets` in params.yaml")
@click.option("--output", required=True, type=output_path)
def main(dataset: str, output: Path) -> None:
    import shutil

    from lmm4rec.catalogue.sources import read_source
    from lmm4rec.catalogue.sources.base import SOURCE_FILE
    from lmm4rec.folders import scratch_folder, whole_folder, write_json

    source = read_source(PARAMS, dataset)
    section = source.model_dump(mode="json")
    scratch = scratch_folder(SCRATCH, "download", section)  # unfinished downloads outlive a kill
    with whole_folder(output) as folder:
        source.download(folder, scratch)
        write_json(folder / SOURCE_FILE, section)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
