"""The stages that cost hours, each on the small world: what they give, in numbers.

A case is a function of an empty folder; the tables below name them by kind of stage.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lmm4rec.catalogue.corpus import read_item_ids
from lmm4rec.catalogue.sources.demo_world import captioned_pictures
from lmm4rec.encoders import encoder_class, load_encoder
from lmm4rec.features.features import read_features
from lmm4rec.folders import read_json
from lmm4rec.training.vectors import Vectors, read_vectors
from tests.drift.conversions import CONVERSIONS
from tests.drift.generated import CAPTIONS, CATALOGUE
from tests.drift.numbers import Numbers, change, projected, rounded
from tests.drift.world import (
    drawn,
    run_on_catalogue,
    run_stage,
    save_weights,
    write_params,
    write_project,
)

Case = Callable[[Path], Numbers]

OUTPUT = Path("data/output")
ALL = {"kind": "all"}
TUNING: dict[str, Any] = {
    "seed": 1, "epochs": 4, "batch_size": 6, "learning_rate": 3e-3, "weight_decay": 0.3,
    "warmup_share": 0.25, "layer_decay": 0.8, "gradient_norm": 0.5, "validation_share": 0.25,
    "augment": True, "precision": "float32", "tune": ALL,
}  # fmt: skip
RATES: dict[str, Any] = {
    "learning_rate": 2e-3, "weight_decay": 0.3, "warmup_steps": 4, "layer_decay": 0.8,
    "gradient_norm": 0.01, "precision": "float32", "tune": ALL,
}  # fmt: skip
# Batch norms of six pictures magnify rounding at higher rates; with this seed the best epoch is not
# the last.
CALMER_TUNING: dict[str, dict[str, Any]] = {"unimodal": {"learning_rate": 1e-3, "seed": 4}}
CALMER_PRETRAINING: dict[str, dict[str, Any]] = {"unimodal": {"learning_rate": 3e-4}}
CALMER_RATES: dict[str, dict[str, Any]] = {"unimodal": {"learning_rate": 5e-4}}
PROTOCOL: dict[str, Any] = {
    "revision": 1, "batch_size": 48, "maximum_epochs": 7, "patience": 2, "validate_every": 1,
    "validation_cutoff": 5, "freeze_epochs": 1, "refresh_steps": 2, "alignment_weight": 0.3,
}  # fmt: skip
VBPR: dict[str, Any] = {
    "learning_rate": 2e-2, "weight_decay": 0.01, "modalities": ["image", "text"],
    "missing": "mean", "scaling": "unit", "dimensions": 4, "regularisation": 0.5,
}  # fmt: skip
MMGCL: dict[str, Any] = {
    "learning_rate": 2e-2, "weight_decay": 0.01, "modalities": ["image", "text"],
    "missing": "mean", "scaling": "unit", "dimensions": 4, "layers": 2, "dropout": 0.3,
    "mask_weights": {"image": 0.1, "text": 0.9, "fused": 0.1}, "temperature": 0.2,
    "contrast_weight": 0.1,
}  # fmt: skip
RECOMMENDERS = {"vbpr": VBPR, "mmgcl": MMGCL}  # the second draws anew in each epoch
PRETRAINING: dict[str, Any] = TUNING | {
    "kind": "pretrain-tiny", "revision": 1, "pairs": 40, "pairs_seed": 3, "epochs": 3,
    "batch_size": 8, "learning_rate": 1e-3, "augment": False,
}  # fmt: skip


def extraction(family: str, project: Path) -> Numbers:
    """Every vector of the catalogue, where the family has them those of pairs too."""
    encoder = drawn(family)
    section = {"precision": "float32", "fused": encoder.fused_dim is not None}
    write_project(project, {"encoders": {"small": {"revision": 1, "extract": section}}})
    save_weights(encoder, project)
    run_on_catalogue(project, "extract", "--batch-size", "7")
    features = read_features(project / OUTPUT, read_item_ids(project / "data/corpus/toy"))
    about = read_json(project / OUTPUT / "about.json")
    del about["weights_sha256"]  # of a file in which the metadata of a library stands
    return {
        "about": about,
        "present": {n: "".join("01"[int(p)] for p in x) for n, x in features.present.items()},
        "vectors": {name: projected(matrix) for name, matrix in features.matrices.items()},
    }


def finetuning(family: str, tune: dict[str, Any], project: Path) -> Numbers:
    """The curve, which epoch was kept, and how far each tensor went."""
    own = TUNING | CALMER_TUNING.get(family, {}) | {"tune": tune}
    section = {"revision": 1, "finetune": own}
    write_project(project, {"encoders": {"small": section}})
    before = save_weights(drawn(family), project)
    run_on_catalogue(project, "finetune", "--curve", "curve.csv", "--metrics", "metrics.json")
    return {
        "curve": _columns(project / "curve.csv"),
        "metrics": rounded(read_json(project / "metrics.json")),
        "weights": change(before, load_encoder(project / OUTPUT).state_dict()),
    }


def joint_training(
    family: str, tune: dict[str, Any], project: Path, recommender: str = "vbpr"
) -> Numbers:
    """Curve, history and vectors, and how far each tensor of the encoder went."""
    own = RATES | CALMER_RATES.get(family, {}) | {"tune": tune}
    params = {
        "encoders": {"small": {"revision": 1, "end2end": own}},
        "end2end": PROTOCOL,
        "recommenders": RECOMMENDERS,
    }
    write_project(project, params)
    before = save_weights(drawn(family), project)
    names = ("--recommender", recommender, "--seed", "1", "--micro-batch", "16")
    run_on_catalogue(
        project, "end2end", *names, "--vectors", "data/vectors", "--curve", "curve.csv"
    )
    vectors = read_vectors(project / "data/vectors")
    assert isinstance(vectors, Vectors)
    history = read_json(project / "data/vectors/history.json")
    return {
        "curve": _columns(project / "curve.csv"),
        "history": rounded({"losses": history["losses"], "best_epoch": history["best_epoch"]}),
        "vectors": {"users": projected(vectors.users), "items": projected(vectors.items)},
        "weights": change(before, load_encoder(project / OUTPUT).state_dict()),
    }


def pretraining(family: str, project: Path) -> Numbers:
    """Where a tiny encoder began, and how far each tensor went on captioned pictures."""
    section = PRETRAINING | CALMER_PRETRAINING.get(family, {}) | {"family": family}
    write_params(project, {"encoders": {"small": {"revision": 1, "weights": section}}})
    options = ("--encoder", "small", "--device", "cpu", "--workers", "0")
    run_stage(project, "weights", *options, "--output", str(OUTPUT), "--record", "record.json")
    pairs = captioned_pictures(section["pairs"], section["pairs_seed"])
    torch.manual_seed(section["seed"])
    start = encoder_class(family, "test").tiny([caption for _, caption in pairs]).state_dict()
    after = load_encoder(project / OUTPUT).state_dict()
    return {"start": change(None, start), "weights": change(start, after)}


def _columns(path: Path) -> Numbers:
    """A curve's columns; cells that are empty are left out."""
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    return {n: [float(f"{float(r[n]):.6g}") for r in rows if r[n]] for n in rows[0]}


def _of_all(case: Callable[..., Numbers], *given: Any) -> dict[str, Case]:
    return {family: partial(case, family, *given) for family in FAMILIES}


FAMILIES = ("clip", "beit3", "vlmo", "unimodal")
LORA = {"kind": "lora", "rank": 2, "alpha": 4}
LAST_BLOCKS = {"kind": "last-blocks", "blocks": 1}

CASES: dict[str, dict[str, Case]] = {
    "extraction": _of_all(extraction),
    "finetuning": {
        **_of_all(finetuning, ALL),
        "unimodal-last-blocks": partial(finetuning, "unimodal", LAST_BLOCKS),
        "vlmo-lora": partial(finetuning, "vlmo", LORA),
    },
    "end2end": {
        **_of_all(joint_training, ALL),
        "unimodal-lora": partial(joint_training, "unimodal", LORA),
        "vlmo-mmgcl": partial(joint_training, "vlmo", ALL, recommender="mmgcl"),
    },
    "pretraining": _of_all(pretraining),
    "conversion": CONVERSIONS,
    "catalogue": CATALOGUE,
    "captions": CAPTIONS,
}
