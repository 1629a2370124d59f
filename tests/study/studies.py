"""The project's own params.yaml with changes, as a file to be checked."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

from lmm4rec.params import read_params

ROOT = Path(__file__).parents[2]
REMOVED = object()


@cache
def _own() -> dict[str, Any]:
    content = copy.deepcopy(read_params(ROOT / "params.yaml"))
    # All that a study can reach: a catalogue of files, imports and joint training as well.
    content["run"] |= {
        "datasets": ["demo", "sports", "ml-100k"],
        "encoders": ["clip-tiny", "clip", "beit3", "resnet50-minilm"],
        "imported": ["cnn4096"],
        "recommenders": ["vbpr", "mmgcl", "lgmrec", "itemknn"],
        "end2end": ["clip-tiny"],
        "end2end_recommenders": ["vbpr"],
    }
    remote = content["imports"]["cnn4096"]["files"]["sports"]
    content["imports"]["cnn4096"]["files"] |= {
        "demo": copy.deepcopy(remote), "ml-100k": copy.deepcopy(remote)
    }  # fmt: skip
    return content


def study(folder: Path, **changes: Any) -> Path:
    """A params.yaml in `folder`; `changes` are values by dotted key, or `REMOVED`."""
    content = copy.deepcopy(_own())
    for key, value in changes.items():
        *above, last = key.split(".")
        section = content
        for step in above:
            section = section[step]
        if value is REMOVED:
            del section[last]
        else:
            section[last] = value
    path = folder / "params.yaml"
    text = json.dumps(content)  # JSON is YAML, but for these
    text = text.replace("Infinity", ".inf").replace("NaN", ".nan")
    path.write_text(text, encoding="utf-8")
    return path
