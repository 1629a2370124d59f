"""What a name under `run` may look like: it becomes part of commands, folders and stages' names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from lmm4rec.errors import InputError

RULE = (
    "a name begins with a letter (a-z, A-Z) and holds letters, digits, hyphens and underscores "
    "alone, 64 at most"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
# Folders of data/ that stand for something else: of models without features, and of metrics.
_TAKEN = {"datasets": ("efficiency",), "features": ("none", "tuning"), "encoders": ("none",)}


def refuse_unsafe_names(names: Iterable[str], key: str, path: Path) -> None:
    """InputError for the first of `run.<key>` that breaks the rule or is taken."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{path}: run.{key}: {name!r} cannot be a name; {RULE}: rename it here and where "
                "it is a section or a folder"
            )
        if name in _TAKEN.get(key, ()):
            raise InputError(
                f"{path}: run.{key}: {name!r} is the name of a folder with another use; choose "
                "another name"
            )


def refuse_one_stage_for_two(
    datasets: Iterable[str], others: Mapping[str, str], path: Path
) -> None:
    """InputError where a dataset and another name, joined by a hyphen, are those of another pair.

    DVC joins them so and then runs one of the two. `others`: a name -> the key of `run` it is of.
    """
    of: dict[str, tuple[str, str]] = {}
    for dataset in datasets:
        for name, key in others.items():
            pair = of.setdefault(f"{dataset}-{name}", (dataset, name))
            if pair != (dataset, name):
                raise InputError(
                    f"{path}: run.{key}: dataset {pair[0]!r} with {pair[1]!r} and dataset "
                    f"{dataset!r} with {name!r} would be one stage, {dataset}-{name}; rename one"
                )
