"""The order of the tests where several workers share them: the pipeline's own begin first.

They take longest, and a worker takes a file at a time (`make test`): begun last, that file would
keep one worker busy while the others have nothing left to do.
"""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # of pytest-xdist
        items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)
