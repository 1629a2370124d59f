"""The verdicts of a run and their table: noticed of those that are not equivalent, room by room."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

from tests.mutation.judging import Verdict
from tests.mutation.mutants import Mutant

EQUIVALENT = Path(__file__).with_name("equivalent.json")

Key = tuple[str, str, str, str]
"""File, function, the line before, the line after."""


def _key(row: dict[str, Any]) -> Key:
    return row["file"], row["where"], row["before"], row["after"]


def keep(place: Path, room: str, mutant: Mutant, verdict: Verdict) -> None:
    row = {"room": room, **mutant.as_row(), **vars(verdict)}
    with place.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")


def verdicts(place: Path) -> dict[Key, dict[str, Any]]:
    """Mutant -> its last verdict."""
    if not place.exists():
        return {}
    rows = map(json.loads, place.read_text(encoding="utf-8").splitlines())
    return {_key(row): row for row in rows}


def equivalent() -> dict[Key, str]:
    """Mutants that change nothing that can be observed -> why."""
    rows = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {_key(row): row["why"] for row in rows}


def interval(noticed: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in per cent."""
    if not n:
        return 0.0, 100.0
    z, share = 1.96, noticed / n
    middle = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 100 / (1 + z * z / n)
    return scale * (middle - half), min(100.0, scale * (middle + half))


def table(
    chosen: dict[str, tuple[list[Mutant], int]],
    known: dict[Key, dict[str, Any]],
    same: dict[Key, str],
) -> str:
    """Markdown, a line a room; the score is noticed / (sampled - equivalent)."""
    rows = [
        "| room | sites | sampled | equivalent | noticed | survived | score |",
        "|---|" + "---:|" * 6,
    ]
    of_rooms = [_counts(mutants, n_sites, known, same) for mutants, n_sites in chosen.values()]
    rows += [_row(room, counts) for room, counts in zip(chosen, of_rooms, strict=True)]
    totals = [sum(column) for column in zip(*of_rooms, strict=True)]
    low, high = interval(totals[3], totals[3] + totals[4])
    judged = [counts for counts in of_rooms if counts[3] + counts[4]]
    weighted = sum(n * found / (found + missed) for n, _, _, found, missed in judged)
    weighted *= 100 / max(1, sum(counts[0] for counts in judged))
    said = f"95 % interval: {low:.1f} to {high:.1f} %; rooms by their sites: {weighted:.1f} %"
    return "\n".join([*rows, _row("all", totals), "", said])


def _counts(
    mutants: list[Mutant], n_sites: int, known: dict[Key, dict[str, Any]], same: dict[Key, str]
) -> list[int]:
    """Sites, judged, equivalent, noticed and survived of a room."""
    done = [known[mutant.key] for mutant in mutants if mutant.key in known]
    noticed = sum(row["is_noticed"] for row in done)
    alike = sum(_key(row) in same and not row["is_noticed"] for row in done)
    return [n_sites, len(done), alike, noticed, len(done) - alike - noticed]


def _row(room: str, counts: list[int]) -> str:
    judged = counts[3] + counts[4]
    score = f"{100 * counts[3] / judged:.1f} %" if judged else ""
    return f"| {room} | " + " | ".join(f"{count:,}" for count in counts) + f" | {score} |"
