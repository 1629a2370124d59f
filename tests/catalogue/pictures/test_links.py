"""Links answer with bytes, with nothing, or with "ask again"; never with something else."""

import gzip
import threading
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmm4rec.catalogue.downloads import TransientError
from lmm4rec.catalogue.pictures.archive import pack_pictures, write_archive
from lmm4rec.catalogue.pictures.links import (
    LinkParams,
    PictureSource,
    from_archive,
    from_either,
    from_network,
)
from lmm4rec.catalogue.public_addresses import RefusedAddressError
from lmm4rec.errors import InputError
from tests.local_server import LocalServer, dripping, local_server

OK_HEAD = b"HTTP/1.1 200 OK\r\n"
PARAMS = LinkParams(timeout_seconds=5.0, attempts=3)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with local_server() as running:
        yield running


@pytest.fixture
def read(server: LocalServer) -> PictureSource:
    return from_network(PARAMS, maximum_bytes=1000, connections_per_host=2, pause_seconds=0.01)


def test_picture_comes(server: LocalServer, read: PictureSource) -> None:
    server.files["/a.jpg"] = b"picture"
    assert read(server.address("/a.jpg")) == b"picture"


def test_dead_links_are_asked_once(server: LocalServer, read: PictureSource) -> None:
    server.answers["/b.jpg"] = [403]
    assert read(server.address("/a.jpg")) is None
    assert read(server.address("/b.jpg")) is None
    assert len(server.requests) == 2


@pytest.mark.parametrize("failure", [503, 429, 500])
def test_failures_that_may_pass_are_tried_again(
    server: LocalServer, read: PictureSource, failure: int
) -> None:
    server.files["/a.jpg"] = b"picture"
    server.answers["/a.jpg"] = [failure, failure]
    assert read(server.address("/a.jpg")) == b"picture"
    server.answers["/a.jpg"] = [failure] * 3
    with pytest.raises(TransientError):
        read(server.address("/a.jpg"))


def test_cut_answer_is_tried_again(server: LocalServer, read: PictureSource) -> None:
    server.files["/a.jpg"] = b"0123456789"
    server.cuts["/a.jpg"] = [4]
    assert read(server.address("/a.jpg")) == b"0123456789"


def test_host_that_is_not_there(read: PictureSource) -> None:
    with local_server() as gone:
        link = gone.address("/a.jpg")
    with pytest.raises(TransientError):
        read(link)


def test_no_more_than_allowed_is_read(server: LocalServer, read: PictureSource) -> None:
    server.files["/a.jpg"] = bytes(5_000_000)
    assert read(server.address("/a.jpg")) == bytes(1001)


