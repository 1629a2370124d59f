"""Fetch or generate a dataset's raw files."""

from pathlib import Path

import click

from stages.running.command import PARAMS, SALT, SCRATCH, output_path, stage


@stage
@click.option("--dataset", required=True, help="a name under `datasets` in params.yaml")
@click.option("--output", required=True, type=output_path)
@click.option("--record", required=True, type=output_path, help="which files of yours were read")
def main(dataset: str, output: Path, record: Path) -> None:
    import shutil

    from lmm4rec.catalogue.sources import read_source
    from lmm4rec.catalogue.sources.base import SOURCE_FILE
    from lmm4rec.doors import fitting
    from lmm4rec.errors import said_of
    from lmm4rec.folders import scratch_folder, whole_folder, write_json
    from lmm4rec.local_files import LocalRecord

    source = read_source(PARAMS, dataset)
    section = source.model_dump(mode="json")
    scratch = scratch_folder(SCRATCH, "download", section)  # unfinished downloads outlive a kill
    local = LocalRecord(f"datasets.{dataset}.source", record, SCRATCH)
    with (
        local.kept(source.revision, source.local_files()) as taken_for,
        said_of(f"datasets.{dataset}"),
        whole_folder(output) as folder,
    ):
        with fitting(f"params.yaml: datasets.{dataset}.source", "lower its sizes"):
            source.download(folder, scratch, SALT)
        now = source.taken_for(folder, dict(taken_for))
        taken_for.clear()
        taken_for.update(now)
        write_json(folder / SOURCE_FILE, section)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
