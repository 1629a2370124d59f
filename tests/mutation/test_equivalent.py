"""The list of mutants that change nothing names code that is still there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTED = json.loads(Path(__file__).with_name("equivalent.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", sorted({row["file"] for row in LISTED}))
def test_the_lines_are_those_of_the_code(file: str) -> None:
    lines = {line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()}
    for row in LISTED:
        assert row["why"]
        if row["file"] == file:
            assert row["before"] in lines, f"gone from {file}: take it out of equivalent.json"
