"""Train an encoder and a recommender together; what remains of both is of the same epoch.

`output` are the encoder's weights, in the form of those it started from.
"""

from pathlib import Path

import click

from stages.running.command import PARAMS, SCRATCH, encoder_on_a_catalogue, output_path, stage


@stage
@encoder_on_a_catalogue
@click.option("--recommender", required=True, help="a name under `recommenders` in params.yaml")
@click.option("--seed", required=True, type=int)
@click.option("--vectors", required=True, type=output_path, help="of users and items")
@click.option("--curve", required=True, type=output_path, help="CSV with a row per epoch")
@click.option(
    "--micro-batch",
    default=1024,
    envvar="LMM4REC_MICRO_BATCH",
    type=click.IntRange(min=1),
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
    import inspect
    import shutil
    from dataclasses import asdict

    from lmm4rec.catalogue.corpus import read_training_view
    from lmm4rec.devices import choose_device
    from lmm4rec.distributed import is_main, joined
    from lmm4rec.encoders import load_encoder
    from lmm4rec.encoders.item_batches import ItemBatches
    from lmm4rec.encoders.tuning.tuning_curve import write_curve
    from lmm4rec.end2end.config import (
        EncoderTrainingConfig,
        EndToEndConfig,
        modalities_to_encode,
    )
    from lmm4rec.end2end.training import Task, train_end_to_end
    from lmm4rec.features.items import Catalogue
    from lmm4rec.folders import fingerprint, scratch_folder, whole_folder
    from lmm4rec.params import find, read_params, read_section
    from lmm4rec.recommenders import recommender_class
    from lmm4rec.study.run import refuse_trained_features, refuse_without_gradient
    from lmm4rec.training.vectors import write_vectors

    refuse_without_gradient(recommender, "--recommender")
    model_class = recommender_class(recommender)
    model_config = read_section(PARAMS, f"recommenders.{recommender}", model_class.Config)
    refuse_trained_features(recommender, model_config.model_dump(), PARAMS)
    protocol = read_section(PARAMS, "end2end", EndToEndConfig)
    encoder_config = read_section(PARAMS, f"encoders.{encoder}.end2end", EncoderTrainingConfig)
    revision = find(read_params(PARAMS), f"encoders.{encoder}.revision", PARAMS)

    view = read_training_view(corpus)
    trained = load_encoder(weights)
    if checkpointing:
        trained.checkpoint_activations()
    task = Task(
        view,
        ItemBatches(trained, Catalogue(corpus, images).in_memory(), workers),
        lambda features: model_class(view, features, model_config),
        modalities_to_encode(trained, model_config, protocol),
        protocol,
        encoder_config,
        seed,
    )
    files = (corpus, images / "images.parquet", weights, Path(inspect.getfile(model_class)))
    sections = [part.model_dump(mode="json") for part in (protocol, encoder_config, model_config)]
    # With another device or micro-batch the last bits differ: a run goes on with its own.
    shaped_by = (sections, revision, seed, micro_batch, device)
    scratch = scratch_folder(SCRATCH, "end2end", *shaped_by, [fingerprint(file) for file in files])
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
