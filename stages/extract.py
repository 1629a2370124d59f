"""Encode every item's picture and text."""

from pathlib import Path

import click

from stages.command import (
    PARAMS,
    SCRATCH,
    device_option,
    existing_folder,
    output_path,
    stage,
    workers_option,
)


@stage
@click.option("--encoder", required=True, help="a name under `encoders` in params.yaml")
@click.option("--weights", required=True, type=existing_folder)
@click.option("--corpus", required=True, type=existing_folder)
@click.option("--images", required=True, type=existing_folder)
@click.option("--output", required=True, type=output_path)
@click.option(
    "--batch-size",
    default=128,
    envvar="LMM4REC_EXTRACT_BATCH_SIZE",
    type=click.IntRange(min=1),
    help="items encoded at once; lower it if memory runs out",
)
@device_option
@workers_option
def main(
    encoder: str,
    weights: Path,
    corpus: Path,
    images: Path,
    output: Path,
    batch_size: int,
    device: str,
    workers: int,
) -> None:
    import shutil

    from lmm4rec.catalogue import Catalogue
    from lmm4rec.devices import choose_device
    from lmm4rec.downloads import file_sha256
    from lmm4rec.encoders import load_encoder
    from lmm4rec.encoders.checkpoints import WEIGHTS_FILE
    from lmm4rec.extraction import ExtractConfig, Pace, describe, extract
    from lmm4rec.folders import fingerprint, scratch_folder, whole_folder
    from lmm4rec.params import find, read_params, read_section

    config = read_section(PARAMS, f"encoders.{encoder}.extract", ExtractConfig)
    revision = find(read_params(PARAMS), f"encoders.{encoder}.revision", PARAMS)
    catalogue = Catalogue(corpus, images)
    model = load_encoder(weights)
    about = describe(model, config) | {
        "encoder": encoder,
        "revision": revision,
        "weights_sha256": file_sha256(weights / WEIGHTS_FILE),
    }
    files = (weights, corpus / "items.parquet", images / "images.parquet")
    # Batch size and device are part of the key: with others the last bits of a feature differ.
    shaped_by = (about, [fingerprint(file) for file in files], batch_size, device)
    scratch = scratch_folder(SCRATCH, "extract", *shaped_by)
    pace = Pace(batch_size, workers, choose_device(device))
    with whole_folder(output) as folder:
        extract(model, catalogue, config, pace, scratch, folder, about)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
