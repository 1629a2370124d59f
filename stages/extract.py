"""Encode every item's picture and text."""

from pathlib import Path

import click

from stages.running.command import MOST_AT_ONCE, PARAMS, SCRATCH, encoder_on_a_catalogue, stage


@stage
@encoder_on_a_catalogue
@click.option(
    "--batch-size",
    default=128,
    envvar="LMM4REC_EXTRACT_BATCH_SIZE",
    type=click.IntRange(min=1, max=MOST_AT_ONCE),
    help="items encoded at once; lower it if memory runs out",
)
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

    from lmm4rec.catalogue.downloads import file_sha256
    from lmm4rec.catalogue.pictures.images import IMAGES, MORE_IMAGES
    from lmm4rec.devices import choose_device
    from lmm4rec.distributed import is_main, joined
    from lmm4rec.doors import fitting
    from lmm4rec.encoders import load_encoder
    from lmm4rec.encoders.files.checkpoints import WEIGHTS_FILE
    from lmm4rec.features.extraction import ExtractConfig, Pace, describe, extract
    from lmm4rec.features.items import Catalogue, pictures_of
    from lmm4rec.folders import fingerprint, scratch_folder
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
    about |= pictures_of(catalogue, images)
    files = (weights, corpus / "items.parquet", images / IMAGES, images / MORE_IMAGES)
    # Batch size and device are part of the key: with others the last bits of a feature differ.
    shaped_by = (about, [fingerprint(file) for file in files], batch_size, device)
    scratch = scratch_folder(SCRATCH, "extract", *shaped_by)
    with joined(choose_device(device)) as own_device:
        pace = Pace(batch_size, workers, own_device)
        with fitting("--batch-size (LMM4REC_EXTRACT_BATCH_SIZE)", "lower it"):
            extract(model, catalogue, config, pace, scratch, output, about)
        if is_main():
            shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
