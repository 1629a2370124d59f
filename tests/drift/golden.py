"""The stored numbers, and which `revision` to raise where code gives others."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from lmm4rec.catalogue.sources import read_source
from lmm4rec.params import read_params
from tests.drift.cases import CASES
from tests.drift.numbers import Numbers

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/drift"
WEIGHTS_KINDS = {"open_clip": "clip", "unimodal": "unimodal"}  # kinds that are of one family


def golden_file(kind: str) -> Path:
    return GOLDEN / f"{kind}.json"


def computed(kind: str, case: str) -> Numbers:
    """What the code gives now."""
    with tempfile.TemporaryDirectory() as folder:
        return CASES[kind][case](Path(folder))


def write(kind: str) -> None:
    """The golden file of a kind, a line per part of a case so that git shows which one moved."""
    cases = []
    for case in CASES[kind]:
        parts = [f"  {json.dumps(n)}: {json.dumps(x)}" for n, x in computed(kind, case).items()]
        cases.append(f" {json.dumps(case)}: {{\n" + ",\n".join(parts) + "\n }")
    golden_file(kind).parent.mkdir(exist_ok=True)
    golden_file(kind).write_text("{\n" + ",\n".join(cases) + "\n}\n")


def revisions(kind: str, case: str) -> list[str]:
    """The keys of params.yaml that tell DVC that results of this case are no longer right."""
    if kind == "end2end":
        return ["end2end.revision"]
    params = read_params(ROOT / "params.yaml")
    if kind == "catalogue":
        kinds = {name: read_source(ROOT / "params.yaml", name).kind for name in params["datasets"]}
        meant = ("fetched", "folder") if case == "formats" else (case,)
        return [f"datasets.{name}.source.revision" for name, kind in kinds.items() if kind in meant]
    encoders: dict[str, Any] = params["encoders"]
    tiny = {n for n, x in encoders.items() if x["weights"]["kind"] == "pretrain-tiny"}
    of_family = {n for n, x in encoders.items() if family_of(x["weights"]) == family_in(case)}
    if kind == "captions":
        return [f"encoders.{name}.weights.revision" for name in sorted(tiny)]
    if kind == "pretraining":
        return [f"encoders.{name}.weights.revision" for name in sorted(tiny & of_family)]
    if kind == "conversion":
        return [f"encoders.{name}.weights.revision" for name in sorted(of_family - tiny)]
    return [f"encoders.{name}.revision" for name in sorted(of_family)]


def family_of(weights: dict[str, Any]) -> str:
    """Of an encoder, by the section of its weights."""
    return str(weights["family"] if "family" in weights else WEIGHTS_KINDS[weights["kind"]])


def family_in(case: str) -> str:
    return WEIGHTS_KINDS.get(case, case.partition("-")[0])
