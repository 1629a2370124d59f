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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # of pytest-xdist
        items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)


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
