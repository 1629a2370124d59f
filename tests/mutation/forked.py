"""A copy of the project in which tests run in forks of one process that has its libraries loaded.

Importing torch and its relatives takes seconds, and is done once; every fork imports the project
itself anew, from the copy, with whatever change was written there.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

OURS = ("lmm4rec", "stages", "tests")


def copy_project(root: Path, place: Path) -> None:
    """Copy what git knows of the project to a new folder, and make it the one that is imported."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, place / name)
    os.chdir(place)
    sys.path[:] = [str(place), *(path for path in sys.path if Path(path or ".").resolve() != root)]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:1] + _given_path(root))
    set_kernel_cache(place.parent / "kernels")


def _given_path(root: Path) -> list[str]:
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [path for path in given if path and Path(path).resolve() != root]


def set_kernel_cache(folder: Path) -> None:
    """Where numba keeps compiled kernels, here and in processes that are started from here."""
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)


def load_libraries() -> None:
    """Import all that the library and its tests import, and forget what is the project's own."""
    import hypothesis
    import pytest

    import lmm4rec

    assert hypothesis and pytest
    for module in pkgutil.walk_packages(lmm4rec.__path__, "lmm4rec."):
        importlib.import_module(module.name)
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    importlib.invalidate_caches()


def forked(function: Callable[[], int], log: Path, seconds: float) -> tuple[int | None, float]:
    """What `function` returned in a fork, its output in a file; None where it took too long.

    A signal that ended it is its number, negative. Returns that and the seconds it took.
    """
    sys.stdout.flush()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_fork(function, log)
    code: int | None = None
    while time.monotonic() - began < seconds:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.02)
    _end(child, is_alive=code is None)
    return code, time.monotonic() - began


def _be_the_fork(function: Callable[[], int], log: Path) -> None:
    code = 99
    try:
        os.setsid()
        to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(to, 1)
        os.dup2(to, 2)
        code = function()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end(child: int, is_alive: bool) -> None:
    """End the fork's whole session, so that nothing that it started goes on."""
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if is_alive:
        os.waitpid(child, 0)
