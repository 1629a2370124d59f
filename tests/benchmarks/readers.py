"""The readers side by side with plain ones: `python -m tests.benchmarks.readers 0.1`.

Plain is what one writes without them: a loop of json.loads, of ast.literal_eval over the lines of
wanted items, and pyarrow's CSV reader. None of these says what it left out.

Electronics-size files are generated (1.69 million reviews, 500,000 lines of metadata, and the
reviews once more as CSV), times the share given. Each reading is a process of its own: its seconds
and its peak memory, without the interpreter's start.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.recognition import recognise
from lmm4rec.catalogue.readers.rows import read_rows

REVIEWS, METADATA, BOUGHT = 1_690_000, 500_000, 63_000
TEXT = "Works well, though the cable could be longer; I'd buy it again. " * 10
TABLE = ["user", "item", "rating", "time"]
REVIEW = ["reviewerID", "asin", "overall", "unixReviewTime"]
ITEM = ["asin", "title", "brand", "categories", "description", "imUrl"]


def main(share: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, share)
        for file in sorted(folder.iterdir()):
            print(f"{file.name:28} {file.stat().st_size / 2**20:7.0f} MiB")
        for what in ("reviews", "metadata", "table", "recognition"):
            for who in ("plain", "ours"):
                command = [sys.executable, "-m", "tests.benchmarks.readers", who, what, name]
                print(f"{what:12} {who:7}", end=" ", flush=True)
                subprocess.run([*command, str(share)], check=True)


def generate(folder: Path, share: float) -> None:
    n = int(REVIEWS * share)
    with (
        gzip.open(folder / "reviews.json.gz", "wb", 1) as reviews,
        (folder / "table.csv").open("w", encoding="utf-8") as table,
    ):
        table.write("user,item,rating,time,text\n")
        for k in range(n):
            user, item, stars = f"A{k % 192_000:012d}", asin(k * 7919 % BOUGHT), k % 5 + 1
            review = {
                "reviewerID": user, "asin": item, "reviewerName": "Some One", "helpful": [0, 0],
                "reviewText": TEXT[k % 50 :], "overall": float(stars), "summary": "Fine",
                "unixReviewTime": 1_400_000_000 + k, "reviewTime": "05 13, 2014",
            }  # fmt: skip
            reviews.write(json.dumps(review).encode() + b"\n")
            table.write(f'{user},{item},{stars},{1_400_000_000 + k},"{TEXT[k % 50 :]}"\n')
    with gzip.open(folder / "metadata.json.gz", "wb", 1) as metadata:
        for k in range(int(METADATA * share)):
            item = {
                "asin": asin(k), "title": f"Thing {k}, 12&quot;", "price": 9.5, "brand": "Lumo",
                "imUrl": f"http://pictures.invalid/{k}.jpg", "description": TEXT[k % 50 :],
                "related": {"also_bought": [asin(k + j) for j in range(30)]},
                "categories": [["Electronics", "Cables", "Long ones"]],
            }  # fmt: skip
            metadata.write(repr(item).encode() + b"\n")


def asin(k: int) -> str:
    return f"B{k:09d}"


def wanted(share: float) -> Iterator[str]:
    """One item in eight, as in the real file."""
    return (asin(k) for k in range(0, int(METADATA * share), 8))


def measure(who: str, what: str, folder: Path, share: float) -> None:
    reading = Reading(maximum_unparsable_share=0.0, accept_truncated=False)
    start = time.perf_counter()
    rows = plain(what, folder, share) if who == "plain" else ours(what, folder, share, reading)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{rows:9,} rows {seconds:7.1f} s {peak:6.2f} GiB")


def plain(what: str, folder: Path, share: float) -> int:
    if what == "reviews":
        with gzip.open(folder / "reviews.json.gz") as lines:
            rows = [[json.loads(line).get(name) for name in REVIEW] for line in lines]
        return pa.table(list(zip(*rows, strict=True)), names=REVIEW).num_rows
    if what == "metadata":
        ids, begins = set(wanted(share)), re.compile(rb"{'asin': '([^']+)'")
        with gzip.open(folder / "metadata.json.gz") as lines:
            chosen = (line for line in lines if begins.match(line)[1].decode() in ids)  # type: ignore[index]
            return len([ast.literal_eval(line.decode()) for line in chosen])
    if what == "table":
        convert = csv.ConvertOptions(
            column_types=dict.fromkeys(TABLE, pa.string()), include_columns=TABLE
        )
        return csv.read_csv(folder / "table.csv", convert_options=convert).num_rows
    return 0  # it recognises nothing


def ours(what: str, folder: Path, share: float, reading: Reading) -> int:
    if what == "reviews":
        layout = Layout(family="json-lines")
        return read_rows([folder / "reviews.json.gz"], layout, REVIEW, reading).num_rows
    if what == "metadata":
        layout, ids = Layout(family="literal-lines"), set(wanted(share))
        path = folder / "metadata.json.gz"
        return read_rows([path], layout, ITEM, reading, ("asin", ids)).num_rows
    if what == "table":
        layout = Layout(family="delimited", separator=",")
        return read_rows([folder / "table.csv"], layout, TABLE, reading).num_rows
    return len({recognise(path).family for path in folder.iterdir()})


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(float(sys.argv[1]))
    else:
        measure(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
