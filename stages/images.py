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

    from lmm4rec.catalogue.corpus import (
        ITEM_IDS,
        NEW_ARRIVALS,
        PICTURE_SOURCES,
        read_all_item_ids,
        read_picture_sources,
    )
    from lmm4rec.catalogue.pictures.archive import ARCHIVE
    from lmm4rec.catalogue.pictures.collection import ImagesParams, collect_images
    from lmm4rec.catalogue.pictures.links import from_either, from_network
    from lmm4rec.folders import fingerprint, scratch_folder, whole_folder
    from lmm4rec.params import read_section

    params = read_section(PARAMS, f"datasets.{dataset}.images", ImagesParams)
    archive = raw / ARCHIVE
    shaped_by = fingerprint(archive) if archive.exists() else ""
    pictures = read_picture_sources(corpus)
    network = from_network(params, params.maximum_bytes, connections_per_host)
    source = from_either(archive, network, pictures["picture"].to_pylist())
    # What only says how long to try does not shape a picture that came: shards outlive its change.
    shape = params.model_dump(exclude={"timeout_seconds", "attempts", "maximum_unreachable_share"})
    code = code_fingerprint("images")
    wanted = [fingerprint(corpus / name) for name in (ITEM_IDS, NEW_ARRIVALS, PICTURE_SOURCES)]
    scratch = scratch_folder(SCRATCH, "images", shape, shaped_by, wanted, code)
    with whole_folder(output) as folder:
        counts = collect_images(
            read_all_item_ids(corpus),
            pictures,
            source,
            folder,
            scratch,
            params,
            threads=2 * connections_per_host,
        )
    shutil.rmtree(scratch)
    logging.info("items by status of their picture: %s", counts)


if __name__ == "__main__":
    main()
