"""What holds for all tests: their order, what guards say, and whom they may ask.

The tests that run DVC begin first. They take longest, and a worker takes a file at a time (`make
test`): begun last, that file would keep one worker busy while the others have nothing left to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator

import pytest

from tests.guards import GUARDED

REVISIONS = dict(guard.rstrip(")").split(" (raise ") for guard in GUARDED.values())

# Of tests and the stages that they start: tests.local_server listens there, and nothing else may.
os.environ["LMM4REC_OWN_NETWORK"] = "127.0.0.1"


LONGEST = "test_recommenders.py"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest begins first, where workers of pytest-xdist share files among them.

    The first file of the pipeline makes the demo that the others copy: a worker begins with it,
    another with the longest file of the rest, and nobody waits for it.
    """
    if not hasattr(config, "workerinput"):
        return
    pipeline = [item.path for item in items if item.get_closest_marker("pipeline")]

    def place(item: pytest.Item) -> int:
        if item.path in pipeline:
            return 0 if item.path == pipeline[0] else 2
        return 1 if item.path.name == LONGEST else 3

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A guard that fails names the revision to raise."""
    report = yield
    key = REVISIONS.get(re.split(r"[\[@]", item.nodeid)[0])
    if report.failed and key:
        advice = f"cached results may be of other code: where that is meant, raise {key}"
        report.sections.append(("params.yaml", advice))
    return report
