"""Check the names under `run` before anything is computed, with better words than DVC's."""

from pathlib import Path

import click

from stages.running.command import PARAMS, output_path, stage


@stage
@click.option("--features", required=True, type=output_path, help="the folder of all features")
def main(features: Path) -> None:
    from lmm4rec.study.run import check_features

    standing: dict[str, set[str]] = {}
    for folder in features.glob("*/*/"):
        standing.setdefault(folder.parent.name, set()).add(folder.name)
    check_features(PARAMS, standing)


if __name__ == "__main__":
    main()
