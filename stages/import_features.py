"""Take features that another tool made, and keep those of a corpus's items."""

from pathlib import Path

import click

from stages.running.command import PARAMS, SCRATCH, existing_folder, output_path, stage


@stage
@click.option("--imported", required=True, help="a name under `imports` in params.yaml")
@click.option("--dataset", required=True, help="a name under its `files`")
@click.option("--corpus", required=True, type=existing_folder)
@click.option("--output", required=True, type=output_path)
@click.option("--record", required=True, type=output_path, help="which files of yours were read")
def main(imported: str, dataset: str, corpus: Path, output: Path, record: Path) -> None:
    import logging
    import shutil

    from lmm4rec.catalogue.corpus import read_all_item_ids
    from lmm4rec.features.features import write_features
    from lmm4rec.features.given_files import GivenFiles
    from lmm4rec.features.imports import DatasetImport, import_features
    from lmm4rec.features.rules import FeatureRules
    from lmm4rec.folders import scratch_folder, whole_folder
    from lmm4rec.local_files import LocalRecord
    from lmm4rec.params import read_section

    key = f"imports.{imported}.files.{dataset}"
    section = read_section(PARAMS, key, DatasetImport)
    rules = read_section(PARAMS, "features", FeatureRules)
    # unfinished downloads outlive a kill
    scratch = scratch_folder(SCRATCH, "import", section.model_dump(mode="json"))
    files = GivenFiles(scratch)
    with LocalRecord(key, record, SCRATCH).kept(section.revision, section.local_files()):
        features, counts = import_features(section, read_all_item_ids(corpus), files.placed, rules)
        with whole_folder(output) as folder:
            about: dict[str, object] = {"imported": imported, "files": files.sums, "counts": counts}
            write_features(folder, features, about)
    logging.info("%s for %s: %s", imported, dataset, counts)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
