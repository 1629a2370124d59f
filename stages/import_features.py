"""Fetch features that come as a file and keep those of a corpus's items."""

from pathlib import Path

import click

from stages.running.command import PARAMS, SCRATCH, existing_folder, output_path, stage


@stage
@click.option("--imported", required=True, help="a name under `imports` in params.yaml")
@click.option("--dataset", required=True, help="a name under its `files`")
@click.option("--corpus", required=True, type=existing_folder)
@click.option("--output", required=True, type=output_path)
def main(imported: str, dataset: str, corpus: Path, output: Path) -> None:
    import logging
    import shutil

    from lmm4rec.catalogue.corpus import read_item_ids
    from lmm4rec.catalogue.downloads import RemoteFile, fetch, file_name
    from lmm4rec.features.features import write_features
    from lmm4rec.features.imported_features import ImportConfig, import_images
    from lmm4rec.folders import scratch_folder, whole_folder
    from lmm4rec.params import read_section

    config = read_section(PARAMS, f"imports.{imported}", ImportConfig)
    file = read_section(PARAMS, f"imports.{imported}.files.{dataset}", RemoteFile)
    scratch = scratch_folder(SCRATCH, "import", file.url)  # unfinished downloads outlive a kill
    path = scratch / file_name(file.url)
    sha256 = fetch(file.url, path, file.sha256)
    features, counts = import_images(path, read_item_ids(corpus), config)
    with whole_folder(output) as folder:
        about = {"imported": imported, "source": file.url, "sha256": sha256, **counts}
        write_features(folder, features, about)
    logging.info("%s: SHA-256 %s, %s", path.name, sha256, counts)
    shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
