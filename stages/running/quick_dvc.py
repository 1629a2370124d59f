"""DVC, but for how it puts a stage into dvc.lock: `python -m stages.running.quick_dvc repro ...`.

After every stage DVC reads the whole of dvc.lock with a parser that keeps comments, written in
Python, and writes it all anew, with the repository locked, so that no other job can begin or end:
3 s for 99 stages (4,090 lines, measured beside other work), more for more. Here the stage's own
lines are replaced, in a file that appears whole or not at all. The bytes are those that DVC writes
(a test compares them); a file that looks unlike DVC's own is left to DVC.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

from dvc.cli import main
from dvc.dvcfile import Lockfile
from dvc.stage import serialize
from dvc.utils.serialize import dumps_yaml

HEAD = "schema: '2.0'\nstages:\n"
# What DVC never writes, or not inside `stages`: comments, anchors, and other sections behind it.
FOREIGN = re.compile(r"^\s*#|^\S|&id\d", re.M)
NEXT_ENTRY = re.compile(r"^  \S", re.M)

_dump_all = Lockfile.dump_stages
log = logging.getLogger("dvc")


def with_entry(text: str, name: str, entry: dict[str, Any]) -> str | None:
    """The text of a dvc.lock with the entry of one stage set; None: it is not as DVC writes it."""
    block = dumps_yaml({"stages": {name: entry}}).removeprefix("stages:\n")
    if not text.startswith(HEAD) or not text.endswith("\n"):
        return None
    if FOREIGN.search(text[len(HEAD) :]) or FOREIGN.search(block):
        return None
    key = block[: block.index("\n") + 1]  # "  name:\n", quoted where YAML wants it
    place = text.find("\n" + key)
    if place < 0:
        return text + block
    following = NEXT_ENTRY.search(text, place + 1 + len(key))
    return text[: place + 1] + block + (text[following.start() :] if following else "")


def dump_stages(lockfile: Lockfile, stages: list[Any], **options: Any) -> None:
    """In place of `Lockfile.dump_stages`."""
    path = Path(lockfile.path)
    text = before = path.read_text(encoding="utf-8") if path.exists() else ""
    for stage in stages:
        for name, entry in serialize.to_lockfile(stage, **options).items():
            changed = with_entry(text, name, entry)
            if changed is None:
                _dump_all(lockfile, stages, **options)
                return
            text = changed
    if text != before:
        log.info("Updating lock file '%s'", lockfile.relpath)
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
        lockfile.repo.scm_context.track_file(lockfile.relpath)


if __name__ == "__main__":
    Lockfile.dump_stages = dump_stages
    sys.exit(main(sys.argv[1:]))
