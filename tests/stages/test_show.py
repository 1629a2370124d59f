"""`python -m stages.show`: a section as stages read it, or the sentence they would end with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from lmm4rec.params import find, read_params
from lmm4rec.study import models
from stages import show

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
Show = Callable[..., Result]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Show:
    """Calls the command in a folder whose params.yaml had some of its text replaced."""
    monkeypatch.chdir(tmp_path)

    def call(key: str, old: str = "", new: str = "") -> Result:
        assert old in TEXT
        Path("params.yaml").write_text(TEXT.replace(old, new, 1))
        return CliRunner().invoke(show.main, [key])

    return call


@pytest.mark.parametrize(
    "key", [*read_params(ROOT / "params.yaml"), "datasets.amazon-baby.source.items"]
)
def test_what_is_printed_is_what_is_read(shown: Show, key: str) -> None:
    """Every section of the project's own file is valid, and its print reads as itself."""
    done = shown(key)
    assert done.exit_code == 0, done.output
    path = Path("params.yaml")
    assert find(YAML(typ="safe").load(done.output), key, path) == find(read_params(path), key, path)
    assert not re.search(r"<<|[*&]", done.output)


def test_defaults_stand_in_their_place_and_null_is_named(shown: Show) -> None:
    output = shown("datasets.amazon-baby.preprocess").output
    for line in ("core: 0", "split_seed: 1", "minimum_rating: null"):
        assert re.search(rf"^      {line}$", output, re.M)


def test_editing_a_default_reaches_what_took_it_in(shown: Show) -> None:
    edit = ("    core: 5 #", "    core: 7 #")
    assert "core: 7" in shown("datasets.sports.preprocess", *edit).output
    assert "core: 0" in shown("datasets.amazon-baby.preprocess", *edit).output


@pytest.mark.parametrize(
    ("key", "old", "new", "sentence"),
    [
        ("datasets.sport", "", "", r"datasets\.sport is missing; did you mean 'sports'\?"),
        ("datset", "", "", r"datset is missing; did you mean 'datasets'\?"),
        ("datasets.amazon-baby", "      items: {file", "      itmes: {file",
         r"source\.itmes is not a parameter; did you mean 'items'\?"),
        ("datasets.amazon-baby.source.folder", "item: itemID", "itme: itemID",
         r"items\.itme is not a parameter; did you mean 'item'\?"),
        ("datasets.amazon-baby.source.items.itme", "", "",
         r"items\.itme is missing; did you mean 'item'\?"),
        ("datasets.demo", "preprocess: {<<: *usual-preprocess}", "preprocess: {core: 5}",
         r"demo\.preprocess\.\w+ is missing; add it"),
        ("datasets.demo", "    images: {<<: *usual-images}", "    imagse: {<<: *usual-images}",
         r"datasets\.demo\.images is missing; did you mean 'imagse'\?"),
        ("datasets.demo", "*usual-images}", "*usual-imags}",
         r"not valid YAML \(found undefined alias .*line \d+"),
        ("datasets", "kind: demo #", "kind: dmo #", r"source\.kind is 'dmo'; did you mean 'demo'"),
        ("encoders.clip", "kind: open_clip #", "kind: openclip #",
         r"weights\.kind is 'openclip'; did you mean 'open_clip'\?"),
        ("recommenders", "  vbpr:\n", "  vpbr:\n",
         r"'vpbr' is not a recommender; did you mean 'vbpr'\?"),
        ("run.seeds", "seeds: [1, 2, 3]", "seeds: [one]", r"run\.seeds\.0 should be a valid int"),
        ("training", "patience: 20 # val", "patience: many # val", r"training\.patience should be"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_sentence(
    shown: Show, key: str, old: str, new: str, sentence: str
) -> None:
    done = shown(key, old, new)
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    assert re.search(sentence, done.output) and done.output.count("\n") == 1


def test_another_sections_mistake_is_not_this_ones(shown: Show) -> None:
    assert shown("datasets.sports", "kind: demo #", "kind: dmo #").exit_code == 0


def test_every_section_that_a_stage_reads_is_known_here() -> None:
    """A section with a model that this command does not know would be printed unchecked."""
    read = {
        re.sub(r"\{\w+\}", "*", key)
        for path in (ROOT / "stages").glob("*.py")
        for key in re.findall(r'read_section\(PARAMS, f?"([^"]+)"', path.read_text())
    }
    assert len(read) >= 9
    known = {*models.MODELS, *models.READERS, "recommenders.*"}
    covered = {key for key in read if any(f"{key}.".startswith(f"{one}.") for one in known)}
    assert read - covered == {"controls.*"}  # each of the two by its name
