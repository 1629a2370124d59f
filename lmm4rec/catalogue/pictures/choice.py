"""An item's pictures, tried in their order until enough of them open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from lmm4rec.catalogue.pictures.images import NO_LINK, OK, REFUSED

# A status of shards alone: the network failed in a way that may pass.
UNREACHABLE = "unreachable"


class Tried(NamedTuple):
    """What became of one picture: bytes where the status is ok."""

    position: int
    status: str
    content: bytes | None


class Choice(NamedTuple):
    """What is kept of an item's pictures, and how it came to that."""

    status: str
    main: Tried | None  # the first that opens, else the last that was tried; None: it names none
    others: list[Tried]  # that were tried too; of a choice of one: none
    tried: int
    is_short: bool  # one was out of reach
    may_change: bool  # one was, or may not be asked: another run may get another answer


def choose(
    pictures: Iterable[tuple[int, str]],
    attempt: Callable[[str], tuple[str, bytes | None]],
    wanted: int | Literal["all"],
) -> Choice:
    """The first `wanted` of (position, picture) that open, or all that do."""
    tried: list[Tried] = []
    opened = 0
    for position, picture in pictures:
        status, content = attempt(picture)
        tried.append(Tried(position, status, content))
        opened += status == OK
        if opened == wanted:
            break
    main = next((one for one in tried if one.status == OK), tried[-1] if tried else None)
    others = [] if wanted == 1 else [one for one in tried if one is not main]
    statuses = {one.status for one in tried}
    return Choice(
        NO_LINK if main is None else main.status,
        main,
        others,
        len(tried),
        is_short=UNREACHABLE in statuses,
        may_change=bool(statuses & {UNREACHABLE, REFUSED}),
    )
