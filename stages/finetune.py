"""Adapt an encoder to a catalogue's own pictures and texts; no interaction is read."""

from pathlib import Path

import click

from stages.running.command import PARAMS, SCRATCH, encoder_on_a_catalogue, output_path, stage


@stage
@encoder_on_a_catalogue
@click.option("--curve", required=True, type=output_path, help="CSV with a row per epoch")
@click.option("--metrics", required=True, type=output_path, help="JSON: retrieval before, after")
def main(
    encoder: str,
    weights: Path,
    corpus: Path,
    images: Path,
    output: Path,
    curve: Path,
    metrics: Path,
    device: str,
    workers: int,
) -> None:
    import shutil

    from lmm4rec.devices import choose_device
    from lmm4rec.distributed import is_main, joined
    from lmm4rec.doors import fitting
    from lmm4rec.encoders import load_encoder
    from lmm4rec.encoders.tuning.tuning import TuningConfig, tune_encoder
    from lmm4rec.encoders.tuning.tuning_curve import before_and_after, write_curve
    from lmm4rec.features.items import Catalogue
    from lmm4rec.folders import fingerprint, scratch_folder, whole_folder, write_json
    from lmm4rec.params import find, read_params, read_section

    config = read_section(PARAMS, f"encoders.{encoder}.finetune", TuningConfig)
    revision = find(read_params(PARAMS), f"encoders.{encoder}.revision", PARAMS)
    source = Catalogue(corpus, images).in_memory()
    model = load_encoder(weights)
    files = (corpus / "items.parquet", images / "images.parquet", weights)
    shaped_by = (config.model_dump(mode="json"), revision, [fingerprint(file) for file in files])
    scratch = scratch_folder(SCRATCH, "finetune", *shaped_by, device)
    with joined(choose_device(device)) as own_device:
        with fitting(f"params.yaml: encoders.{encoder}.finetune", "lower its batch_size"):
            rows = tune_encoder(model, source, config, scratch, own_device, workers)
        if is_main():
            with whole_folder(output) as folder:
                model.save(folder)
            write_curve(curve, rows)
            write_json(metrics, before_and_after(rows))
            shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
