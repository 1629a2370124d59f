"""The table of absurd sizes: bounds, and sentences in the place of what libraries say of memory."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from lmm4rec.doors import fitting
from lmm4rec.errors import InputError
from lmm4rec.params import read_params
from lmm4rec.study.models import checked, sections_of
from tests.faults.small_study import ROOT, Setting, leftovers, result, run, without_outputs

PARAMS = read_params(ROOT / "params.yaml")
ABSURD = {int: 10**12, float: 1e300}

TOO_MUCH: dict[str, tuple[Callable[[], object], str]] = {
    "torch": (lambda: torch.empty(2**50), "you tried to allocate 4503599627370496 bytes"),
    "torch, beyond counting": (lambda: torch.empty(2**40, 2**40), "Storage size calculation"),
    "NumPy": (lambda: np.empty((2**25, 2**25)), r"Unable to allocate 8\.00 PiB for an array"),
    "NumPy, beyond counting": (lambda: np.empty((2**40, 2**40)), "array is too big"),
    "NumPy, a side beyond counting": (lambda: np.empty(10**20), "Maximum allowed dimension"),
    "pyarrow": (lambda: pa.allocate_buffer(2**50), "malloc of size 1125899906842624 failed"),
    "Python": (lambda: bytearray(2**50), "MemoryError"),
}
WHERE_SIZES_BECOME_ARRAYS = {
    "download": ("lmm4rec.catalogue.sources.demo:utilities", "datasets.demo.source"),
    "weights": ("lmm4rec.encoders.files.weights:tune_encoder", "encoders.clip-tiny.weights"),
    "extract": ("lmm4rec.features.extraction:embedded", "--batch-size"),
    "finetune": ("lmm4rec.encoders.tuning.tuning:tune_encoder", "encoders.clip-tiny.finetune"),
    "train": ("lmm4rec.training.training:train", "recommenders.vbpr"),
    "evaluate": ("lmm4rec.evaluation.evaluation:evaluate", "evaluation.cutoffs"),
    "end2end": ("lmm4rec.end2end.training:LiveEncoder", "Error: 1024 items encoded at once"),
}
OPTIONS = [
    ("extract", "--batch-size", "1<=x<=1000000"),
    ("extract", "--workers", "0<=x<=1024"),
    ("extract", "--processes", "1<=x<=1024"),
    ("end2end", "--micro-batch", "1<=x<=1000000"),
    ("end2end", "--seed", "0<=x<=4294967295"),
    ("train", "--seed", "0<=x<=4294967295"),
    ("images", "--connections-per-host", "1<=x<=1024"),
]


def numbers(section: Any, *steps: Any) -> Iterator[tuple[tuple[Any, ...], type]]:
    """The place and type of every number in it."""
    if isinstance(section, dict | list):
        parts = section.items() if isinstance(section, dict) else enumerate(section)
        for step, part in parts:
            yield from numbers(part, *steps, step)
    elif type(section) in ABSURD:
        yield steps, type(section)


@pytest.mark.parametrize("key", sections_of(PARAMS))
def test_no_number_of_params_yaml_is_without_bounds(key: str, tmp_path: Path) -> None:
    section: Any = PARAMS
    for step in key.split("."):
        section = section[step]
    for steps, kind in numbers(section):
        content = copy.deepcopy(PARAMS)
        here: Any = content
        *above, last = (*key.split("."), *steps)
        for step in above:
            here = here[step]
        here[last] = ABSURD[kind]
        path = tmp_path / f"{'-'.join(map(str, steps))}.yaml"
        path.write_text(json.dumps(content))
        named = re.escape(".".join(map(str, (key, *steps))))
        with pytest.raises(InputError, match=rf"\.yaml: {named} (should|must) "):
            checked(path, key)


@pytest.mark.parametrize("library", TOO_MUCH)
def test_what_a_library_says_of_too_little_memory(library: str) -> None:
    ask, words = TOO_MUCH[library]
    sentence = rf"^params\.yaml: a\.b: needs more memory than there is \(.*{words}.*\); lower it$"
    with pytest.raises(InputError, match=sentence), fitting("params.yaml: a.b", "lower it"):
        ask()


@pytest.mark.parametrize(
    "error", [RuntimeError("shape '[2]' is invalid"), ValueError("too big"), OverflowError()]
)
def test_other_errors_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), fitting("params.yaml: a.b", "lower it"):
        raise error


def asking_for_too_much(place: str) -> Setting:
    """In the place of what makes arrays of these sizes: what happens when they are absurd."""

    def ask(*_: Any, **__: Any) -> object:
        return torch.empty(2**50)

    def setting() -> None:
        module, name = place.split(":")
        setattr(import_module(module), name, ask)

    return setting


@pytest.mark.slow
@pytest.mark.parametrize("stage", WHERE_SIZES_BECOME_ARRAYS)
def test_a_stage_without_so_much_memory(stage: str, whole: Path, tmp_path: Path) -> None:
    place, named = WHERE_SIZES_BECOME_ARRAYS[stage]
    folder = without_outputs(whole, stage, tmp_path / "project")
    done = run(folder, stage, setting=asking_for_too_much(place))
    assert done.code == 1 and "Traceback" not in done.said, done.said
    assert named in done.last_line and "memory" in done.last_line, done.said
    assert not result(folder, stage) and not leftovers(folder)


@pytest.mark.parametrize(("stage", "option", "bounds"), OPTIONS)
def test_an_option_that_cannot_be_meant(stage: str, option: str, bounds: str, whole: Path) -> None:
    done = run(whole, stage, option, str(10**12))
    assert done.code == 2
    assert done.last_line == (
        f"Error: Invalid value for '{option}': {10**12} is not in the range {bounds}."
    )
