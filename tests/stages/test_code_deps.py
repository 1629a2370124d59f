"""No cached result outlives the code that made it: dvc.yaml's deps, held against the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lmm4rec.recommenders import RECOMMENDERS
from stages.running.code import CODE, code_fingerprint, code_of
from tests.guards import GUARDED
from tests.stages.code_graph import LOOKED_UP, ROOT, code_files, imported_by

STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
# Cost hours: a `revision` and a golden test (tests/guards.py) stand in for deps.
LONG = {"download", "weights", "extract", "extract-tuned", "finetune", "end2end", "efficiency"}
CHEAP = sorted(set(STAGES) - LONG - {"check"})

# Files that no result passes through, or whose part in it is watched otherwise.
EXCEPTIONS = {
    "lmm4rec/__init__.py": "how threads and memory pages are used: speed",
    "lmm4rec/errors.py": "the sentences of errors",
    "lmm4rec/doors.py": "errors of libraries as sentences",
    "lmm4rec/devices.py": "picks a device by the name an option gives; results name no device",
    "lmm4rec/local_files.py": "says whether files are still as they were read, not what they say",
    "lmm4rec/catalogue/downloads.py": "brings bytes whose SHA-256 is kept and compared",
    "lmm4rec/catalogue/http_door.py": "how long an address is asked; what it answers is its own",
    "lmm4rec/catalogue/pictures/hints.py": "sentences that say why pictures and items do not meet",
    "lmm4rec/catalogue/public_addresses.py": "which addresses are asked at all: public ones",
    "lmm4rec/recommenders/__init__.py": "names and files of models: adding one reruns no other",
    "lmm4rec/study/check.py": "refuses, before anything runs",
    "lmm4rec/study/names.py": "refuses, before anything runs",
    "lmm4rec/study/models.py": "checks, and writes nothing that a stage reads",
    "lmm4rec/study/sections.py": "refuses, before anything runs",
    "stages/__init__.py": "a docstring",
    "stages/describe.py": "prints what was found in a folder; no stage of the pipeline",
    "stages/check.py": "what it writes is always the same",
    "stages/repro.py": "when a stage runs, not what it does",
    "stages/doctor.py": "reads and deletes, and writes nothing that a stage reads",
    "stages/show.py": "prints; no stage of the pipeline",
    "stages/running/code.py": "names scratch folders",
    "stages/running/command.py": "how a stage starts and fails",
    "stages/running/health.py": "names what is damaged",
    "stages/running/holding.py": "who may write an output now",
    "stages/running/order.py": "when a stage runs, not what it does",
    "stages/running/parents.py": "when a stage ends before its time",
    "stages/running/plan.py": "which stages run: tests compare it with DVC's word",
    "stages/running/quick_dvc.py": "how dvc.lock is written; a test compares the bytes with DVC's",
    "stages/running/runner.py": "when a stage runs, not what it does",
    "stages/running/slots.py": "when a stage runs, not what it does",
    "stages/running/worker.py": "asks DVC for a stage as `dvc repro --single-item` does",
}


def is_docstring_alone(path: str) -> bool:
    """Whether a room's __init__.py holds nothing that could change anything."""
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return path.endswith("__init__.py") and all(
        isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) for one in body
    )


def covered(path: str, deps: list[str]) -> bool:
    return any(path == dep or path.startswith(f"{dep}/") for dep in deps)


def excepted(path: str) -> bool:
    return path in EXCEPTIONS or is_docstring_alone(path)


def runs_of(stage: str) -> list[tuple[str, str]]:
    """(recommender, module of the script) of every kind of run that a stage has."""
    script = STAGES[stage]["cmd"].split()[2]
    names = RECOMMENDERS if "${item.recommender}" in str(STAGES[stage]["deps"]) else [""]
    return [(name, script) for name in names]


