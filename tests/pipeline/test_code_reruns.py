"""What a change of code makes DVC run again; tests/stages/test_code_deps.py has every file."""

from __future__ import annotations

import pytest

from tests.pipeline.small_demo import Clone

pytestmark = pytest.mark.pipeline


def test_a_comment_in_an_encoder_reruns_nothing(clone: Clone) -> None:
    for path in (clone.folder / "lmm4rec/encoders").rglob("*.py"):
        path.write_text(path.read_text() + "\n# a comment\n")
    assert clone.would_run() == set()


def test_a_change_in_a_recommenders_file_reruns_it(clone: Clone) -> None:
    path = clone.folder / "lmm4rec/recommenders/bpr.py"
    path.write_text(path.read_text() + "\n# a comment\n")
    assert clone.would_run() == {"train-ids@demo-bpr-1", "evaluate-ids@demo-bpr-1", "report@demo"}


def test_an_edit_that_changes_no_result_is_committed_without_a_run(clone: Clone) -> None:
    """As docs/development.md says; dvc.lock then holds the new code beside the old outputs."""
    before = clone.would_run()
    path = clone.folder / "lmm4rec/training/training.py"
    path.write_text(path.read_text() + "\n# a comment\n")
    assert {"train@demo-noise-vbpr-1", "train-ids@demo-bpr-1"} <= clone.would_run()
    clone.run("dvc", "commit", "--force", "train", "train-ids")
    assert clone.would_run() == before
    changed = clone.run("git", "diff", "--unified=0", "dvc.lock").splitlines()
    assert {line.split()[1] for line in changed if line[:2] in ("+ ", "- ")} == {"md5:", "size:"}


# A file of most rooms, and stages that must run again when it changes.
EDITED = {
    "lmm4rec/catalogue/readers/families/lines.py": {"preprocess@demo"},
    "lmm4rec/catalogue/pictures/reencoding.py": {"images@demo"},
    "lmm4rec/features/controls.py": {"control@demo-noise"},
    "lmm4rec/graphs/sparse.py": {"train@demo-noise-vbpr-1", "train-ids@demo-bpr-1"},
    "lmm4rec/recommenders/shared/losses.py": {"train@demo-clip-tiny-vbpr-1"},
    "lmm4rec/training/sampling.py": {"train@demo-clip-tiny-tuned-vbpr-1"},
    "lmm4rec/ranking/topk.py": {"evaluate@demo-noise-vbpr-1", "train-ids@demo-bpr-1"},
    "lmm4rec/evaluation/metrics.py": {"evaluate-ids@demo-bpr-1"},
    "lmm4rec/report/statistics.py": {"report@demo"},
    "stages/evaluate.py": {"evaluate@demo-clip-tiny-vbpr-1"},
}


@pytest.mark.parametrize("name", EDITED)
def test_a_statement_in_any_room_makes_its_stages_stale(clone: Clone, name: str) -> None:
    path = clone.folder / name
    path.write_text(path.read_text() + "\nAPPENDED = 1\n")
    rerun = clone.ran(clone.run("dvc", "repro", "--dry", check=False))
    assert EDITED[name] <= rerun, rerun
    assert not {
        stage for stage in rerun if stage.split("@")[0] in ("weights", "extract", "finetune")
    }


def test_another_text_decodes_no_picture_and_trains_no_model_of_ids(clone: Clone) -> None:
    clone.edit({"datasets.demo.preprocess.text_fields": ["title"]})
    clone.run("dvc", "repro", "preprocess@demo")
    rerun = clone.would_run()
    assert "extract@demo-clip-tiny" in rerun
    assert not rerun & {"images@demo", "train-ids@demo-bpr-1"}
