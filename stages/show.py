"""Print a section of params.yaml as stages read it, with what it takes in from `defaults`.

`python -m stages.show datasets.my-shop`; no stage of the pipeline, it writes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from stages.running.command import PARAMS, stage

# Where the model of a section is; `*` stands for any name.
MODELS = {
    "datasets.*.preprocess": "lmm4rec.catalogue.preprocessing:PreprocessParams",
    "datasets.*.images": "lmm4rec.catalogue.picture_collection:ImagesParams",
    "encoders.*.extract": "lmm4rec.features.extraction:ExtractConfig",
    "encoders.*.finetune": "lmm4rec.encoders.tuning.tuning:TuningConfig",
    "encoders.*.end2end": "lmm4rec.end2end.config:EncoderTrainingConfig",
    "imports.*": "lmm4rec.features.imported_features:ImportConfig",
    "controls.noise": "lmm4rec.features.controls:ControlConfig",
    "controls.shuffled": "lmm4rec.features.controls:ControlConfig",
    "training": "lmm4rec.training.training:TrainingConfig",
    "end2end": "lmm4rec.end2end.config:EndToEndConfig",
    "evaluation": "lmm4rec.evaluation.evaluation:EvaluationConfig",
}
# Sections that choose a model by their `kind`: what reads them from (file, name).
READERS = {
    "datasets.*.source": "lmm4rec.catalogue.sources:read_source",
    "encoders.*.weights": "lmm4rec.encoders.files.weights:read_weights",
}


@stage
@click.argument("key")
def main(key: str) -> None:
    """Print the section at the dotted KEY of params.yaml, checked, with its defaults in place."""
    from lmm4rec.params import find, read_params

    content = read_params(PARAMS)
    value = find(content, key, PARAMS)
    for section in sections_of(content):
        if f"{section}.".startswith(f"{key}.") or f"{key}.".startswith(f"{section}."):
            check(section)
    for step in reversed(key.split(".")):
        value = {step: value}
    _print_yaml(value)


def sections_of(content: Mapping[str, Any]) -> list[str]:
    """The dotted keys of all sections that have a model, whether they stand there or not."""
    found = ["run"]
    for pattern in (*MODELS, *READERS, "recommenders.*"):
        head, star, tail = pattern.partition(".*")
        names = content.get(head) or {}
        found += [f"{head}.{name}{tail}" for name in names] if star else [pattern]
    return found


def check(section: str) -> None:
    """InputError: the section is not what the stages that read it expect."""
    from lmm4rec.params import read_section
    from lmm4rec.recommenders import recommender_class
    from lmm4rec.study.run import read_run

    head, _, rest = section.partition(".")
    name, _, tail = rest.partition(".")
    pattern = ".".join(part for part in (head, "*", tail) if part)
    if section == "run":
        read_run(PARAMS)
    elif head == "recommenders":
        read_section(PARAMS, section, recommender_class(name).Config)
    elif pattern in READERS:
        _named(READERS[pattern])(PARAMS, name)
    else:
        read_section(PARAMS, section, _named(MODELS.get(section) or MODELS[pattern]))


def _named(path: str) -> Any:
    module, name = path.split(":")
    return getattr(import_module(module), name)


def _print_yaml(value: Any) -> None:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump(value, sys.stdout)


if __name__ == "__main__":
    main()
