"""The small folders of formats, and of inputs that failed once, that many tests read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FORMATS = Path(__file__).parent / "formats"
INPUTS = Path(__file__).parent / "inputs"


def expected(folder: str) -> dict[str, Any]:
    """What a right reader counts in a folder of `FORMATS`."""
    return dict(json.loads((FORMATS / folder / "expected.json").read_text(encoding="utf-8")))