@pytest.mark.parametrize(
    "link", ["file:///etc/passwd", "a.jpg", "http://", "ftp://h/a", "http://[::"]
)
def test_other_links_are_never_followed(
    read: PictureSource, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("lmm4rec.catalogue.pictures.links._get")
    assert read(link) is None


def test_one_host_gets_no_more_than_its_connections(server: LocalServer) -> None:
    inside, most, lock = 0, 0, threading.Lock()
    serve = server.RequestHandlerClass.do_GET  # type: ignore[attr-defined]

    def slow(handler: object) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.02)
        with lock:
            inside -= 1
        serve(handler)

    handler = type("Slow", (server.RequestHandlerClass,), {"do_GET": slow})
    server.RequestHandlerClass = handler  # type: ignore[assignment]
    server.files["/a.jpg"] = b"picture"
    read = from_network(PARAMS, 1000, connections_per_host=2)
    threads = [threading.Thread(target=read, args=[server.address("/a.jpg")]) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_archive_is_read_by_exact_names(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "folder").mkdir(parents=True)
    (pictures / "folder" / "b.jpg").write_bytes(b"b")
    (pictures / "a%2F.jpg").write_bytes(b"a")
    pack_pictures(tmp_path, [Path("pictures")], tmp_path / "images.zip")
    read = from_archive(tmp_path / "images.zip")
    assert read("pictures/folder/b.jpg") == b"b"
    assert read("pictures/a%2F.jpg") == b"a"
    assert read("b.jpg") is None


def test_links_go_over_the_network_and_names_to_the_archive(tmp_path: Path) -> None:
    links = ["http://h/a.jpg", "HTTPS://h/a.jpg"]
    names = ["a.jpg", "http.jpg", "httpss://x", "ftp://h/a.jpg", "//h/a.jpg"]
    archive = tmp_path / "images.zip"
    assert from_either(archive, lambda link: b"network", links)(links[0]) == b"network"
    write_archive(archive, [(name, b"archive") for name in names])
    read = from_either(archive, lambda link: b"network", [*links, *names, "gone.jpg"])
    assert {read(link) for link in links} == {b"network"}
    assert {read(name) for name in names} == {b"archive"}
    assert read("gone.jpg") is None


def test_an_archive_with_none_of_the_pictures_is_a_sentence(tmp_path: Path) -> None:
    archive = tmp_path / "images.zip"
    named = ["http://h/a.jpg", "x/a.jpg", "x/b.jpg"]
    with pytest.raises(InputError, match=r"none of the 2 pictures .* x/a\.jpg; there are none\)"):
        from_either(archive, lambda link: None, named)
    write_archive(archive, [("a.jpg", b"a")])
    with pytest.raises(InputError, match=r"images\.zip: .* holds a\.jpg and others\); correct"):
        from_either(archive, lambda link: None, named)
    write_archive(archive, [("x/b.jpg", b"b")])  # as it advises
    assert from_either(archive, lambda link: None, named)("x/b.jpg") == b"b"


def test_broken_archive(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"PK no")
    with pytest.raises(InputError, match=r"images\.zip: not a zip file .* run stage download"):
        from_archive(tmp_path / "images.zip")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.jpg", b"picture")
    whole = (tmp_path / "images.zip").read_bytes()
    (tmp_path / "images.zip").write_bytes(whole.replace(b"picture", b"damaged"))
    with pytest.raises(InputError, match=r"images\.zip: not a zip of sound .* run stage download"):
        from_archive(tmp_path / "images.zip")("a.jpg")


# --------------------------------------------------------------------------------- hostile answers


@pytest.mark.parametrize(
    "link", ["http://10.0.0.1/a.jpg", "http://2852039166/a.jpg", "http://me:secret@127.0.0.1/a.jpg"]
)
def test_links_that_lead_inside_are_refused(read: PictureSource, link: str) -> None:
    with pytest.raises(RefusedAddressError):
        read(link)


@pytest.mark.parametrize(
    "link",
    ["http://[::1/x.gz", "data:image/png;base64,AAAA", "gopher://h/a", "http:///a", "//h/a",
     "http://h:port/a", "http://h:99999/a", "javascript:alert(1)"],
)  # fmt: skip
def test_malformed_links_are_no_picture(read: PictureSource, link: str) -> None:
    assert read(link) is None


def test_a_body_that_drips_ends(server: LocalServer) -> None:
    params = LinkParams(timeout_seconds=0.2, attempts=1)
    read = from_network(params, maximum_bytes=1000, connections_per_host=2)
    with dripping(OK_HEAD + b"\r\n", b"a") as host:
        start = time.monotonic()
        with pytest.raises(TransientError, match="took too long"):
            read(f"http://{host}/a.jpg")
        assert time.monotonic() - start < 4


PACKED = {
    "gzip": gzip.compress(b"picture"),
    "x-gzip": gzip.compress(b"picture"),
    "GZIP": gzip.compress(b"picture"),
    "deflate": zlib.compress(b"picture"),
    "identity": b"picture",
}


@pytest.mark.parametrize("encoding", PACKED)
def test_packed_answers_are_unpacked(
    encoding: str, server: LocalServer, read: PictureSource
) -> None:
    server.files["/a.jpg"], server.encodings["/a.jpg"] = PACKED[encoding], encoding
    assert read(server.address("/a.jpg")) == b"picture"


def test_bombs_are_unpacked_no_further_than_allowed(
    server: LocalServer, read: PictureSource
) -> None:
    server.files["/a.jpg"] = gzip.compress(bytes(200_000_000))
    server.encodings["/a.jpg"] = "gzip"
    tracemalloc.start()
    try:
        assert read(server.address("/a.jpg")) == bytes(1001)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "compress", "zstd"])
def test_other_encodings_and_damaged_ones_are_no_picture(
    encoding: str, server: LocalServer, read: PictureSource
) -> None:
    server.files["/a.jpg"], server.encodings["/a.jpg"] = b"picture", encoding
    assert read(server.address("/a.jpg")) is None
    server.encodings["/a.jpg"] = "gzip"
    assert read(server.address("/a.jpg")) is None


def test_a_length_that_is_a_lie(read: PictureSource) -> None:
    head = OK_HEAD + b"Content-Length: 99999999999999999999\r\n\r\n"
    with dripping(head, bytes(5000)) as host:
        assert read(f"http://{host}/a.jpg") == bytes(1001)
