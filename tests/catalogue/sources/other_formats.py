"""Formats of which no sample stands in tests/catalogue/formats, made here of the same small world.

8 users, 10 bought items, 60 pairs, 12 described items of which 2 were never bought. Each builder
writes a folder and says what a right reader counts.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

_WORLD = Path(__file__).parents[1] / "formats" / "17_movielens_25m"


class Taken(NamedTuple):
    user: int
    item: int
    rating: float
    seconds: int


@dataclass(frozen=True)
class World:
    taken: list[Taken]
    titles: dict[int, str]
    genres: dict[int, list[str]]


def world() -> World:
    with (_WORLD / "ratings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (_WORLD / "movies.csv").open(encoding="utf-8", newline="") as file:
        movies = list(csv.DictReader(file))
    return World(
        [
            Taken(int(r["userId"]), int(r["movieId"]), float(r["rating"]), int(r["timestamp"]))
            for r in rows
        ],
        {int(m["movieId"]): m["title"] for m in movies},
        {int(m["movieId"]): [g for g in m["genres"].split("|") if "(" not in g] for m in movies},
    )


COUNTS: dict[str, Any] = {"users": 8, "items": 10, "interactions": 60, "rows": 60}


def recbole_parts(folder: Path) -> dict[str, Any]:
    """07: X.train.inter, X.valid.inter, X.test.inter, and typed headers."""
    parts = _parted(world())
    for part, rows in parts.items():
        lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
        lines += [f"u{t.user}\t{t.item:03}\t{t.rating}\t{t.seconds}.0" for t in rows]
        (folder / f"tiny.{part}.inter").write_text("\n".join(lines) + "\n")
    items = ["item_id:token\ttitle:token_seq"]
    items += [f"{item:03}\t{title}" for item, title in world().titles.items()]
    (folder / "tiny.item").write_text("\n".join(items) + "\n", encoding="utf-8")
    splits = {"train": 44, "validation": 8, "test": 8}
    return {**COUNTS, "preset": "recbole", "splits": splits, "items_described": 10}


def lattice(folder: Path) -> dict[str, Any]:
    """10: numbers in three JSON files, ids in two lists, a text a line, matrices a folder up."""
    w = world()
    for name, rows in zip(("train", "val", "test"), _parted(w).values(), strict=True):
        content: dict[str, list[int]] = {}
        for t in rows:
            content.setdefault(str(t.user - 1), []).append(t.item - 1)
        (folder / f"{name}.json").write_text(json.dumps(content))
    users = sorted({t.user for t in w.taken})
    (folder / "user_list.txt").write_text(
        "".join(f"A{u}USER\t{u - 1}\n" for u in range(1, users[-1] + 1))
    )
    (folder / "item_list.txt").write_text("".join(f"00{i:04}\t{i - 1}\n" for i in w.titles))
    (folder / "raw_text.txt").write_text(
        "".join(f" {' '.join(w.genres[i])}{title}\n" for i, title in w.titles.items()),
        encoding="utf-8",
    )
    np.save(folder / "image_feat.npy", np.ones((len(w.titles), 4)))
    splits = {"train": 44, "validation": 8, "test": 8}
    return {
        **COUNTS, "preset": "lattice", "splits": splits, "items_described": 10,
        "first_item": "000001", "first_timestamp": None,
    }  # fmt: skip


def hm(folder: Path) -> dict[str, Any]:
    """12: days, ids with leading zeros, pictures in folders named after the ids' beginnings."""
    w = world()
    rows = [[_day(t.seconds), f"{t.user:064x}", f"01{t.item:08}", "0.05", "2"] for t in w.taken]
    rows.append(rows[0])  # two pieces in one go
    header = ["t_dat", "customer_id", "article_id", "price", "sales_channel_id"]
    _csv(folder / "transactions_train.csv", header, rows)
    header = ["article_id", "product_code", "prod_name", "product_type_name",
              "product_group_name", "colour_group_name", "detail_desc"]  # fmt: skip
    items = [
        [f"01{i:08}", f"01{i:05}", title, "Lamp", "Home", "Blue", "Nice."]
        for i, title in w.titles.items()
    ]
    _csv(folder / "articles.csv", header, items)
    for item in list(w.titles)[:9]:
        _picture(folder / "images" / f"01{item:08}"[:3] / f"01{item:08}.jpg")
    return {
        **COUNTS, "rows": 61, "preset": "hm-kaggle", "items_described": 10,
        "items_only_described": 2, "first_item": "0100000001", "items_with_picture": 9,
        "first_text": f"{w.titles[1]} Lamp Home Blue Nice.", "first_group": "0100001",
    }  # fmt: skip


