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
    "study": ("ground", "evaluation"),
    "features": ("faults",),
    "encoders": ("faults",),
    "ground": ("faults",),
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
    kept, same = scratch / "verdicts.jsonl", score.equivalent()
    for room, (mutants, _) in chosen.items():
        covering = covered(scratch, (room, *ALSO.get(room, ())))
        known = score.verdicts(kept)
        for mutant in mutants:
            before = known.get(mutant.key)
            lives = before is not None and not before["is_noticed"] and mutant.key not in same
            if before is None or (survivors and lives):
                tests = tests_for(mutant, covering, room)
                verdict = judged(mutant, tests, covering, scratch)
                tell(room, mutant, verdict)
                score.keep(kept, room, mutant, verdict)
    print(score.table(chosen, score.verdicts(kept), same))


def files_of(room: str) -> list[str]:
    """The room's files."""
    folder = ROOT / "lmm4rec" / ("" if room == "ground" else room)
    found = folder.glob("*.py") if room == "ground" else folder.rglob("*.py")
    names = sorted(str(path.relative_to(ROOT)) for path in found)
    return [name for name in names if Path(name).name in ONLY.get(room, {Path(name).name})]


def covered(scratch: Path, folders: tuple[str, ...]) -> Covering:
    """Run the tests of these folders once; a file that did not change since is not run again."""
    library = _hash(sorted(Path("lmm4rec").rglob("*.py")))
    kept = {}
    for folder in folders:
        place = Path("tests") if folder == "ground" else Path("tests", folder)
        for test in sorted(place.glob("test_*.py" if folder == "ground" else "**/test_*.py")):
            if "torchrun" not in test.stem:  # what runs in processes of its own is not seen
                kept[str(test)] = scratch / f"{test.stem}-{library}-{_hash([test])}.json"
    stale = {test: to for test, to in kept.items() if not to.exists()}
    if stale:
        print(f"which lines {len(stale)} files of tests run", flush=True)
        log = scratch / "covering.log"
        forked(partial(record, stale), log, 3600.0)
        assert all(to.exists() for to in stale.values()), f"see {log}"
    return read(list(kept.values()))


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
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
