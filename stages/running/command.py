"""How every stage starts and fails: one logging format, one sentence for the user's errors."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import click

from lmm4rec.errors import InputError
from lmm4rec.folders import disk_sentence, refuse_unwritable
from stages.running.holding import Held, hold_patiently
from stages.running.parents import end_with_dvc

PARAMS = Path("params.yaml")
SCRATCH = Path("data/scratch")
LOCKS = Path("data/locks")
SALT = Path("data/salt")  # by which personal data are hashed; of this clone alone

# Options that several stages share. Paths come from dvc.yaml and nowhere else.
existing_folder = click.Path(exists=True, file_okay=False, path_type=Path)
output_path = click.Path(path_type=Path)
SEED = click.IntRange(min=0, max=2**32 - 1)
# Bounds that no sensible value reaches, as in lmm4rec.params.
MOST_AT_ONCE, MOST_PROCESSES = 1_000_000, 1024  # items; processes
any_path = click.Path(path_type=Path)  # that is read, and may be absent


def available_cores() -> int:
    """Those that this process may use; torchrun's processes share those of their machine."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


# What changes speed and never a result: an option or an environment variable, not a parameter.
device_option = click.option(
    "--device", default="auto", envvar="LMM4REC_DEVICE", help="auto, cpu or cuda"
)
workers_option = click.option(
    "--workers",
    default=max(1, min(16, available_cores() - 1)),
    envvar="LMM4REC_WORKERS",
    type=click.IntRange(min=0, max=MOST_PROCESSES),
    help="processes that decode pictures; 0: none beside this one",
)


def encoder_on_a_catalogue(function: Callable[..., None]) -> Callable[..., None]:
    """A stage in which an encoder meets a catalogue: its options, and processes to share it."""

    @functools.wraps(function)
    def shared(*, processes: int, **options: Any) -> None:
        if processes > 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
            _begin_again_in(processes)
        function(**options)

    options = (
        click.option("--encoder", required=True, help="a name under `encoders` in params.yaml"),
        click.option("--weights", required=True, type=existing_folder),
        click.option("--corpus", required=True, type=existing_folder),
        click.option("--images", required=True, type=existing_folder),
        click.option("--output", required=True, type=output_path),
        device_option,
        workers_option,
        click.option(
            "--processes",
            default=1,
            envvar="LMM4REC_PROCESSES",
            type=click.IntRange(min=1, max=MOST_PROCESSES),
            help="that share the work, a GPU each; torchrun starts them",
        ),
    )
    for option in reversed(options):
        shared = option(shared)
    return shared


def _begin_again_in(processes: int) -> NoReturn:
    """Let torchrun take the place of this process and run the same command in several."""
    module = sys.modules["__main__"].__spec__  # None: started as a file
    script = ["-m", module.name] if module else sys.argv[:1]
    threads = str(max(1, available_cores() // processes))
    for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, threads)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    os.execv(sys.executable, [sys.executable, *torchrun, *script, *sys.argv[1:]])


@contextmanager
def _held(output: Path) -> Iterator[None]:
    """While this lasts, or until this process ends, no other makes this output.

    InputError: another one does.
    """
    try:
        lock = hold_patiently(
            LOCKS,
            os.path.relpath(output),
            lambda who: click.echo(f"{output} is being made by {who}: waiting a little", err=True),
        )
    except Held as who:
        raise InputError(
            f"{output} is being made by {who}; let it end or kill it, then run this again"
        ) from None
    lock.survive_exec()  # torchrun may take the place of this process
    try:
        yield
    finally:
        lock.release()


def stage(function: Callable[..., None]) -> click.Command:
    """Turn a function with click options into a stage: `InputError` becomes exit code 1.

    While it runs nobody else makes its output, and it ends when the DVC that runs it does. Whether
    its outputs can be written is asked before it computes.
    """
    options = reversed(getattr(function, "__click_params__", []))  # the last stands first there
    written = [option.name for option in options if option.type is output_path]

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        logging.getLogger("faiss").setLevel(logging.WARNING)  # how it loads itself is no news
        end_with_dvc()
        try:
            for name in written:
                refuse_unwritable(kwargs[name])
            # Processes that torchrun started work for the one that holds the output.
            alone = "output" in kwargs and "TORCHELASTIC_RUN_ID" not in os.environ
            with _held(kwargs["output"]) if alone else nullcontext():
                function(*args, **kwargs)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except OSError as error:
            told = disk_sentence(error, Path("data"))
            if told is None:
                raise
            click.echo(f"Error: {told}", err=True)
            sys.exit(1)

    return click.command()(run)