def webdataset(folder: Path) -> dict[str, Any]:
    """21: samples of pictures, JSON and text in tars; interactions in a table beside."""
    w = world()
    shard = folder / "catalogue-000000.tar"
    with tarfile.open(shard, "w") as tar:
        for item, title in w.titles.items():
            sku = f"TB-0.{item}" if item == 7 else f"W{item:03}"
            key = sku.partition(".")[0] + (f"-{item}" if "." in sku else "")
            files = {"json": json.dumps({"sku": sku, "title": title}).encode(), "txt": b"Words."}
            if item <= 9:
                files["jpg"] = _jpeg()
            if item == 1:
                files["side1.jpg"] = _jpeg()
            for ending, content in files.items():
                entry = tarfile.TarInfo(f"{key}.{ending}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    skus = {item: f"TB-0.{item}" if item == 7 else f"W{item:03}" for item in w.titles}
    rows = [[f"u{t.user}", skus[t.item], t.seconds] for t in w.taken]
    _csv(folder / "events.csv", ["user_id", "sku", "timestamp"], rows)
    return {
        **COUNTS, "preset": "webdataset", "items_described": 10, "items_only_described": 2,
        "items_with_picture": 9, "pictures_total": 10,
    }  # fmt: skip


def merchant_feed(folder: Path) -> dict[str, Any]:
    """24: RSS with g:, several pictures a product under the same file names."""
    w = world()
    entries = []
    for item, title in w.titles.items():
        links = [f"https://cdn.invalid/GM-{item:04}/{k}.jpg" for k in range(2 if item == 1 else 1)]
        main = f"<g:image_link>{links[0]}</g:image_link>" if item <= 9 else ""
        more = "".join(
            f"<g:additional_image_link>{one}</g:additional_image_link>" for one in links[1:]
        )
        entries.append(
            f"<item><g:id>GM-{item:04}</g:id><g:title>{escape(title)}</g:title>{main}{more}"
            f"<g:product_type>Home &gt; Lamps</g:product_type>"
            f"<g:item_group_id>G{item // 2}</g:item_group_id></item>"
        )
    (folder / "feed.xml").write_text(
        '<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel>'
        f"<title>Shop</title>{''.join(entries)}</channel></rss>",
        encoding="utf-8",
    )
    rows = [[f"u{t.user}", f"GM-{t.item:04}", _iso(t.seconds)] for t in w.taken]
    _csv(folder / "orders.csv", ["customer_id", "product_id", "created_at"], rows)
    return {
        **COUNTS, "preset": "google-merchant", "items_described": 10, "items_only_described": 2,
        "items_with_picture": 9, "pictures_total": 10, "first_item": "GM-0001", "first_group": "G0",
        "first_text": f"{w.titles[1]} Home Lamps",
    }  # fmt: skip


def merchant_table(folder: Path) -> dict[str, Any]:
    """24: the same as a table, further links with commas between them."""
    expected = merchant_feed(folder)
    (folder / "feed.xml").unlink()
    lines = ["id\ttitle\timage_link\tadditional_image_link\tproduct_type\titem_group_id"]
    for item, title in world().titles.items():
        link = f"https://cdn.invalid/GM-{item:04}/0.jpg" if item <= 9 else ""
        more = f"https://cdn.invalid/GM-{item:04}/1.jpg" if item == 1 else ""
        lines.append(f"GM-{item:04}\t{title}\t{link}\t{more}\tHome > Lamps\tG{item // 2}")
    (folder / "feed.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return expected


def rees46(folder: Path) -> dict[str, Any]:
    """25: events of several kinds that carry what they say of the product."""
    rows = []
    for n, t in enumerate(world().taken):
        tail = [f"1000{t.item:03}", "2053013555631882656", "kitchen.pans", "ferro & sons", "19.90",
                f"51200000{t.user}", "s"]  # fmt: skip
        when = _iso(t.seconds)[:19].replace("T", " ") + " UTC"
        rows.append([when, "view", *tail])
        if n % 3 == 0:
            later = _iso(t.seconds + 60)[:19].replace("T", " ") + " UTC"
            rows.append([later, "purchase", *tail])
        if n % 4 == 0:
            rows.append([when, "remove_from_cart", *tail])
    header = ["event_time", "event_type", "product_id", "category_id", "category_code", "brand",
              "price", "user_id", "user_session"]  # fmt: skip
    _csv(folder / "2019-Oct.csv", header, rows)
    return {
        **COUNTS, "rows": len(rows), "preset": "rees46", "items_described": 10,
        "first_timestamp": 1700006400, "purchases": 20, "ratings": [1, 5],
    }  # fmt: skip


def retailrocket(folder: Path) -> dict[str, Any]:
    """25: milliseconds, views, carts and transactions."""
    kinds = ("view", "addtocart", "transaction")
    rows = [
        [t.seconds * 1000 + 52, t.user, kinds[n % 3], t.item, ""]
        for n, t in enumerate(world().taken)
    ]
    _csv(
        folder / "events.csv", ["timestamp", "visitorid", "event", "itemid", "transactionid"], rows
    )
    return {**COUNTS, "preset": "retailrocket", "first_timestamp": 1700006400, "ratings": [1, 5]}


def taobao(folder: Path) -> dict[str, Any]:
    """25: no header."""
    kinds = ("pv", "cart", "fav", "buy")
    rows = [[t.user, t.item, 11, kinds[n % 4], t.seconds] for n, t in enumerate(world().taken)]
    _csv(folder / "UserBehavior.csv", None, rows)
    return {**COUNTS, "preset": "taobao", "first_timestamp": 1700006400, "ratings": [1, 5]}


Builder = Callable[[Path], dict[str, Any]]
BUILDERS: list[Builder] = [
    recbole_parts, lattice, hm, webdataset, merchant_feed, merchant_table, rees46, retailrocket,
    taobao,
]  # fmt: skip


def _parted(w: World) -> dict[str, list[Taken]]:
    """Each user's last for test, the one before it for validation."""
    parts: dict[str, list[Taken]] = {"train": [], "valid": [], "test": []}
    for user in sorted({t.user for t in w.taken}):
        mine = sorted((t for t in w.taken if t.user == user), key=lambda t: t.seconds)
        parts["train"] += mine[:-2]
        parts["valid"] += mine[-2:-1]
        parts["test"] += mine[-1:]
    return parts


def _csv(path: Path, header: list[str] | None, rows: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)


def _day(seconds: int) -> str:
    return _iso(seconds)[:10]


def _iso(seconds: int) -> str:
    return f"{np.datetime64(seconds, 's')}Z"


def _jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(stream, "JPEG")
    return stream.getvalue()


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_jpeg())
