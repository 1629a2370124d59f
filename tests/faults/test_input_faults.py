"""Every file that a stage reads from another, damaged: a sentence with its name, or it is not read.

Some flipped bytes are numbers like any other; such a file is read, and only
`python -m stages.doctor` knows. What is cut off or of another format is never taken for what it
should be.
"""

from __future__ import annotations

import pickle
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.small_study import COMMANDS, READS, leftovers, result, run, without_outputs

pytestmark = pytest.mark.slow

FOLDERS = ("--raw", "--corpus", "--images", "--weights", "--reference", "--features")


def flipped(content: bytes) -> bytes:
    rng, changed = random.Random(len(content)), bytearray(content)
    for place in rng.sample(range(len(content)), min(16, len(content))):
        changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[: len(content) * 2 // 3],
    "emptied": lambda content: b"",
    "a pickle": lambda content: pickle.dumps([1]),
    "flipped": flipped,
}


def inputs(stage: str) -> list[str]:
    """The folders that it reads, as its command names them."""
    words = COMMANDS[stage].split()
    options = [*FOLDERS, READS.get(stage, "--raw")]
    return list(dict.fromkeys(words[words.index(one) + 1] for one in options if one in words))


READERS = [stage for stage in COMMANDS if inputs(stage) and stage != "check"]  # it opens none


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("stage", READERS)
def test_a_damaged_input(stage: str, damage: str, whole: Path, tmp_path: Path) -> None:
    expected, refused = result(whole, stage), 0
    files = [file for folder in inputs(stage) for file in sorted((whole / folder).rglob("*"))]
    for file in filter(Path.is_file, files):
        name = file.relative_to(whole)
        copy = without_outputs(whole, stage, tmp_path / "project")
        (copy / name).unlink()  # the copy shares its bytes
        (copy / name).write_bytes(DAMAGES[damage](file.read_bytes()))
        done = run(copy, stage)
        assert "Traceback" not in done.said and not leftovers(copy), (name, done.said)
        if done.code == 0:
            assert damage == "flipped" or result(copy, stage) == expected, name
        else:
            # A flipped number may be found out by what is computed of it, and where.
            named = "" if damage == "flipped" else rf".*{name.parent}"
            assert re.search(f"^Error: {named}", done.last_line), (name, done.said)
            assert done.said.count("Error: ") == 1 and ".unfinished" not in done.said
            refused += 1
        shutil.rmtree(copy)
    assert refused
