"""The code that a stage depends on, as dvc.yaml lists it: resume keys follow the same list."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lmm4rec.folders import fingerprint

ROOT = Path(__file__).parents[2]
CODE = ("lmm4rec/", "stages/")


def code_of(stage: str, **names: str) -> list[str]:
    """The files and folders of code under a stage's `deps`, relative to the project's root.

    `names` fill the matrix: `code_of("train", recommender="vbpr")` holds that model's file. Where a
    name is not given, its entries are left out.
    """
    listed: list[str] = []
    for dep in _stages()[stage].get("deps", []):
        for key, name in names.items():
            dep = dep.replace(f"${{item.{key}}}", name)
        if dep.startswith(CODE) and "${" not in dep:
            listed.append(dep)
    return listed


def code_fingerprint(stage: str, **names: str) -> dict[str, str]:
    """SHA-256 of each entry of `code_of`, byte code left out."""
    return {name: fingerprint(ROOT / name, "*.py") for name in code_of(stage, **names)}


@lru_cache(maxsize=1)
def _stages() -> dict[str, dict[str, Any]]:
    content = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    stages: dict[str, dict[str, Any]] = content["stages"]
    return stages
