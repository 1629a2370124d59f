"""A process that ends when those end for whom it works.

A training whose `dvc repro` was killed would go on for hours, beside the one that the next run
starts. So a stage that DVC runs watches DVC, and the shell between them; on Linux the kernel ends
it with its direct parent at once. It ends by SIGKILL, which no busy kernel can put off: stages are
made to survive that (whole folders, savepoints). A stage started by hand watches nobody.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

WATCHED = "LMM4REC_ENDS_WITH"  # their pids, for the processes that torchrun starts
SECONDS_BETWEEN_LOOKS = 0.5
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent() -> None:
    """End when the parent of this process ends."""
    _end_with([os.getppid()])


def end_with_dvc() -> None:
    """End when the DVC process that runs this stage ends; nothing, if none does."""
    if "DVC_STAGE" not in os.environ:
        return
    handed_on = [int(pid) for pid in os.environ.get(WATCHED, "").split(",") if pid]
    watched = list(dict.fromkeys([*handed_on, *_up_to_dvc()]))
    # torchrun takes the place of this process or starts others: they watch the same.
    os.environ[WATCHED] = ",".join(map(str, watched))
    _end_with(watched)


def _up_to_dvc() -> list[int]:
    """The parents of this process up to the first that is not a shell with one command."""
    found = [os.getppid()]
    with suppress(psutil.Error):  # it has just ended; the watch will see that
        while psutil.Process(found[-1]).cmdline()[-2:-1] == ["-c"]:
            found.append(psutil.Process(found[-1]).ppid())
    return found


def _end_with(pids: Sequence[int]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # One may have ended before the kernel was told: the first look finds that.
    thread = threading.Thread(target=_watch, args=[pids], name="parents", daemon=True)
    thread.start()


def _watch(pids: Sequence[int]) -> None:
    # As processes of psutil they are known by when they began: a pid alone may be used again.
    with suppress(psutil.Error):
        watched = [psutil.Process(pid) for pid in pids]
        while all(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in watched):
            time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGKILL)
