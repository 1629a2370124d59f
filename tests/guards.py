"""What says so when code changes what a stage computes that depends on no code.

The stages that cost hours (download, weights, extract, finetune, end2end) and the measurement
`efficiency` depend on parameters. For every file of code that they use: the test that fails when it
computes something else, and the key of params.yaml to raise then. A folder speaks for its files
that have no line of their own.
"""

from __future__ import annotations

_DRIFT = "tests/drift/test_drift.py::"
_ENCODER = "(raise encoders.*.revision)"
_WEIGHTS = "(raise encoders.*.weights.revision)"
_SOURCE = "(raise datasets.*.source.revision)"
_EXTRACTION = f"{_DRIFT}test_extraction {_ENCODER}"
_FINETUNING = f"{_DRIFT}test_finetuning {_ENCODER}"
_END2END = f"{_DRIFT}test_end2end (raise end2end.revision)"
_PRETRAINING = f"{_DRIFT}test_pretraining {_WEIGHTS}"
_CONVERSION = f"{_DRIFT}test_conversion {_WEIGHTS}"
_CATALOGUE = f"{_DRIFT}test_catalogue {_SOURCE}"
_CAPTIONS = f"{_DRIFT}test_captions {_WEIGHTS}"
GUARDED: dict[str, str] = {
    # stages
    "stages/download.py": _CATALOGUE,
    "stages/weights.py": _PRETRAINING,
    "stages/extract.py": _EXTRACTION,
    "stages/finetune.py": _FINETUNING,
    "stages/end2end.py": _END2END,
    "stages/efficiency.py": f"tests/features/test_efficiency.py::test_stage_and_table {_ENCODER}",
    "stages/running/command.py": _EXTRACTION,
    # what all stand on
    "lmm4rec/adam.py": _FINETUNING,
    "lmm4rec/distributed.py": (
        "tests/end2end/test_torchrun.py::"
        f"test_tuning_of_every_family_is_that_of_one_process {_ENCODER}"
    ),
    "lmm4rec/folders.py": _EXTRACTION,
    "lmm4rec/params.py": _EXTRACTION,
    "lmm4rec/resuming.py": _FINETUNING,
    "lmm4rec/tables.py": _EXTRACTION,
    # catalogues: fetched or generated, and how they are to be read
    "lmm4rec/catalogue/corpus.py": _END2END,
    "lmm4rec/catalogue/downloads.py": _CATALOGUE,
    "lmm4rec/catalogue/pictures/archive.py": _CATALOGUE,
    "lmm4rec/catalogue/pictures/containers.py": _CATALOGUE,
    "lmm4rec/catalogue/pictures/images.py": _EXTRACTION,
    "lmm4rec/catalogue/pictures/listed.py": _CATALOGUE,
    "lmm4rec/catalogue/pictures/matching.py": _CATALOGUE,
    "lmm4rec/catalogue/readers": _CATALOGUE,
    "lmm4rec/catalogue/sources": _CATALOGUE,
    "lmm4rec/catalogue/sources/demo_scenes.py": _CAPTIONS,
    "lmm4rec/catalogue/sources/demo_world.py": _CAPTIONS,
    "lmm4rec/catalogue/splits.py": _CATALOGUE,
    # encoders
    "lmm4rec/encoders": _EXTRACTION,
    "lmm4rec/encoders/clip/checkpoints.py": _CONVERSION,
    "lmm4rec/encoders/files/checkpoints.py": _CONVERSION,
    "lmm4rec/encoders/files/hub.py": (
        "tests/encoders/unimodal/test_unimodal_weights.py::"
        f"test_a_mirror_replaces_the_hub {_WEIGHTS}"
    ),
    "lmm4rec/encoders/files/received_files.py": _CONVERSION,
    "lmm4rec/encoders/files/torchscript.py": (
        "tests/encoders/files/test_torchscript.py::"
        f"test_tensors_are_torchs_own_under_their_names {_WEIGHTS}"
    ),
    "lmm4rec/encoders/files/weights.py": _PRETRAINING,
    "lmm4rec/encoders/initialisation.py": _PRETRAINING,
    "lmm4rec/encoders/objectives.py": _FINETUNING,
    "lmm4rec/encoders/tuning": _FINETUNING,
    "lmm4rec/encoders/unified/positions.py": _CONVERSION,
    "lmm4rec/encoders/unified/relative_positions.py": _CONVERSION,
    "lmm4rec/encoders/unified/vlmo_checkpoints.py": _CONVERSION,
    "lmm4rec/encoders/unimodal/checkpoints.py": _CONVERSION,
    "lmm4rec/encoders/unimodal/pretraining.py": _PRETRAINING,
    "lmm4rec/encoders/unimodal/published_towers.py": _CONVERSION,
    # features
    "lmm4rec/features/efficiency.py": (
        f"tests/features/test_efficiency.py::test_operations_by_hand {_ENCODER}"
    ),
    "lmm4rec/features/extraction.py": _EXTRACTION,
    "lmm4rec/features/features.py": _EXTRACTION,
    "lmm4rec/features/items.py": _EXTRACTION,
    "lmm4rec/features/mean_directions.py": (
        "tests/features/test_several_pictures.py::"
        f"test_several_pictures_give_their_mean_direction {_ENCODER}"
    ),
    "lmm4rec/features/rules.py": _EXTRACTION,
    # joint training, and what it shares with ordinary training
    "lmm4rec/end2end": _END2END,
    "lmm4rec/ranking/ragged.py": _END2END,
    "lmm4rec/ranking/ranking.py": _END2END,
    "lmm4rec/recommenders/__init__.py": _END2END,
    "lmm4rec/training": _END2END,
}

# Used by these stages, and no number of theirs hangs on it.
UNGUARDED: dict[str, str] = {
    "lmm4rec/catalogue/pictures/hints.py": "says why pictures and items do not meet",
    "lmm4rec/devices.py": "chooses where and on how many threads to compute",
    "lmm4rec/errors.py": "says what is wrong",
    "lmm4rec/study/run.py": "refuses names before anything is computed",
    "stages/running/code.py": "names the code in resume keys",
}


def guard_of(path: str) -> str | None:
    """The line of `GUARDED` that speaks for a file: its own, or that of the nearest folder."""
    here = path
    while here:
        if here in GUARDED:
            return GUARDED[here]
        here = here.rpartition("/")[0]
    return None
