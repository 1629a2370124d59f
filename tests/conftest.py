"""What holds for all tests: this machine's own servers may be asked, and who begins first.

Where several workers share the tests, the pipeline's own begin first.

They take longest, and a worker takes a file at a time (`make test`): begun last, that file would
keep one worker busy while the others have nothing left to do.
"""

from __future__ import annotations

import os

import pytest

# Of tests and the stages that they start: tests.local_server listens there, and nothing else may.
os.environ["LMM4REC_OWN_NETWORK"] = "127.0.0.1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # of pytest-xdist
        items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)
