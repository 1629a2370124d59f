"""params.yaml: strict, complete, and its errors are one sentence that helps."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.params import Section, read_params, read_section
from lmm4rec.study.run import check_features, read_run

ROOT = Path(__file__).parents[1]


TOGETHER = "end2end_recommenders: []"


class Inner(Section):
    depth: int


class Example(Section):
    learning_rate: float = Field(gt=0)
    epochs: int
    inner: Inner


GOOD = "section: {learning_rate: 1e-3, epochs: 5, inner: {depth: 2}}"


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_scientific_notation_is_a_number(tmp_path: Path) -> None:
    section = read_section(write(tmp_path, GOOD), "section", Example)
    assert section.learning_rate == 0.001
    with pytest.raises(Exception, match="frozen"):
        section.epochs = 6  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "learning_rate",
            "learnign_rate",
            r"\.learnign_rate .*did you mean 'learning_rate'",
        ),
        ("depth: 2", "depth: 2, widht: 3", r"section\.inner\.widht is not a parameter"),
        ("depth: 2", "depht: 2", r"section\.inner\.depht .*did you mean 'depth'"),
        ("epochs: 5, ", "", r"section\.epochs is missing"),
        ("epochs: 5", "epochs: five", r"section\.epochs should be a valid integer.*'five'"),
        ("epochs: 5", "epochs: true", r"section\.epochs should be a valid integer"),
        ("1e-3", "-1", r"section\.learning_rate should be greater than 0, not -1"),
        ("section:", "sectoin:", r"section is missing; did you mean 'sectoin'"),
    ],
)
def test_each_mistake_is_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(InputError, match=sentence) as caught:
        read_section(path, "section", Example)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_broken_yaml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_params(tmp_path / "params.yaml")
    with pytest.raises(InputError, match="not valid YAML"):
        read_params(write(tmp_path, "a: [1, 2\nb: 3"))


def test_did_you_mean_falls_back_to_the_list() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == "known are a, b"


def test_the_projects_own_run_section_is_valid() -> None:
    run = read_run(ROOT / "params.yaml")
    assert len(set(run.combinations())) == len(run.combinations())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("datasets: [demo]", "datasets: [demoo]", r"run\.datasets: 'demoo' .*did you mean 'demo'"),
        (
            "encoders: [clip-tiny]",
            "encoders: [clip-tny]",
            "did you mean 'clip-tiny'",
        ),
        ("recommenders: [vbpr]", "recommenders: [vpbr]", "did you mean 'vbpr'"),
        ("recommenders: [vbpr]", "recommenders: [bpr]", r"move it there"),
        ("seeds: [1, 2, 3]", "seeds: []", r"run\.seeds"),
        ("seeds: [1, 2, 3]", "seeds: [one]", r"run\.seeds\.0 should be a valid integer"),
        ("end2end: []", "end2ent: []", r"run\.end2ent is not a parameter; did you mean 'end2end'"),
        ("end2end: []", "end2end: [clip-tny]", r"run\.end2end: 'clip-tny'.*mean 'clip-tiny'"),
        ("end2end: []", "end2end: [clip]", r"run\.end2end: 'clip' is unknown"),
        (TOGETHER, f"{TOGETHER[:-1]}itemknn]", r"'itemknn' is not trained, so that no gradient"),
        (TOGETHER, f"{TOGETHER[:-1]}bpr]", r"'bpr' reads no content, so that no gradient"),
        (TOGETHER, f"{TOGETHER[:-1]}vpbr]", r"'vpbr' is unknown; did you mean 'vbpr'"),
        (TOGETHER, f"{TOGETHER[:-1]}freedom]", r"recommenders\.freedom\.train_features is true"),
    ],
)
def test_unknown_names_in_run(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    with pytest.raises(InputError, match=sentence):
        read_run(write(tmp_path, text.replace(old, new)))


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("clip-tyni", r"run\.features: 'clip-tyni' .*dataset 'demo'; did you mean 'clip-tiny'"),
        ("clip", r"'clip' is made by nothing.*put 'clip' under run\.encoders"),
        ("clip-tuned", r"'clip-tuned' is made by nothing.*put 'clip' under run\.tuned"),
        ("cnn4096", r"'cnn4096' is made by nothing.*put 'cnn4096' under run\.imported"),
        ("reference", r"'reference' is made by nothing.*put a folder of that name there"),
        ("elsewhere", r"'elsewhere' is made by nothing.*no features folder of dataset 'demo'"),
        ("mien", r"did you mean 'mine'"),
    ],
)
def test_features_that_nothing_makes(tmp_path: Path, named: str, sentence: str) -> None:
    path = with_features(tmp_path, named)
    with pytest.raises(InputError, match=sentence):
        check_features(path, {"demo": ["mine"], "baby": ["elsewhere", "mine"]})


def test_features_that_stages_make_or_a_person_put_there(tmp_path: Path) -> None:
    check_features(ROOT / "params.yaml", {})
    check_features(with_features(tmp_path, "mine"), {"demo": ["mine"]})


def with_features(folder: Path, name: str) -> Path:
    text = (ROOT / "params.yaml").read_text()
    assert "\n  features: [" in text
    return write(folder, text.replace("\n  features: [", f"\n  features: [{name}, "))


def test_imported_features_need_a_file_of_every_dataset(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text().replace("imported: []", "imported: [cnn4096]")
    with pytest.raises(InputError, match=r"run\.imported: 'cnn4096' has no file for .*'demo'"):
        read_run(write(tmp_path, text))
    sports = text.replace("datasets: [demo]", "datasets: [sports]")
    assert read_run(write(tmp_path, sports)).imported == ["cnn4096"]
