"""What `check` stops before anything runs, through DVC."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.small_demo import Clone

pytestmark = pytest.mark.pipeline


def test_a_misspelt_name_in_run_is_named(clone: Clone) -> None:
    clone.edit({"run.id_recommenders": ["bprr"]})
    output = clone.run("dvc", "repro", check=False)
    assert "run.id_recommenders: 'bprr' is unknown; did you mean 'bpr'?" in output
    assert clone.ran(output) == set()


def test_a_misspelt_parameter_stops_all_stages_with_advice(clone: Clone) -> None:
    path = clone.folder / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("    dimensions: 64", "    dimnesions: 64", 1))
    output = clone.run("dvc", "repro", "report@demo", check=False)
    assert "dimnesions is not a parameter; did you mean 'dimensions'?" in output
    assert clone.ran(output) == set()


@pytest.mark.parametrize("name", ["a;touch hacked", "a b", "a.b", "a/b", "-a", "${run.seeds}"])
def test_a_name_that_could_break_a_command_is_refused_before_it_could(
    clone: Clone, name: str
) -> None:
    text = (clone.folder / "params.yaml").read_text()
    section = f"datasets:\n  {name!r}: {{source: 1, preprocess: 1, images: 1}}\n"
    text = text.replace("datasets:\n", section, 1).replace(
        "datasets: [demo]", f"datasets: [{name!r}]"
    )
    (clone.folder / "params.yaml").write_text(text)
    output = clone.run("dvc", "repro", check=False)
    assert "cannot be a name; a name begins with a letter" in output
    assert clone.ran(output) == set()
    assert not (clone.folder / "hacked").exists()


@pytest.mark.slow
def test_files_that_a_catalogue_was_made_of_are_compared_in_every_run(
    clone: Clone, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a.csv").write_text(
        "u,i\n" + "".join(f"u{n},i{m}\n" for n in range(9) for m in range(9))
    )
    clone.edit(
        {
            "datasets.ml-100k.source": {
                "folder": str(mine), "interactions": {"file": "a.csv", "user": "u", "item": "i"},
                "items": None, "pictures": None, "revision": 1,
            },
            "datasets.ml-100k.preprocess.text_fields": [],
            "run.datasets": ["demo", "ml-100k"],
        }
    )  # fmt: skip
    target = ("dvc", "repro", "preprocess@ml-100k")
    assert clone.ran(clone.run(*target)) == {"download@ml-100k", "preprocess@ml-100k"}
    assert clone.ran(clone.run(*target)) == set()
    (mine / "a.csv").write_text((mine / "a.csv").read_text() + "u0,i99\n")
    output = clone.run(*target, check=False)
    assert clone.ran(output) == set()
    assert "a.csv: was changed since it was read under revision 1" in output
    clone.edit({"datasets.ml-100k.source.revision": 2})
    assert clone.ran(clone.run(*target)) == {"download@ml-100k", "preprocess@ml-100k"}
    clone.edit({"datasets.ml-100k.source.revision": 1})  # no run cache knows it by that number
    assert "download@ml-100k" in clone.ran(clone.run(*target))


def test_dvc_names_the_check_and_nothing_else(clone: Clone) -> None:
    assert clone.run("dvc", "status").split() == ["check:", "always", "changed"]
