"""Measure what an encoder costs here: parameters, operations, items per second, memory."""

from pathlib import Path

import click

from stages.running.command import PARAMS, device_option, existing_folder, output_path, stage


@stage
@click.option("--encoder", required=True, help="a name under `encoders` in params.yaml")
@click.option("--weights", required=True, type=existing_folder)
@click.option("--output", required=True, type=output_path, help="a JSON file of what is counted")
@click.option("--measured", required=True, type=output_path, help="a JSON file of the rest")
@device_option
def main(encoder: str, weights: Path, output: Path, measured: Path, device: str) -> None:
    from lmm4rec.devices import choose_device
    from lmm4rec.encoders import load_encoder
    from lmm4rec.encoders.tuning.tuning import TuningConfig
    from lmm4rec.features.efficiency import COUNTED, efficiency
    from lmm4rec.features.extraction import ExtractConfig
    from lmm4rec.folders import write_json
    from lmm4rec.params import read_section

    config = read_section(PARAMS, f"encoders.{encoder}.extract", ExtractConfig)
    tuning = read_section(PARAMS, f"encoders.{encoder}.finetune", TuningConfig)
    model = load_encoder(weights)
    found = efficiency(model, config.precision, tuning.tune, choose_device(device))
    for path in (measured, output):
        kept = {key: value for key, value in found.items() if (key in COUNTED) == (path == output)}
        write_json(path, {"encoder": encoder, **kept})


if __name__ == "__main__":
    main()
