"""`python -m tests.mutation`: how many mutants of lmm4rec the tests notice, room by room.

Needs the extra `mutation` (cosmic-ray, coverage). What is done is kept in `--scratch`: begun again,
it goes on; with `--survivors` it judges those again that no test noticed. Works in a copy.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import click

from tests.mutation import score
from tests.mutation.covering import Covering, read, record
from tests.mutation.forked import copy_project, forked, load_libraries
from tests.mutation.judging import Verdict, judge, tests_for
from tests.mutation.mutants import Mutant, sample

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "training", "recommenders", "evaluation", "ranking", "graphs", "report",
    "study", "features", "end2end", "encoders", "ground", "catalogue",
)  # fmt: skip
ALSO = {
    "training": ("evaluation", "faults"),
    "evaluation": ("training",),
    "ranking": ("evaluation", "training"),
    "graphs": ("recommenders",),
    "report": ("evaluation", "features"),
    "study": ("evaluation",),
    "features": ("faults",),
    "encoders": ("faults",),
    "ground": ("faults", "evaluation", "training", "features", "study"),
    "catalogue": ("faults",),
}
"""Folders whose tests judge a room beside its own; `ground` are the files `tests/test_*.py`."""

ONLY = {"catalogue": {"downloads.py", "http_door.py", "splits.py"}}
"""Files of a room that are judged, where not all are."""


@click.command(help=__doc__)
@click.option("--rooms", default=",".join(ROOMS), show_default=True)
@click.option("--each", default=27, show_default=True, help="Mutants a room.")
@click.option("--seed", default=14, show_default=True)
@click.option("--survivors", is_flag=True, help="Judge again what no test noticed.")
@click.option("--scratch", required=True, type=click.Path(path_type=Path))
def main(rooms: str, each: int, seed: int, survivors: bool, scratch: Path) -> None:
    scratch = scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    chosen = {room: sample(ROOT, files_of(room), each, seed) for room in rooms.split(",")}
    copy_project(ROOT, scratch / "copy")
    load_libraries()
    kept = scratch / "verdicts.jsonl"
    for room, (mutants, _) in chosen.items():
        covering = covered(scratch, (room, *ALSO.get(room, ())))
        known = score.verdicts(kept)
        for mutant in mutants:
            before = known.get(mutant.key)
            if before is None or (survivors and not before["is_noticed"]):
                tests = tests_for(mutant, covering, room)
                verdict = judged(mutant, tests, covering, scratch)
                tell(room, mutant, verdict)
                score.keep(kept, room, mutant, verdict)
    print(score.table(chosen, score.verdicts(kept), score.equivalent()))


def files_of(room: str) -> list[str]:
    """The room's files."""
    folder = ROOT / "lmm4rec" / ("" if room == "ground" else room)
    found = folder.glob("*.py") if room == "ground" else folder.rglob("*.py")
    names = sorted(str(path.relative_to(ROOT)) for path in found)
    return [name for name in names if Path(name).name in ONLY.get(room, {Path(name).name})]


def covered(scratch: Path, folders: tuple[str, ...]) -> Covering:
    """Run these folders of tests once; one that did not change since is not run again."""
    kept = []
    for name in folders:
        tests = [f"tests/{name}"]
        if name == "ground":
            tests = sorted(str(path) for path in Path("tests").glob("test_*.py"))
        to = scratch / f"covering-{name}-{_hash(tests)}.json"
        if not to.exists():
            print(f"which lines tests/{name} runs", flush=True)
            log = scratch / f"covering-{name}.log"
            forked(partial(record, tests, to), log, 1800.0)
            assert to.exists(), f"see {log}"
        kept.append(to)
    return read(kept)


def _hash(tests: list[str]) -> str:
    digest = hashlib.sha256()
    for name in ["lmm4rec", *tests]:
        place = Path(name)
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def judged(mutant: Mutant, tests: list[str], covering: Covering, scratch: Path) -> Verdict:
    if not tests:
        return Verdict(False, "no test runs it", 0, 0.0)
    return judge(mutant, tests, covering, scratch)


def tell(room: str, mutant: Mutant, verdict: Verdict) -> None:
    said = "noticed" if verdict.is_noticed else "SURVIVED"
    print(
        f"{room} {said} {mutant.file}:{mutant.first_line} {mutant.before!r} -> {mutant.after!r} "
        f"[{verdict.tests} tests, {verdict.seconds:.1f} s] {verdict.by}",
        flush=True,
    )


if __name__ == "__main__":
    main()
