"""Rank every item for every user and measure the lists; needs vectors, not models, and no torch."""

from pathlib import Path

import click

from stages.running.command import PARAMS, existing_folder, output_path, stage


@stage
@click.option("--corpus", required=True, type=existing_folder)
@click.option("--vectors", required=True, type=existing_folder)
@click.option("--output", required=True, type=output_path, help="lists and per-user metrics")
@click.option("--metrics", required=True, type=output_path, help="the means, as JSON")
@click.option("--device", default="cpu", envvar="LMM4REC_FAISS_DEVICE", help="cpu or cuda")
def main(corpus: Path, vectors: Path, output: Path, metrics: Path, device: str) -> None:
    from lmm4rec.doors import fitting
    from lmm4rec.evaluation.evaluation import EvaluationConfig, evaluate, protocol
    from lmm4rec.evaluation.user_metrics import write_user_metrics
    from lmm4rec.folders import read_json, whole_folder, write_json
    from lmm4rec.params import read_section
    from lmm4rec.tables import write_table
    from lmm4rec.training.vectors import read_vectors

    config = read_section(PARAMS, "evaluation", EvaluationConfig)
    with fitting("params.yaml: evaluation.cutoffs", "lower them, or use a machine with more"):
        results = evaluate(corpus, read_vectors(vectors), config, device)
    with whole_folder(output) as folder:
        for name, result in results.items():
            write_table(result.lists_table(), folder / f"{name}_lists.parquet")
            write_table(result.users_table(), folder / f"{name}_users.parquet")
    write_user_metrics(metrics.with_suffix(".users.parquet"), results["test"])
    write_json(
        metrics,
        {
            **{name: result.means() for name, result in results.items()},
            "users": {name: len(result.user_ids) for name, result in results.items()},
            "test_users_sha256": results["test"].users_fingerprint(),
            "best_epoch": read_json(vectors / "history.json").get("best_epoch"),
            "protocol": protocol(config) | read_json(corpus / "about.json").get("protocol", {}),
        },
    )


if __name__ == "__main__":
    main()
