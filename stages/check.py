"""Check what is to run before anything is computed, with better words than DVC's."""

from pathlib import Path

import click

from stages.running.command import PARAMS, SCRATCH, any_path, output_path, stage

# The same in every run, so that what depends on it runs after it and never because of it.
CHECKED = "params.yaml and the files that it names were found sound.\n"


@stage
@click.option("--features", required=True, type=any_path, help="the folder of all features")
@click.option("--records", required=True, type=any_path, help="which files of yours were read")
@click.option("--output", required=True, type=output_path)
def main(features: Path, records: Path, output: Path) -> None:
    from lmm4rec.folders import write_text
    from lmm4rec.study.check import check_local_files, check_study, standing_features

    run = check_study(PARAMS, SCRATCH, standing_features(features))
    check_local_files(run, PARAMS, records, SCRATCH)
    write_text(output, CHECKED)


if __name__ == "__main__":
    main()
