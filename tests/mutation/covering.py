"""Which tests run a line: each file of tests once, under coverage.py, with the test as context."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

Seen = dict[str, dict[int, list[str]]]
"""File -> line -> tests."""


@dataclass(frozen=True)
class Covering:
    seconds: dict[str, float]
    """Test -> what it took, for tests that passed."""
    lines: dict[str, dict[int, set[str]]]
    """File -> line -> tests that ran it (kernels that numba compiled are not seen)."""

    def of(self, file: str, first: int, last: int) -> set[str]:
        """Tests that ran one of these lines; else those that ran any line of the file."""
        found = self.lines.get(file, {})
        exact = {test for line in range(first, last + 1) for test in found.get(line, ())}
        return exact or {test for tests in found.values() for test in tests}


class Recorder:
    """A pytest plugin that tells coverage which test runs, and keeps what each took."""

    def __init__(self) -> None:
        import coverage

        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()
        self.coverage = coverage.Coverage(data_file=None, source=["lmm4rec"], config_file=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if not report.passed:
            self.failed.add(report.nodeid)


def record(tests: dict[str, Path]) -> int:
    """Run these files of tests under coverage and write what each saw; call it in a fork."""
    recorder = Recorder()
    recorder.coverage.start()
    code = pytest.main([*tests, *OPTIONS, "-m", "not slow and not pipeline"], plugins=[recorder])
    recorder.coverage.stop()
    data = recorder.coverage.get_data()
    root = Path.cwd()
    seen = {
        str(Path(file).relative_to(root)): {
            line: [test for test in found if test and test not in recorder.failed]
            for line, found in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    passed = {test: took for test, took in recorder.seconds.items() if test not in recorder.failed}
    for name, to in tests.items():
        to.write_text(json.dumps(_of_one(name, passed, seen)), encoding="utf-8")
    return int(code)


def _of_one(name: str, passed: dict[str, float], seen: Seen) -> dict[str, object]:
    """What the tests of one file saw."""
    own = {test: took for test, took in passed.items() if test.split("::")[0] == name}
    lines = {
        file: {
            line: kept for line, tests in found.items() if (kept := [t for t in tests if t in own])
        }
        for file, found in seen.items()
    }
    return {"seconds": own, "lines": {file: found for file, found in lines.items() if found}}


OPTIONS = ("-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=line")


def read(files: list[Path]) -> Covering:
    """What these runs saw, together."""
    seconds: dict[str, float] = {}
    lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in files:
        kept = json.loads(path.read_text(encoding="utf-8"))
        seconds |= kept["seconds"]
        for file, found in kept["lines"].items():
            for line, tests in found.items():
                lines[file][int(line)].update(tests)
    return Covering(seconds, lines)
