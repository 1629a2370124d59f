"""Train one recommender on one corpus and one features folder, with one seed."""

from dataclasses import asdict
from pathlib import Path

import click

from stages.running.code import code_fingerprint
from stages.running.command import PARAMS, SCRATCH, SEED, existing_folder, output_path, stage

MEMORY_ADVICE = "lower its sizes or training.batch_size, or use a machine with more"


@stage
@click.option("--recommender", required=True, help="a name under `recommenders` in params.yaml")
@click.option("--corpus", required=True, type=existing_folder)
@click.option(
    "--features", type=existing_folder, help="left out for recommenders that use ids only"
)
@click.option("--seed", required=True, type=SEED)
@click.option("--output", required=True, type=output_path)
@click.option("--device", default="auto", envvar="LMM4REC_DEVICE", help="auto, cpu or cuda")
def main(
    recommender: str, corpus: Path, features: Path | None, seed: int, output: Path, device: str
) -> None:
    import shutil

    import torch  # after the options are parsed: --help stays instant

    from lmm4rec.catalogue.corpus import ITEM_IDS, read_training_view
    from lmm4rec.devices import choose_device
    from lmm4rec.doors import fitting
    from lmm4rec.features.features import read_features
    from lmm4rec.features.rules import FeatureRules
    from lmm4rec.folders import fingerprint, scratch_folder, whole_folder
    from lmm4rec.params import read_section
    from lmm4rec.recommenders import recommender_class
    from lmm4rec.recommenders.shared.base import Recommender
    from lmm4rec.resuming import Savepoint
    from lmm4rec.training.training import TrainingConfig, score, train
    from lmm4rec.training.vectors import write_vectors

    model_class = recommender_class(recommender)
    config = read_section(PARAMS, f"recommenders.{recommender}", model_class.Config)
    protocol = read_section(PARAMS, "training", TrainingConfig)
    view = read_training_view(corpus)
    content = None
    if features:
        rules = read_section(PARAMS, "features", FeatureRules)
        content = read_features(features, view.item_ids, rules)

    torch.manual_seed(seed)
    memory = fitting(f"params.yaml: recommenders.{recommender}", MEMORY_ADVICE)
    with memory:
        model = model_class(view, content, config)
    if isinstance(model, Recommender):
        inputs = [
            corpus / "interactions.parquet",
            corpus / ITEM_IDS,
            *([features] if features else []),
        ]
        shaped_by = (config.model_dump(mode="json"), protocol.model_dump(mode="json"), seed, device)
        code = code_fingerprint("train", recommender=recommender)
        scratch = scratch_folder(
            SCRATCH, "train", *shaped_by, code, [fingerprint(path) for path in inputs]
        )
        with memory:
            vectors, history = train(
                model, view, protocol, seed, choose_device(device), Savepoint(scratch)
            )
        with whole_folder(output) as folder:
            write_vectors(folder, vectors, asdict(history))
        shutil.rmtree(scratch)
    else:
        with memory:
            scores = score(model, view)
        with whole_folder(output) as folder:
            write_vectors(folder, scores, {})


if __name__ == "__main__":
    main()
