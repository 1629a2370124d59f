"""Readers of what a person types: params.yaml, and the addresses that stand in it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from pydantic import BaseModel

from lmm4rec.catalogue.downloads import MIRROR_VARIABLE, fetch
from lmm4rec.catalogue.pictures.collection import ImagesParams
from lmm4rec.catalogue.preprocessing import PreprocessParams
from lmm4rec.catalogue.sources import read_source
from lmm4rec.errors import InputError
from lmm4rec.evaluation.evaluation import EvaluationConfig
from lmm4rec.folders import read_json
from lmm4rec.params import read_params, read_section
from lmm4rec.training.training import TrainingConfig
from tests.faults.readers.reader import Reader
from tests.faults.readers.records import spelled_as_json
from tests.faults.readers.values import ANYTHING, DEEP, Damage, damages, mostly

PARAMS = (Path(__file__).parents[3] / "params.yaml").read_text(encoding="utf-8")
MODELS: dict[str, type[BaseModel]] = {
    "training": TrainingConfig,
    "evaluation": EvaluationConfig,
    "datasets.demo.images": ImagesParams,
    "datasets.demo.preprocess": PreprocessParams,
}
ODD_LINES = st.sampled_from(
    ["a: &a [*a]", "? [1]\n: 2", "<<: 3", "when: 2001-99-99", "n: 0o9", "n: 1_0:99", "- x",
     "a: !!python/x y", "n: " + "9" * 5000, "\ttab: 1", "%YAML 9.9", "--- a", "\x07", "a: *b",
     "a: {a: 1, a: 2}", "training: 3", "training: &t\n  batch_size: *t", "x: !!set [1]", "=: =",
     "evaluation: {cutoffs: [" + "[" * 50 + "]" * 50 + "]}", "x: !!binary ???",
     "x: !!timestamp z", "x: !!float z", "x: !!int z"]
)  # fmt: skip


@st.composite
def params_files(draw: st.DrawFn) -> bytes:
    lines = PARAMS.split("\n")
    start = draw(st.integers(0, len(lines) - 1))
    part = draw(st.sampled_from([lines, lines[: start + 1], lines[start:]]))[:60]
    for _ in range(draw(st.integers(0, 3))):
        odd = draw(st.one_of(ODD_LINES, DEEP, ANYTHING.map(lambda value: f"x: {value!r}"[:300])))
        part = [*part[:start], odd, *part[start:]]
    return draw(damages())("\n".join(part).encode("utf-8", "surrogatepass"))


def read_yaml(folder: Path, case: bytes) -> None:
    path = folder / "params.yaml"
    path.write_bytes(case)
    read_params(path)
    for key, model in MODELS.items():
        with suppress(InputError):
            read_section(path, key, model)
    with suppress(InputError):
        read_source(path, "demo")


@st.composite
def sections(draw: st.DrawFn) -> str:
    """The sections with values of any kind in the place of their own."""
    text = ""
    for key, model in MODELS.items():
        *above, own = key.split(".")
        lines = [*above, own]
        for depth, name in enumerate(lines):
            text += "  " * depth + f"{name}:\n"
        for field in model.model_fields:
            value = draw(mostly(st.integers(1, 9), ANYTHING))
            text += "  " * len(lines) + f"{field}: {spelled_as_json(value)}\n"
    return text


def read_sections(folder: Path, case: str) -> None:
    path = folder / "params.yaml"
    path.write_bytes(case.encode("utf-8", "surrogatepass"))
    for key, model in MODELS.items():
        with suppress(InputError):
            read_section(path, key, model)


HOSTS = ["h", "[::1", "[::1]", "h:99999999", "h:x", "u:p@h", "", "\u2100", "h\\h", "1" * 300]
NAMES = ["x.gz", "..", ".", "%00", "a" * 300, "%2e%2e", "a%2fb", "source.json", "", "?q", "\ud800"]
ADDRESSES = st.one_of(
    st.text(max_size=30),
    st.builds(
        "{}://{}/{}".format,
        st.sampled_from(["http", "https", "HTTP", "ftp", "file", ""]),
        mostly(st.just("h"), st.sampled_from(HOSTS)),
        st.just("x.gz") | st.sampled_from(NAMES) | st.text(max_size=9),
    ),
)


def read_address(folder: Path, case: str) -> None:
    (folder / "mirror").mkdir(exist_ok=True)
    (folder / "mirror" / "file").write_bytes(b"content")
    with mock.patch.dict(os.environ, {MIRROR_VARIABLE: str(folder / "mirror")}):
        fetch(case, folder / "here" / "file")
    assert (folder / "here" / "file").read_bytes() == b"content"
    (folder / "here" / "file").unlink()


def read_any_json(folder: Path, case: tuple[Any, Damage]) -> None:
    content, damage = case
    text = content if isinstance(content, str) else spelled_as_json(content)
    (folder / "about.json").write_bytes(damage(text.encode("utf-8", "surrogatepass")))
    read_json(folder / "about.json")


CONTENTS = DEEP | ANYTHING.filter(lambda value: value is None or isinstance(value, list | dict))
READERS = {
    "params.yaml": Reader(params_files(), read_yaml),
    "sections": Reader(sections(), read_sections),
    "JSON files": Reader(st.tuples(CONTENTS, damages()), read_any_json),
    "addresses": Reader(ADDRESSES, read_address),
}
