"""Hostile cases for every reader: python -m tests.faults.fuzz --cases 10000 [READER ...]

Each reader runs in a process of its own. What may come out of a case is a result that a reference
confirms, or one sentence. Counted are cases, refusals, tracebacks (wrong results among them), hangs
of more than ten seconds, and how far memory grew at its peak; the exit code says if all is well.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from lmm4rec.errors import InputError
from tests.faults.readers import binaries, cells, records, settings_files
from tests.faults.readers.reader import Reader

READERS: dict[str, Reader] = {
    **records.READERS, **cells.READERS, **binaries.READERS, **settings_files.READERS
}  # fmt: skip
LONGEST_SECONDS = 10
LARGEST_BYTES = 1 << 30


class Hang(BaseException):
    """A case took too long."""


def is_one_sentence(error: InputError) -> bool:
    return "\n" not in str(error) and 0 < len(str(error)) < 1500


def outcome(reader: Reader, folder: Path, case: Any) -> str:
    """accepted, refused, hang, or the last line of a traceback with where it came from."""
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LONGEST_SECONDS)
    faulthandler.dump_traceback_later(6 * LONGEST_SECONDS, exit=True)  # where no signal is heard
    try:
        reader.read(folder, case)
    except InputError as error:
        return "refused" if is_one_sentence(error) else f"no sentence: {str(error)[:200]!r}"
    except Hang:
        return "hang"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in place if "/lmm4rec/" in frame.filename] or place
        return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}"
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    return "accepted"


def _too_long(*_: object) -> None:
    raise Hang


def run(name: str, cases: int, start: int) -> dict[str, Any]:
    """Tallies of one reader, in this process; of each fault the shortest case."""
    begun = _peak_bytes()
    tally: Counter[str] = Counter()
    examples: dict[str, str] = {}

    with tempfile.TemporaryDirectory() as folder:

        @seed(start)
        @settings(
            max_examples=cases, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(READERS[name].cases)
        def try_all(case: Any) -> None:
            found = outcome(READERS[name], Path(folder), case)
            tally[found] += 1
            if found not in ("accepted", "refused"):
                examples[found] = min(examples.get(found, repr(case)), repr(case), key=len)[:600]

        try_all()
    return {"tally": tally, "examples": examples, "grown_bytes": _peak_bytes() - begun}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", choices=[*READERS, []])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--here", action="store_true", help="one reader, in this process")
    given_ = parser.parse_args()
    if given_.here:
        print(json.dumps(run(given_.readers[0], given_.cases, given_.seed)))
        return 0
    print(
        f"{'reader':16}{'cases':>8}{'refused':>9}{'faults':>8}{'hangs':>7}{'grew MB':>9}",
        flush=True,
    )
    return max([_report(name, given_.cases, given_.seed) for name in given_.readers or READERS])


def _report(name: str, cases: int, start: int) -> int:
    """Run a reader in a process of its own and print its line; 1 where something is wrong."""
    command = [sys.executable, "-m", "tests.faults.fuzz", "--here", name]
    command += ["--cases", str(cases), "--seed", str(start)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        print(f"{name:16} ended with {ended.returncode}: {ended.stderr[-2000:]}", flush=True)
        return 1
    found = json.loads(ended.stdout.splitlines()[-1])
    tally = Counter(found["tally"])
    hangs, total = tally["hang"], tally.total()
    faults = total - tally["accepted"] - tally["refused"] - hangs
    peak = found["grown_bytes"]
    print(
        f"{name:16}{total:>8}{tally['refused']:>9}{faults:>8}{hangs:>7}{peak >> 20:>9}", flush=True
    )
    for fault, example in found["examples"].items():
        print(f"    {tally[fault]} x {fault}: {example}", flush=True)
    return int(bool(faults or hangs or peak > LARGEST_BYTES))


if __name__ == "__main__":
    sys.exit(main())