@pytest.mark.parametrize("stage", CHEAP)
def test_a_cheap_stages_deps_cover_all_code_it_runs(stage: str) -> None:
    for recommender, script in runs_of(stage):
        looked_up = [LOOKED_UP["recommender"][recommender]] if "train" in stage else []
        deps = code_of(stage, recommender=recommender)
        run = imported_by(script, *looked_up)
        lacking = sorted(path for path in run if not covered(path, deps) and not excepted(path))
        assert not lacking, f"dvc.yaml: stage {stage} runs {lacking} but does not depend on them"


@pytest.mark.parametrize("stage", CHEAP)
def test_a_cheap_stage_depends_on_nothing_that_it_never_runs(stage: str) -> None:
    """A dep on foreign code would throw results away for nothing."""
    run: set[str] = set()
    deps: set[str] = set()
    for recommender, script in runs_of(stage):
        looked_up = [LOOKED_UP["recommender"][recommender]] if "train" in stage else []
        run |= imported_by(script, *looked_up)
        deps |= set(code_of(stage, recommender=recommender))
    idle = sorted(dep for dep in deps if not any(covered(path, [dep]) for path in run))
    assert not idle, f"dvc.yaml: stage {stage} depends on {idle} but runs nothing of them"


@pytest.mark.parametrize("path", code_files())
def test_a_change_of_any_file_is_noticed(path: str) -> None:
    """Some stage becomes stale, or a golden test fails, or the file stands above with a reason."""
    everything = [
        dep.replace("${item.recommender}", name)
        for stage in STAGES.values()
        for dep in stage.get("deps", [])
        if dep.startswith(CODE)
        for name in RECOMMENDERS
    ]
    assert covered(path, everything) or covered(path, list(GUARDED)) or excepted(path), (
        f"{path}: no stage depends on it, tests/guards.py names no golden test for it, and it is "
        "not among the exceptions"
    )


@pytest.mark.parametrize("stage", sorted(LONG))
def test_a_long_stages_code_is_guarded(stage: str) -> None:
    script = STAGES[stage]["cmd"].split()[2]
    deps = [dep for name in RECOMMENDERS for dep in code_of(stage, recommender=name)]
    run = imported_by(script, *LOOKED_UP["encoder"].values())
    ground = [dep for one in CHEAP for dep in code_of(one)]  # noticed there
    lacking = sorted(
        path for path in run if not covered(path, [*deps, *GUARDED, *ground]) and not excepted(path)
    )
    assert not lacking, f"stage {stage} runs {lacking}, which no golden test guards"


def test_exceptions_and_guards_name_what_there_is() -> None:
    for path in [*EXCEPTIONS, *GUARDED]:
        assert (ROOT / path).exists(), path
    deps = [dep for stage in CHEAP for dep in code_of(stage)]
    assert not [path for path in EXCEPTIONS if covered(path, deps)]


def test_deps_name_files_and_folders_that_exist() -> None:
    for stage in STAGES:
        for name in RECOMMENDERS:
            for dep in code_of(stage, recommender=name):
                assert (ROOT / dep).exists(), (stage, dep)


def test_a_resume_key_follows_the_deps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = code_of("train", recommender="vbpr")
    assert "lmm4rec/recommenders/vbpr.py" in listed and "lmm4rec/training" in listed
    for dep in listed:
        (tmp_path / dep).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / dep).is_dir():
            (tmp_path / dep).mkdir(exist_ok=True)
            (tmp_path / dep / "part.py").write_text("a = 1\n")
        else:
            (tmp_path / dep).write_text("a = 1\n")
    monkeypatch.setattr("stages.running.code.ROOT", tmp_path)
    before = code_fingerprint("train", recommender="vbpr")
    (tmp_path / "lmm4rec/training/part.py").write_text("a = 2\n")
    after = code_fingerprint("train", recommender="vbpr")
    assert [name for name in listed if before[name] != after[name]] == ["lmm4rec/training"]
    (tmp_path / "lmm4rec/training/part.pyc").write_bytes(b"byte code")
    assert code_fingerprint("train", recommender="vbpr") == after
