"""Say how a catalogue is read, before anything is run: what is what, and what is not found."""

from pathlib import Path

import click

from stages.running.command import PARAMS, stage


@stage
@click.argument("dataset")
@click.option("--raw", default="data/raw", type=click.Path(path_type=Path), help="what was fetched")
def main(dataset: str, raw: Path) -> None:
    from lmm4rec.catalogue.pictures.archive import picture_names
    from lmm4rec.catalogue.raw.catalogue import RawCatalogue, open_raw
    from lmm4rec.catalogue.raw.describing import found_lines
    from lmm4rec.catalogue.sources import read_source
    from lmm4rec.catalogue.sources.folder import Folder
    from lmm4rec.catalogue.sources.folder_source import FolderSource, packed_files
    from lmm4rec.errors import InputError, said_of

    source = read_source(PARAMS, dataset)
    if isinstance(source, FolderSource):
        folder = Folder(Path(source.folder))
        with said_of(f"datasets.{dataset}"):
            recipe = source.recipe(folder)
        names = picture_names(folder.root, packed_files(recipe))
        catalogue = RawCatalogue(folder.root, recipe, names)
    elif (raw / dataset).is_dir():
        catalogue = open_raw(raw / dataset)
    else:
        raise InputError(
            f"{raw / dataset}: {dataset} was not fetched yet, and there is nothing to look at; run "
            f"`dvc repro download@{dataset}` first"
        )
    with said_of(f"datasets.{dataset}"):
        lines = found_lines(catalogue, dataset)
    for line in lines:
        click.echo(line)


if __name__ == "__main__":
    main()
