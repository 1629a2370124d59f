"""Whatever holds pictures is packed under exact names; what is left out is counted."""

import gzip
import io
import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmm4rec.catalogue.pictures import containers
from lmm4rec.catalogue.pictures.archive import Packed, pack_pictures, read_archive_names
from lmm4rec.errors import InputError

JPEG = b"\xff\xd8\xff" + b"j" * 20


def put(root: Path, **files: bytes) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def pack(root: Path, *paths: str) -> tuple[Packed, dict[str, bytes]]:
    """What was said, and name -> content of the archive in its own order."""
    archive = root.parent / "images.zip"
    packed = pack_pictures(root, [Path(path) for path in paths], archive)
    with zipfile.ZipFile(archive) as opened:
        return packed, {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def test_a_folder_of_any_depth(root: Path) -> None:
    put(root, **{
        "photos/b.JPG": JPEG, "photos/a/b/c/d.png": b"png", "photos/bare": JPEG,
        "photos/readme.txt": b"text", "photos/a/Thumbs.db": b"\xd0\xcf", "photos/x.svg": b"<svg>",
        "photos/.DS_Store": b"x", "photos/.cache/e.jpg": JPEG, "photos/a/@eaDir/f.jpg": JPEG,
        "elsewhere/g.jpg": JPEG,
    })  # fmt: skip
    packed, found = pack(root, "photos")
    assert found == {"photos/b.JPG": JPEG, "photos/bare": JPEG, "photos/a/b/c/d.png": b"png"}
    assert packed.counts == {
        "pictures": 3, "bytes": 2 * len(JPEG) + 3, "hidden": 3, "without_bytes": 0,
        "not_pictures": 3,
    }  # fmt: skip
    assert packed.endings == {".db": 1, ".svg": 1, ".txt": 1}
    assert packed.first_left_out == "photos/readme.txt"


def test_the_root_itself_and_single_files(root: Path) -> None:
    put(root, **{"a.jpg": JPEG, "deep/b.jpg": b"b"})
    assert list(pack(root, ".")[1]) == ["a.jpg", "deep/b.jpg"]
    assert list(pack(root, "deep/b.jpg", "a.jpg")[1]) == ["deep/b.jpg", "a.jpg"]


def test_same_pictures_same_bytes(root: Path) -> None:
    put(root, **{"photos/b.jpg": JPEG, "photos/a/c.jpg": b"c"})
    pack(root, "photos")
    first = (root.parent / "images.zip").read_bytes()
    os.utime(root / "photos/b.jpg", (1, 1))
    pack(root, "photos")
    assert (root.parent / "images.zip").read_bytes() == first


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_packs_are_looked_into(root: Path, kind: str) -> None:
    members = {
        "./b/a.jpg": JPEG, "b/notes.txt": b"t", "__MACOSX/b/._a.jpg": b"x", "../../up.jpg": b"up",
        "/etc/abs.png": b"abs", "b/bare": JPEG,
    }  # fmt: skip
    path = root / f"photos.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("b/", b"")
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:" + kind.partition(".")[2]) as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            link = tarfile.TarInfo("b/link.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
    before = sorted(root.parent.parent.iterdir())
    packed, found = pack(root, path.name)
    assert found == {
        f"photos.{kind}#b/a.jpg": JPEG, f"photos.{kind}#../../up.jpg": b"up",
        f"photos.{kind}#/etc/abs.png": b"abs", f"photos.{kind}#b/bare": JPEG,
    }  # fmt: skip
    assert packed.counts["hidden"] == 1
    assert packed.counts["not_pictures"] == (1 if kind == "zip" else 2)
    assert sorted(root.parent.parent.iterdir()) == before  # a name is a name


def test_names_in_a_zip_of_another_system(root: Path) -> None:
    """macOS writes UTF-8 without saying so, some of Windows backslashes."""
    accented = "crème.jpg".encode().decode("cp437")
    with zipfile.ZipFile(root / "photos.zip", "w") as archive:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = "c" + "?" * (len(accented) - 1)
        archive.writestr(entry, JPEG)
        archive.writestr("sub\\b.jpg", b"b")
    content = (root / "photos.zip").read_bytes()
    raw = entry.filename.encode()
    (root / "photos.zip").write_bytes(content.replace(raw, "crème.jpg".encode()[: len(raw)]))
    assert list(pack(root, "photos.zip")[1]) == ["photos.zip#crème.jpg", "photos.zip#sub/b.jpg"]


def test_image_structs_of_parquet(root: Path) -> None:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    sequence = pa.struct([("bytes", pa.list_(pa.binary())), ("path", pa.list_(pa.string()))])
    one = {"bytes": b"1", "path": "a.jpg"}
    lost = {"bytes": None, "path": "/home/someone/lost.jpg"}
    table = pa.table({
        "sku": ["a", "b", "c"],
        "image": pa.array([one, lost, None], image),
        "more": pa.array([[one, lost, {"bytes": b"3", "path": None}], [], None], pa.list_(image)),
        "large": pa.array([None, None, [one]], pa.large_list(image)),
        "old": pa.array([{"bytes": [b"x", b"y"], "path": [None, None]}, None, None], sequence),
        "other": pa.array([{"bytes": "text"}] * 3, pa.struct([("bytes", pa.string())])),
    })  # fmt: skip
    pq.write_table(table, root / "t-00000-of-00002.parquet", row_group_size=2)
    packed, found = pack(root, "t-00000-of-00002.parquet")
    assert found == {
        f"t-00000-of-00002.parquet#{where}": content
        for where, content in {
            "0/image/0": b"1", "0/more/0": b"1", "0/more/2": b"3", "0/old/0": b"x",
            "0/old/1": b"y", "2/large/0": b"1",
        }.items()
    }  # fmt: skip
    assert packed.counts["without_bytes"] == 2


def test_rows_count_on_across_batches(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_ROWS_AT_ONCE", 3)
    image = pa.struct([("bytes", pa.binary())])
    cells = [{"bytes": b"%d" % row} if row % 2 else None for row in range(11)]
    pq.write_table(pa.table({"i": pa.array(cells, image)}), root / "t.parquet", row_group_size=5)
    found = pack(root, "t.parquet")[1]
    assert found == {f"t.parquet#{row}/i/0": b"%d" % row for row in range(1, 11, 2)}


def test_a_folder_that_leads_back_up_ends(root: Path) -> None:
    put(root, **{"photos/a/b.jpg": JPEG})
    (root / "photos/a/up").symlink_to(root / "photos")
    (root / "linked").symlink_to(root / "photos/a")
    assert list(pack(root, "photos")[1]) == ["photos/a/b.jpg"]
    assert list(pack(root, "linked")[1]) == ["linked/b.jpg"]


def test_names_are_composed_and_clashes_are_told(root: Path) -> None:
    apart = unicodedata.normalize("NFD", "crème.jpg")
    put(root, **{f"photos/{apart}": JPEG})
    assert list(pack(root, "photos")[1]) == ["photos/crème.jpg"]
    put(root, **{"photos/crème.jpg": b"other"})
    with pytest.raises(InputError, match=r"photos/crème\.jpg: two pictures .* accents .* rename"):
        pack(root, "photos")
    (root / "photos" / apart).unlink()
    assert list(pack(root, "photos")[1]) == ["photos/crème.jpg"]
    with pytest.raises(InputError, match=r"photos/crème\.jpg: two pictures have this name"):
        pack(root, "photos", "photos")


def test_a_name_that_is_no_text(root: Path) -> None:
    (root / "photos").mkdir()
    (root / os.fsdecode(b"photos/cr\xe8me.jpg")).write_bytes(JPEG)
    with pytest.raises(InputError, match=r"photos/cr\\udce8me\.jpg'.* is not UTF-8; rename"):
        pack(root, "photos")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("p.zip", b"PK no", r"p\.zip: not a whole zip file .* fetch or pack it again"),
        ("p.tar", b"no", r"p\.tar: not a whole tar file .* fetch or pack it again"),
        ("p.tar.gz", gzip.compress(b"a" * 600, mtime=0)[:-9], r"p\.tar\.gz: not a whole tar file"),
        ("p.parquet", b"PAR1", r"p\.parquet: not a Parquet file .* fetch or pack it again"),
    ],
)
def test_damage_is_a_sentence(root: Path, name: str, content: bytes, says: str) -> None:
    put(root, **{name: content})
    with pytest.raises(InputError, match=says):
        pack(root, name)


