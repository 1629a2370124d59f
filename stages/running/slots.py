"""The slots of `stages.repro`: each a DVC worker process, maybe with a GPU of its own."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock, Timer
from types import FrameType

import click

from lmm4rec.errors import InputError
from stages.running.command import available_cores
from stages.running.worker import Request

WORKER = [sys.executable, "-m", "stages.running.worker"]
SECONDS_TO_END = 20  # that a stage has after Ctrl-C, before it is killed
_printing = Lock()


class Slot:
    """Runs one stage at a time and prints every line that is said behind the stage's name."""

    def __init__(self, gpu: str | None) -> None:
        self._gpu = gpu
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Have a worker. The kernel ends it with the thread that calls this, so the main one."""
        if self._process is not None and self._process.poll() is None:
            return
        gpu = {} if self._gpu is None else {"CUDA_VISIBLE_DEVICES": self._gpu}
        self._process = subprocess.Popen(
            WORKER,
            env={**os.environ, **gpu, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C comes from here, and once
        )  # fmt: skip

    def run(self, stage: str | None, *, pull: bool, cores: int) -> bool:
        """Whether it went well. No stage: the remote's run cache."""
        began, name = time.monotonic(), stage or "dvc"
        request = Request(secrets.token_hex(), stage, pull, _threads(cores))
        well = False
        for line in self._answered(request):
            if line.startswith(request.answer):
                well = line.split()[1] == "done"
                break
            say(name, line)
        if stage:
            say(name, f"{'done' if well else 'failed'} after {time.monotonic() - began:.0f} s")
        return well

    def _answered(self, request: Request) -> Iterator[str]:
        """The lines that the worker says, until it ends."""
        process = self._process
        assert process is not None and process.stdin and process.stdout
        try:
            process.stdin.write(request.line())
            process.stdin.flush()
            for line in process.stdout:  # bytes: as text, every state of a bar were a line
                yield line.decode(errors="replace")
        except BrokenPipeError:
            pass
        yield f"DVC's process ended with code {process.wait()}"

    def signal(self, number: int) -> None:
        """To the worker and all that it runs."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it may just have ended
                os.killpg(self._process.pid, number)

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()


def _threads(cores: int) -> dict[str, str]:
    limits = {
        "OMP_NUM_THREADS": str(cores),
        "NUMBA_NUM_THREADS": str(cores),
        "LMM4REC_WORKERS": str(max(1, min(16, cores - 1))),
    }
    return {name: value for name, value in limits.items() if name not in os.environ}


def cores_of_a_job(jobs: int) -> int:
    return max(1, available_cores() // jobs)


def say(speaker: str, line: str) -> None:
    text = re.sub(r".*\r(?=.)", "", line.rstrip("\r\n"))  # of a progress bar its last state
    if text.strip():
        with _printing:
            click.echo(f"[{speaker}] {text}")


@contextmanager
def interruptible(slots: Sequence[Slot]) -> Iterator[None]:
    """Ctrl-C and SIGTERM are passed on to all that run; what does not end then is killed."""

    def stop(number: int, _: FrameType | None) -> None:
        for slot in slots:
            slot.signal(signal.SIGINT)  # DVC lets its command end, then ends
            killer = Timer(SECONDS_TO_END, slot.signal, [signal.SIGKILL])
            killer.daemon = True
            killer.start()
        raise InputError(f"stopped by {signal.Signals(number).name}; what is done stays done")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for slot in slots:
            slot.close()
