"""Where other people's bytes come in and ours go out: what libraries raise becomes one sentence.

Every library has its own errors for a file that is truncated, damaged or of another format, for a
disk that takes no more, and for numbers that ask for more memory than there is. A door is the one
place where a file or a size meets a library; `reading`, `writing` and `fitting` stand around that
call and around nothing else. An error that is no matter of file, disk or memory passes through as
it is, traceback and all.
"""

from __future__ import annotations

import errno
import pickle
import re
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

_TWO_IN_ONE_PLACE = "move it away"
# What the system says of a disk or a folder that does not take a file, and what a person can do.
_UNWRITABLE = {
    errno.ENOSPC: ("the disk is full", "make room there"),
    errno.EDQUOT: ("the quota of this disk is used up", "make room there"),
    errno.EFBIG: ("larger than a file may be there", "raise `ulimit -f`, or use another disk"),
    errno.EROFS: ("the disk is read-only", "make it writable"),
    errno.EACCES: ("writing there is not permitted", "make it and its folder writable"),
    errno.EPERM: ("writing there is not permitted", "make it and its folder writable"),
    errno.EBUSY: ("a disk is mounted there", "mount it a folder higher"),
    errno.EEXIST: ("a file stands where a folder is to be", _TWO_IN_ONE_PLACE),
    errno.ENOTDIR: ("a file stands where one of its folders is to be", _TWO_IN_ONE_PLACE),
    errno.EISDIR: ("a folder stands where a file is to be", _TWO_IN_ONE_PLACE),
    errno.ENOTEMPTY: ("others write into that folder", "let them end"),
    errno.ENOENT: ("its folder was removed meanwhile", "leave it there"),
    errno.ENAMETOOLONG: ("the name is too long for this disk", "shorten the names in params.yaml"),
    errno.EIO: ("the disk fails", "use another one"),
    errno.ESTALE: ("the network's disk is gone", "mount it again"),
}
# These four are about disks, whatever was called.
OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# safetensors says it in words; torch, where it says anything, too.
_NUMBER_IN_WORDS = re.compile(r"\(os error (\d+)\)")
_TORCH_CANNOT_WRITE = ("inline_container.cc", "iostream error", "Parent directory")
_TOO_MUCH = (
    "not enough memory", "can't allocate memory", "Storage size calculation overflowed",
    "array is too big", "Maximum allowed dimension exceeded",
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


def unwritable(error: BaseException, path: Path) -> InputError | None:
    """The sentence for an error of writing `path`; None where it says nothing of a disk."""
    number = error.errno if isinstance(error, OSError) else _number_in_words(error)
    if number is not None and number not in _UNWRITABLE:
        return None
    if number is None and not _is_torch_that_cannot_write(error):
        return None
    what, advice = _UNWRITABLE.get(number or 0, ("cannot be written", "make room there"))
    return InputError(f"{finished_name(path)}: {what}; {advice} and run this again")


def finished_name(path: Path) -> Path:
    """What a file will be called: while they are written, it or a folder of it are `.x.unfinished`.

    >>> finished_name(Path("data/.demo.unfinished/items.npy"))
    PosixPath('data/demo/items.npy')
    """
    return Path(*(re.sub(r"^\.(.+)\.unfinished$", r"\1", part) for part in path.parts))


def _number_in_words(error: BaseException) -> int | None:
    found = _NUMBER_IN_WORDS.search(str(error))
    return int(found[1]) if found and "I/O error" in str(error) else None


def _is_torch_that_cannot_write(error: BaseException) -> bool:
    """Of a full disk torch says no more than that a position is not as it was."""
    words = str(error)
    return isinstance(error, RuntimeError) and any(part in words for part in _TORCH_CANNOT_WRITE)


class writing:
    """Stands around what writes, makes or moves `path`: what the disk says becomes `InputError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        told = unwritable(error, self._path) if error is not None else None
        if told is not None:
            raise told from None


class fitting:
    """Stands around what makes arrays as large as `what` says: too large becomes `InputError`.

    `what` is a section or a parameter, `advice` what to lower.
    """

    def __init__(self, what: str, advice: str) -> None:
        self._what, self._advice = what, advice

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and _asks_too_much(error):
            words = re.sub(r"^\[enforce fail.*?\] .*?\. (?=\w+: )", "", shortened(error, 300))
            raise InputError(
                f"{self._what}: needs more memory than there is ({words}); {self._advice}"
            ) from None


def _asks_too_much(error: BaseException) -> bool:
    """Whether a library says with it that there is not so much memory, here or on a device."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    words = str(error)
    return isinstance(error, RuntimeError | ValueError) and any(part in words for part in _TOO_MUCH)


def shortened(error: BaseException, longest: int = _LONGEST_REASON) -> str:
    """What an error says, on one line that is not too long; its kind where it says nothing."""
    words = " ".join(str(error).split())
    if len(words) > longest:
        words = words[:longest] + "…"
    return words or type(error).__name__


def _is_ours(traceback: TracebackType | None) -> bool:
    """Whether the error came out of a function of this project that the call led to."""
    below = traceback.tb_next if traceback is not None else None
    while below is not None:
        if below.tb_frame.f_globals.get("__name__", "").startswith("lmm4rec."):
            return True
        below = below.tb_next
    return False
