"""Whether a test notices a mutant: the tests that run its line, in a fork, until one fails."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mutation.covering import OPTIONS, Covering
from tests.mutation.forked import forked, set_kernel_cache
from tests.mutation.mutants import Mutant

FAILED = {
    int(pytest.ExitCode.TESTS_FAILED),
    int(pytest.ExitCode.INTERRUPTED),
    int(pytest.ExitCode.USAGE_ERROR),
}
SPARE_S, TIMES = 40.0, 6.0
"""A fork is ended after these seconds and this many times what its tests took under coverage."""


@dataclass(frozen=True)
class Verdict:
    is_noticed: bool
    by: str
    """The test that failed first, or how the fork ended."""
    tests: int
    seconds: float


def tests_for(mutant: Mutant, covering: Covering, room: str) -> list[str]:
    """The tests that judge a mutant: its room's first, the quick before others."""

    def far(test: str) -> tuple[bool, float]:
        own = test.startswith(f"tests/{room}/") or Path(mutant.file).stem in test.split("::")[0]
        return not own, covering.seconds[test]

    found = covering.of(mutant.file, mutant.first_line, mutant.last_line)
    return sorted(found & covering.seconds.keys(), key=far)


class Chosen:
    """A pytest plugin that keeps these tests alone, in this order, and says which failed."""

    def __init__(self, tests: list[str]) -> None:
        self.order = {test: at for at, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = [item for item in items if item.nodeid in self.order]
        items[:] = sorted(kept, key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            print(f"\nNOTICED BY {report.nodeid}", flush=True)


def run_tests(tests: list[str]) -> int:
    files = list(dict.fromkeys(test.split("::")[0] for test in tests))
    return int(pytest.main([*files, *OPTIONS, "-x"], plugins=[Chosen(tests)]))


def judge(mutant: Mutant, tests: list[str], covering: Covering, scratch: Path) -> Verdict:
    """Write the mutant into the copy (the current folder), run its tests, put the file back."""
    place = Path(mutant.file)
    original, times = place.read_text(encoding="utf-8"), place.stat()
    log = scratch / "fork.log"
    kernels = scratch / "kernels"
    has_kernels = "njit" in original
    if has_kernels:  # numba goes by the file's time: what it compiles now must not stay
        shutil.rmtree(scratch / "mutated-kernels", ignore_errors=True)
        shutil.copytree(kernels, scratch / "mutated-kernels") if kernels.exists() else None
        set_kernel_cache(scratch / "mutated-kernels")
    limit = SPARE_S * (3 if has_kernels else 1) + TIMES * sum(covering.seconds[t] for t in tests)
    try:
        place.write_text(mutant.source(original), encoding="utf-8")
        stamp = time.time_ns() + 10**12 * (1 + mutant.occurrence)  # byte code goes by the time too
        os.utime(place, ns=(stamp, stamp))
        code, seconds = forked(lambda: run_tests(tests), log, limit)
    finally:
        place.write_text(original, encoding="utf-8")
        os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
        set_kernel_cache(kernels)
    return _verdict(code, seconds, log, len(tests), mutant)


def _verdict(code: int | None, seconds: float, log: Path, tests: int, mutant: Mutant) -> Verdict:
    if code == 0:
        return Verdict(False, "", tests, seconds)
    if code is None:
        return Verdict(True, "took too long", tests, seconds)
    if code < 0:
        return Verdict(True, f"signal {-code}", tests, seconds)
    text = log.read_text(encoding="utf-8", errors="replace")
    assert code in FAILED, f"{mutant}: pytest ended with {code}:\n{text[-2000:]}"
    failed = re.search(r"^NOTICED BY (.*)$", text, re.MULTILINE)
    return Verdict(True, failed[1] if failed else "import fails", tests, seconds)
