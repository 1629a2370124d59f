"""Features that ought not to help: noise, or another encoder's rows dealt to the wrong items."""

from pathlib import Path

import click

from stages.running.command import PARAMS, existing_folder, output_path, stage


@stage
@click.option("--control", required=True, type=click.Choice(["noise", "shuffled"]))
@click.option("--reference", required=True, type=existing_folder, help="the features to imitate")
@click.option("--output", required=True, type=output_path)
def main(control: str, reference: Path, output: Path) -> None:
    from lmm4rec.features.controls import CONTROLS, ControlConfig
    from lmm4rec.features.features import read_feature_ids, read_features, write_features
    from lmm4rec.folders import whole_folder
    from lmm4rec.params import read_section

    config = read_section(PARAMS, f"controls.{control}", ControlConfig)
    original = read_features(reference, read_feature_ids(reference))
    with whole_folder(output) as folder:
        features = CONTROLS[control](original, config.seed)
        write_features(folder, features, {"control": control, "seed": config.seed})


if __name__ == "__main__":
    main()
