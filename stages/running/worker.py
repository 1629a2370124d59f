"""DVC, kept loaded: `python -m stages.running.worker` makes the stages named on its input.

`stages.repro` keeps one for each slot. Starting DVC costs more than most of the demo's stages
compute, so that one process makes many; each request reads dvc.yaml and dvc.lock anew, because
others have written there since. A request is a line of JSON; what DVC and the stage say goes to
the output as it comes, and then a line of the request's `answer` and how it ended.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stages.running.parents import end_with_parent
from stages.running.plan import sentence

log = logging.getLogger("dvc")


@dataclass(frozen=True)
class Request:
    """One stage, or with none the run cache of the remote."""

    answer: str  # how the line begins that ends what is said of this request
    stage: str | None
    pull: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def reproduce(request: Request) -> None:
    """As `dvc repro --single-item` does.

    With `pull` as `dvc repro --pull --allow-missing` would, which looks at all that the stage
    needs to see whether an input that is not here is the one that dvc.lock knows.
    """
    from dvc.repo import Repo, lock_repo
    from dvc.stage.cache import RunCacheNotSupported

    with Repo(_wait_for_lock=True) as repo, lock_repo(repo), repo.scm_context(quiet=True):
        if request.stage is None:
            try:
                repo.stage_cache.pull(None)
            except RunCacheNotSupported as error:
                log.info("the run cache stays away: %s", error)
            return
        forget_half_written_work(Path(repo.tmp_dir))
        [stage] = repo.stage.collect(request.stage)
        how: dict[str, Any] = {"interactive": False}
        if request.pull:
            upstream = list(repo.index.graph.successors(stage))
            how |= {"pull": True, "allow_missing": True, "upstream": upstream}
        if stage.reproduce(**how):
            stage.dump(update_pipeline=False)


def forget_half_written_work(folder: Path) -> None:
    """DVC's list of who reads and writes what, if a process was killed while it wrote it.

    DVC would refuse to work until somebody removes it. Who calls holds DVC's lock, without which
    nobody writes there.
    """
    path = folder / "rwlock"
    try:
        json.loads(path.read_text(encoding="utf-8") if path.exists() else "{}")
    except ValueError:
        log.warning("%s was left half written by a process that was killed: removed", path)
        path.unlink()


def answer(request: Request) -> bool:
    """Whether it went well. What another DVC process is at work on is waited for."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    before = dict(os.environ)
    os.environ.update(request.environment)
    told = False
    try:
        while True:
            try:
                reproduce(request)
                return True
            except LockError as error:
                if not told:
                    log.warning("waiting: %s", sentence(error))
                told = True
                time.sleep(1)
    except DvcException as error:
        log.error("%s", sentence(error))
        return False
    finally:
        os.environ.clear()
        os.environ.update(before)


def requests() -> Iterator[Request]:
    """Those on the input, which is then closed to what the stages run."""
    with os.fdopen(os.dup(0), "rb") as stream, open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        for line in stream:
            yield Request(**json.loads(line))


def main() -> None:
    end_with_parent()
    from dvc.dvcfile import Lockfile

    from stages.running.quick_dvc import dump_stages

    Lockfile.dump_stages = dump_stages
    try:
        for request in requests():
            well = answer(request)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            print(f"\n{request.answer} {'done' if well else 'failed'}", flush=True)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
