"""Measure what an encoder costs here: parameters, operations, items per second, memory."""

from pathlib import Path

import click

from stages.running.command import PARAMS, device_option, existing_folder, output_path, stage


@stage
@click.option("--encoder", required=True, help="a name under `encoders` in params.yaml")
@click.option("--weights", required=True, type=existing_folder)
@click.option("--output", required=True, type=output_path, help="a JSON file")
@device_option
def main(encoder: str, weights: Path, output: Path, device: str) -> None:
    from lmm4rec.devices import choose_device
    from lmm4rec.encoders import load_encoder
    from lmm4rec.encoders.tuning.tuning import TuningConfig
    from lmm4rec.features.efficiency import efficiency
    from lmm4rec.features.extraction import ExtractConfig
    from lmm4rec.folders import write_json
    from lmm4rec.params import read_section

    config = read_section(PARAMS, f"encoders.{encoder}.extract", ExtractConfig)
    tuning = read_section(PARAMS, f"encoders.{encoder}.finetune", TuningConfig)
    model = load_encoder(weights)
    found = efficiency(model, config.precision, tuning.tune, choose_device(device))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, {"encoder": encoder, **found})


if __name__ == "__main__":
    main()
