"""Where other people's bytes come in: what libraries raise over them becomes one sentence.

Every library has its own errors for a file that is truncated, damaged or of another format. A door
is the one place where a file meets a library; `reading` stands around that call and around nothing
else. An error that comes out of a function of this project is no matter of the file: it passes
through as it is, traceback and all.
"""

from __future__ import annotations

import pickle
import struct
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path
from types import TracebackType

from lmm4rec.errors import InputError

_LONGEST_REASON = 120  # characters

# What the readers of the formats raise over bytes that are not as promised: zip and gzip, .npy
# (NumPy reads a header of Python literals), JSON and text.
_DAMAGE = (
    zlib.error, EOFError, zipfile.BadZipFile, ValueError, OverflowError, SyntaxError,
    tokenize.TokenError, TypeError, RecursionError,
)  # fmt: skip
# Parquet and CSV (pyarrow), and safetensors, have errors of their own; what is not imported raised
# none, and need not be: importing pyarrow takes a third of a second.
_LIBRARIES = {"pyarrow": "ArrowException", "safetensors": "SafetensorError"}
# torch's readers run through a pickle's operations one by one, and each may fail in its own way.
TORCH_DAMAGE = (
    pickle.UnpicklingError, struct.error, RuntimeError, KeyError, IndexError, AttributeError,
    AssertionError,
)  # fmt: skip


def damage() -> tuple[type[Exception], ...]:
    """The errors by which the libraries that are in use say that a file is not as promised."""
    in_use = {name: sys.modules[name] for name in _LIBRARIES if name in sys.modules}
    theirs: list[type[Exception]] = [getattr(one, _LIBRARIES[name]) for name, one in in_use.items()]
    return (*_DAMAGE, *theirs)


def made_by(stage: str) -> str:
    """What to do about a file that a stage writes and that is absent or damaged."""
    return (
        f"run stage {stage} again, or `dvc pull` its output (`python -m stages.doctor` says "
        "whether what is cached of it is damaged)"
    )


class reading:
    """Stands around one call of a library that reads `path`; its errors become `InputError`.

    `what` the file should be ("a Parquet file") and `advice` end the sentence. `also` names errors
    that only some libraries raise over damaged bytes.
    """

    def __init__(
        self, path: Path, what: str, advice: str, also: tuple[type[Exception], ...] = ()
    ) -> None:
        self._path, self._what, self._advice, self._also = path, what, advice, also

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and not _is_ours(traceback):
            problem = self._problem(error)
            if problem is not None:
                raise InputError(f"{self._path}: {problem}; {self._advice}") from None

    def _problem(self, error: BaseException) -> str | None:
        """What is wrong, in words; None where the error says nothing of the file."""
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return "there is no such file"
        if isinstance(error, OSError) and error.errno is not None:
            return f"cannot be read ({error.strerror})"
        if isinstance(error, MemoryError):
            return f"not {self._what} that fits into memory"
        if isinstance(error, (OSError, *damage(), *self._also)):
            return f"not {self._what} ({shortened(error)})"
        return None


def shortened(error: BaseException) -> str:
    """What an error says, on one line that is not too long; its kind where it says nothing."""
    words = " ".join(str(error).split())
    if len(words) > _LONGEST_REASON:
        words = words[:_LONGEST_REASON] + "…"
    return words or type(error).__name__


def _is_ours(traceback: TracebackType | None) -> bool:
    """Whether the error came out of a function of this project that the call led to."""
    below = traceback.tb_next if traceback is not None else None
    while below is not None:
        if below.tb_frame.f_globals.get("__name__", "").startswith("lmm4rec."):
            return True
        below = below.tb_next
    return False
