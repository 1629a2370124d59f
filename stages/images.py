"""Collect the pictures of a corpus's items into one file."""

from pathlib import Path

import click

from stages.running.code import code_fingerprint
from stages.running.command import PARAMS, SCRATCH, existing_folder, output_path, stage


@stage
@click.option("--dataset", required=True, help="a name under `datasets` in params.yaml")
@click.option("--raw", required=True, type=existing_folder)
@click.option("--corpus", required=True, type=existing_folder)
@click.option("--output", required=True, type=output_path)
@click.option(
    "--connections-per-host",
    default=8,
    envvar="LMM4REC_CONNECTIONS_PER_HOST",
    type=click.IntRange(min=1, max=1024),
)
def main(dataset: str, raw: Path, corpus: Path, output: Path, connections_per_host: int) -> None:
    import logging
    import shutil

    from lmm4rec.catalogue.corpus import PICTURE_SOURCES, read_picture_sources
    from lmm4rec.catalogue.picture_archive import ARCHIVE
    from lmm4rec.catalogue.picture_collection import ImagesParams, collect_images
    from lmm4rec.catalogue.picture_links import from_archive, from_network
    from lmm4rec.folders import fingerprint, scratch_folder, whole_folder
    from lmm4rec.params import read_section

    params = read_section(PARAMS, f"datasets.{dataset}.images", ImagesParams)
    archive = raw / ARCHIVE
    if archive.exists():
        source, shaped_by = from_archive(archive), fingerprint(archive)
    else:
        source, shaped_by = from_network(params, params.maximum_bytes, connections_per_host), ""
    # What only says how long to try does not shape a picture that came: shards outlive its change.
    shape = params.model_dump(exclude={"timeout_seconds", "attempts", "maximum_unreachable_share"})
    code = code_fingerprint("images")
    wanted = fingerprint(corpus / PICTURE_SOURCES)
    scratch = scratch_folder(SCRATCH, "images", shape, shaped_by, wanted, code)
    with whole_folder(output) as folder:
        counts = collect_images(
            read_picture_sources(corpus),
            source,
            folder,
            scratch,
            params,
            threads=2 * connections_per_host,
        )
    shutil.rmtree(scratch)
    logging.info("pictures by status: %s", counts)


if __name__ == "__main__":
    main()
