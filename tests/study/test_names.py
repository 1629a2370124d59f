"""Names under `run`: what could break a command, a folder or a stage's name is refused."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lmm4rec.errors import InputError
from lmm4rec.params import read_params
from lmm4rec.study.names import RULE, refuse_unsafe_names
from lmm4rec.study.run import Run, read_run
from tests.study.studies import ROOT, study

UNSAFE = [
    "", " ", "a b", "a.b", "..", ".", "a;b", "a;touch hacked", "$HOME", "${run.seeds}", "{a}",
    "a/b", "/a", "a\\b", "a@b", "a'b", 'a"b', "-a", "--output", "_a", "a\n", "a\x00b", "ä",
    "naïve", "a\u200bb", "\u0661", "1a", "a|b", "a&b", "a>b", "a*", "a?", "a#b", "a%b", "a,b",
    "a:b", "a\x1bb", "a=b", "a!b", "`a`", "~a", "[a]", "a" * 65,
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("key", [key for key in Run.model_fields if key != "seeds"])
def test_a_name_that_could_break_a_command_is_refused_with_the_rule(name: str, key: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_unsafe_names(["fine", name], key, Path("params.yaml"))
    sentence = str(caught.value)
    assert f"run.{key}: {name!r} cannot be a name; {RULE}" in sentence and "\n" not in sentence


@pytest.mark.parametrize("key", [key for key in Run.model_fields if key != "seeds"])
def test_the_rule_is_asked_of_every_list(tmp_path: Path, key: str) -> None:
    """Although a section of that name is there."""
    changes: dict[str, Any] = {f"run.{key}": ["a;b"]}
    path = study(tmp_path, **changes)
    content = read_params(path)
    for section in ("datasets", "encoders", "imports", "controls", "recommenders"):
        content[section]["a;b"] = {}
    with pytest.raises(InputError, match=rf"run\.{key}: 'a;b' cannot be a name"):
        read_run(path)


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,63}", fullmatch=True))
def test_an_allowed_name_stays_one_word_of_a_command(name: str) -> None:
    refuse_unsafe_names([name], "recommenders", Path("params.yaml"))
    assert shlex.split(f"--output data/{name}/x") == ["--output", f"data/{name}/x"]
    assert YAML(typ="safe").load(f"- x{name}") == [f"x{name}"]


def test_the_projects_own_names_are_allowed() -> None:
    content = read_params(ROOT / "params.yaml")
    for key in ("datasets", "encoders", "imports", "controls", "recommenders"):
        refuse_unsafe_names(content[key], key, Path("params.yaml"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"run.features": ["none"]}, "run.features: 'none' is the name of a folder"),
        ({"run.features": ["tuning"]}, "run.features: 'tuning' is the name of a folder"),
        (
            {"run.encoders": ["clip-tiny", "x-tuned", "x"], "run.tuned": ["x"]},
            "run.tuned: 'x' makes features 'x-tuned', and so does run.encoders",
        ),
        (
            {"run.encoders": ["clip-tiny", "noise"]},
            "run.controls: 'noise' makes features 'noise', and so does run.encoders",
        ),
        (
            {"run.datasets": ["demo", "demo-a"], "run.encoders": ["clip-tiny", "a-x", "x"]},
            "would be one stage, demo-a-x; rename one",
        ),
        (
            {"run.datasets": ["demo", "demo-a"], "run.features": ["a-x", "x"]},
            "would be one stage, demo-a-x; rename one",
        ),
    ],
)
def test_two_things_of_one_name(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    content = read_params(ROOT / "params.yaml")
    encoder, dataset = content["encoders"]["clip-tiny"], content["datasets"]["demo"]
    remote = content["imports"]["cnn4096"]["files"]["sports"]
    added = {f"encoders.{name}": encoder for name in ("x", "x-tuned", "noise", "a-x")}
    added |= {"datasets.demo-a": dataset, "imports.cnn4096.files.demo-a": remote}
    with pytest.raises(InputError) as caught:
        read_run(study(tmp_path, **added, **changes))
    assert sentence in str(caught.value)


def test_a_dataset_named_like_a_folder_of_metrics(tmp_path: Path) -> None:
    demo = read_params(ROOT / "params.yaml")["datasets"]["demo"]
    changes: dict[str, Any] = {"datasets.efficiency": demo, "run.datasets": ["efficiency"]}
    with pytest.raises(InputError, match=r"run\.datasets: 'efficiency' is the name of a folder"):
        read_run(study(tmp_path, **changes))
