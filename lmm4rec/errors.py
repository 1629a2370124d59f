"""The one exception a user is meant to read.

Raise `InputError` whenever the cause lies outside the code: a file, a parameter, a network.
Its message is one sentence that says what is wrong, where (file and key or id), and what to do.
The stages print it and exit 1; anything else that escapes is a bug and keeps its traceback.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class InputError(Exception):
    """Something the user gave cannot be used; the message says what, where and what to do.

    It is one line that can be printed, whatever the names of files, columns and ids in it hold.
    """

    def __init__(self, sentence: str) -> None:
        parts = (part if part.isprintable() else repr(part)[1:-1] for part in sentence)
        super().__init__("".join(parts))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or the whole list.

    >>> did_you_mean("learnign_rate", ["learning_rate", "epochs"])
    "did you mean 'learning_rate'?"
    """
    known = sorted(map(str, known))  # a key of params.yaml may be a number
    nearest = get_close_matches(name, known, n=1)
    if nearest:
        return f"did you mean {nearest[0]!r}?"
    return f"known are {', '.join(known)}" if known else "none are known"


@contextmanager
def said_of(section: str) -> Iterator[None]:
    """Around work on one section of params.yaml: sentences about its words begin with its name."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{section}: {error}") from None
