"""One process at a time: locks that the system releases when their holder ends, however it ends.

The lock of a stage is on the folder or file that it writes. DVC already refuses to run a stage
that another DVC process runs; what it cannot see is a stage started by hand, and one that outlives
a killed DVC for a moment. That one ends within a second, so that a second holder waits a little.
It does not wait for hours: a stage that waits would hold a slot, and do again what was just done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from lmm4rec.errors import InputError

PATIENCE_SECONDS = 10.0
SECONDS_BETWEEN_TRIES = 0.2


class Held(Exception):
    """Somebody else holds it; the message says who."""


class Lock:
    """What is held until `release`, or until this process ends."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self._path, self._stream = path, stream

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
        self._stream.close()

    def survive_exec(self) -> None:
        """Be held by the program that takes the place of this one."""
        os.set_inheritable(self._stream.fileno(), True)


def hold(locks: Path, what: str) -> Lock:
    """Hold `what`. Held: another process does. InputError: the folder cannot be written."""
    path = locks / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.json"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}), and stages keep there who is at work; "
            "make room or make it writable"
        ) from error
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        told = stream.read()
        stream.close()
        raise Held(_who(told)) from None
    if not _is_file_at(stream, path):  # its holder removed it before it was ours
        stream.close()
        return hold(locks, what)
    stream.truncate(0)
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    command = " ".join([Path(sys.executable).name, *sys.orig_argv[1:]])
    json.dump({"pid": os.getpid(), "since": since, "command": command, "what": what}, stream)
    stream.flush()
    return Lock(path, stream)


def _is_file_at(stream: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def hold_patiently(
    locks: Path, what: str, tell: Callable[[str], None], patience: float = PATIENCE_SECONDS
) -> Lock:
    """`hold`, and where somebody else does, say so once and try again for `patience` seconds."""
    give_up = time.monotonic() + patience
    told = False
    while True:
        try:
            return hold(locks, what)
        except Held as error:
            if not told:
                tell(str(error))
            told = True
            if time.monotonic() > give_up:
                raise
            time.sleep(SECONDS_BETWEEN_TRIES)


def _who(told: str) -> str:
    with suppress(ValueError, KeyError, TypeError):  # it has only just begun to say
        found = json.loads(told)
        return f"process {found['pid']} since {found['since']} ({found['command']})"
    return "another process"
