"""Train an encoder and a recommender together; what remains of both is of the same epoch.

`output` are the encoder's weights, in the form of those it started from.
"""

from pathlib import Path

import click

from stages.running.code import code_fingerprint
from stages.running.command import (
    MOST_AT_ONCE,
    PARAMS,
    SCRATCH,
    SEED,
    encoder_on_a_catalogue,
    output_path,
    stage,
)


@stage
@encoder_on_a_catalogue
@click.option("--recommender", required=True, help="a name under `recommenders` in params.yaml")
@click.option("--seed", required=True, type=SEED)
@click.option("--vectors", required=True, type=output_path, help="of users and items")
@click.option("--curve", required=True, type=output_path, help="CSV with a row per epoch")
@click.option(
    "--micro-batch",
    default=1024,
    envvar="LMM4REC_MICRO_BATCH",
    type=click.IntRange(min=1, max=MOST_AT_ONCE),
    help="items encoded at once; lower it if memory runs out",
)
@click.option(
    "--checkpointing/--no-checkpointing",
    default=False,
    envvar="LMM4REC_CHECKPOINTING",
    help="compute activations twice instead of keeping them",
)
def main(
    encoder: str,
    recommender: str,
    seed: int,
    weights: Path,
    corpus: Path,
    images: Path,
    vectors: Path,
    output: Path,
    curve: Path,
    micro_batch: int,
    checkpointing: bool,
    device: str,
    workers: int,
) -> None:
    import shutil
    from dataclasses import asdict

    from lmm4rec.catalogue.corpus import read_training_view
    from lmm4rec.devices import choose_device
    from lmm4rec.distributed import is_main, joined
    from lmm4rec.encoders import load_encoder
    from lmm4rec.encoders.item_batches import ItemBatches
    from lmm4rec.encoders.tuning.tuning_curve import write_curve
    from lmm4rec.end2end.sections import read_sections
    from lmm4rec.end2end.training import train_end_to_end
    from lmm4rec.features.items import Catalogue
    from lmm4rec.folders import fingerprint, scratch_folder, whole_folder
    from lmm4rec.study.run import refuse_trained_features, refuse_without_gradient
    from lmm4rec.training.vectors import write_vectors

    refuse_without_gradient(recommender, "--recommender")
    sections = read_sections(PARAMS, encoder, recommender)
    refuse_trained_features(recommender, sections.model.model_dump(), PARAMS)
    trained = load_encoder(weights)
    if checkpointing:
        trained.checkpoint_activations()
    items = ItemBatches(trained, Catalogue(corpus, images).in_memory(), workers)
    task = sections.task(trained, read_training_view(corpus), items, seed)
    code = code_fingerprint("end2end", recommender=recommender)
    read = [corpus / name for name in ("interactions.parquet", "item_ids.parquet", "items.parquet")]
    inputs = [fingerprint(path) for path in (*read, images / "images.parquet", weights)]
    # With another device or micro-batch the last bits differ: a run goes on with its own.
    shaped_by = (sections.spelled(), seed, micro_batch, device, code, inputs)
    scratch = scratch_folder(SCRATCH, "end2end", *shaped_by)
    with joined(choose_device(device)) as own_device:
        found, history, rows = train_end_to_end(trained, task, micro_batch, scratch, own_device)
        if is_main():
            with whole_folder(vectors) as folder:
                write_vectors(folder, found, asdict(history))
            with whole_folder(output) as folder:
                trained.save(folder)
            write_curve(curve, rows)
            shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