def test_cut_packs_are_a_sentence(root: Path) -> None:
    with tarfile.open(root / "p.tar", "w") as archive:
        entry = tarfile.TarInfo("a.jpg")
        entry.size = 5000
        archive.addfile(entry, io.BytesIO(JPEG.ljust(5000)))
    content = (root / "p.tar").read_bytes()
    (root / "p.tar").write_bytes(content[:3000])
    with pytest.raises(InputError, match=r"p\.tar: not a whole tar file"):
        pack(root, "p.tar")
    with zipfile.ZipFile(root / "q.zip", "w") as packed:
        packed.writestr("a.jpg", JPEG)
    damaged = (root / "q.zip").read_bytes().replace(JPEG, JPEG[:-1] + b"?")
    (root / "q.zip").write_bytes(damaged)
    with pytest.raises(InputError, match=r"q\.zip: not a whole zip file .*CRC"):
        pack(root, "q.zip")


def test_what_is_not_there_or_locked(root: Path) -> None:
    with pytest.raises(InputError, match=r"photos: there is no such file or folder; correct"):
        pack(root, "photos")
    with zipfile.ZipFile(root / "p.zip", "w") as archive:
        archive.writestr("a.jpg", JPEG)
    content = bytearray((root / "p.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the directory's flag
    (root / "p.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"p\.zip: a\.jpg is encrypted; unpack it"):
        pack(root, "p.zip")


def test_bombs_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "_MOST_UNPACKED_BYTES", 1000)
    with zipfile.ZipFile(root / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(10_000_000))
    with pytest.raises(InputError, match=r"p\.zip: unpacks to more than \d+ bytes, 100 times"):
        pack(root, "p.zip")
    assert (root.parent / "images.zip").stat().st_size < 4_000_000


def test_names_come_back_in_order(root: Path) -> None:
    put(root, **{"b.jpg": JPEG, "a/z.jpg": JPEG, "a.jpg": JPEG})
    pack(root, ".")
    assert read_archive_names(root.parent / "images.zip") == ["a.jpg", "a/z.jpg", "b.jpg"]
