"""Downloads come whole and right, or with one sentence; what came already is not asked again."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from urllib3 import HTTPResponse

from lmm4rec.catalogue import downloads
from lmm4rec.catalogue.downloads import TransientError, fetch
from lmm4rec.catalogue.http_door import Watch
from lmm4rec.errors import InputError
from tests.local_server import LocalServer, dripping, local_server

CONTENT = bytes(range(256)) * 4096
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with local_server() as running:
        running.files["/raw/file.gz"] = CONTENT
        yield running


def get(server: LocalServer, target: Path, sha256: str | None = None, attempts: int = 3) -> str:
    address = server.address("/raw/file.gz")
    return fetch(address, target, sha256, attempts=attempts, pause_seconds=0.01)


def test_file_comes_whole_and_leaves_nothing_beside_it(server: LocalServer, tmp_path: Path) -> None:
    assert get(server, tmp_path / "file.gz") == SUM
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["file.gz"]


def test_second_call_asks_for_nothing(server: LocalServer, tmp_path: Path) -> None:
    get(server, tmp_path / "file.gz")
    assert get(server, tmp_path / "file.gz", SUM) == SUM
    assert len(server.requests) == 1


def test_cut_download_goes_on_where_it_ended(server: LocalServer, tmp_path: Path) -> None:
    server.cuts["/raw/file.gz"] = [300_000, 200_000]
    assert get(server, tmp_path / "file.gz", SUM) == SUM
    assert [wanted for _, wanted in server.requests] == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_run_goes_on_too(server: LocalServer, tmp_path: Path) -> None:
    server.cuts["/raw/file.gz"] = [300_000]
    with pytest.raises(InputError, match=r"file\.gz: could not be downloaded in 1 attempts"):
        get(server, tmp_path / "file.gz", attempts=1)
    assert get(server, tmp_path / "file.gz", SUM) == SUM
    assert server.requests[-1] == ("/raw/file.gz", "bytes=300000-")


def test_halves_of_two_files_are_never_joined(server: LocalServer, tmp_path: Path) -> None:
    server.cuts["/raw/file.gz"] = [300_000]
    with pytest.raises(InputError):
        get(server, tmp_path / "file.gz", attempts=1)
    server.files["/raw/file.gz"] = CONTENT[::-1]
    get(server, tmp_path / "file.gz")
    assert (tmp_path / "file.gz").read_bytes() == CONTENT[::-1]


def test_unfinished_file_that_is_whole_already(server: LocalServer, tmp_path: Path) -> None:
    tag = hashlib.sha256(CONTENT).hexdigest()[:8]
    (tmp_path / "file.gz.part").write_bytes(CONTENT)
    (tmp_path / "file.gz.part.validator").write_text(f'"{tag}"')
    assert get(server, tmp_path / "file.gz", SUM) == SUM
    assert len(server.requests) == 1


def test_busy_server_is_asked_again(server: LocalServer, tmp_path: Path) -> None:
    server.answers["/raw/file.gz"] = [503, 429]
    assert get(server, tmp_path / "file.gz") == SUM
    assert len(server.requests) == 3


def test_missing_file_is_not_asked_for_twice(server: LocalServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="answers 404 Not Found; correct the address"):
        fetch(server.address("/gone.gz"), tmp_path / "gone.gz", pause_seconds=0.01)
    assert len(server.requests) == 1


def test_wrong_sum_is_refused_and_thrown_away(server: LocalServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"SHA-256 is {SUM}, not the 00ff of params.yaml"):
        get(server, tmp_path / "file.gz", "00ff")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/file", "http://host/", "nonsense"]
)
def test_only_files_over_http(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the http or https address of a file"):
        fetch(url, tmp_path / "file")


def test_host_that_does_not_answer(tmp_path: Path) -> None:
    with local_server() as server:
        address = server.address("/file.gz")
    with pytest.raises(InputError, match="could not be downloaded in 2 attempts"):
        fetch(address, tmp_path / "file.gz", attempts=2, pause_seconds=0.01)


def test_answer_that_ends_early_without_a_word(tmp_path: Path) -> None:
    """Older urllib3 takes a closed connection for the end of the file."""
    response = requests.Response()
    response.url, response.headers["Content-Length"] = "http://h/file.gz", "10"
    response.raw = HTTPResponse(io.BytesIO(b"12345"), preload_content=False)
    with pytest.raises(TransientError, match="5 of 10 bytes came"):
        downloads._write(response, Watch(60), tmp_path / "file.gz.part", have=0)


def test_mirror_replaces_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "file.gz").write_bytes(CONTENT)
    monkeypatch.setenv("LMM4REC_MIRROR", str(mirror))
    assert fetch("http://nowhere.invalid/deep/file.gz", tmp_path / "file.gz", SUM) == SUM
    with pytest.raises(InputError, match=r"other\.gz: there is no such file, and LMM4REC_MIRROR"):
        fetch("http://nowhere.invalid/deep/other.gz", tmp_path / "other.gz")


# ---------------------------------------------------------------------------------- hostile answers


@pytest.mark.parametrize("url", ["http://10.0.0.1/f.gz", "https://[::1]/f.gz", "http://u:p@h/f.gz"])
def test_addresses_inside_are_one_sentence(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"leads to an address that is not asked: ") as caught:
        fetch(url, tmp_path / "f.gz", attempts=5, pause_seconds=60)  # not tried again
    assert "\n" not in str(caught.value)


def test_a_redirect_inside_is_one_sentence(server: LocalServer, tmp_path: Path) -> None:
    server.redirects["/f.gz"] = "http://169.254.169.254/f.gz"
    with pytest.raises(InputError, match=r"/f\.gz: .* 169\.254\.169\.254.*LMM4REC_OWN_NETWORK"):
        fetch(server.address("/f.gz"), tmp_path / "f.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://[::1/x.gz", "not an address"),
        ("http://h/..", "no file name"),
        ("http://h/a/%2e%2e", "no file name"),
        ("http://h/%00.gz", "no file name"),
        ("http://h/a%0Ab.gz", "no file name"),
        (f"http://h/{'a' * 300}", "no file name"),
        (f"http://h/{'é' * 150}", "no file name"),
        ("http://h:port/x.gz", "leads to an address that is none"),
    ],
)
def test_addresses_that_are_none(url: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        fetch(url, tmp_path / "x.gz", attempts=1)


def test_a_download_that_drips_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_SECONDS_A_CHUNK", 0.5)
    for head in (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"):
        tries = pytest.raises(InputError, match="could not be downloaded in 2 attempts")
        with dripping(head, b"a") as host, tries:
            fetch(f"http://{host}/f.gz", tmp_path / "f.gz", attempts=2, pause_seconds=0.01)
        assert not (tmp_path / "f.gz").exists()


def test_a_slow_download_that_keeps_coming_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer in all than a chunk may take."""
    monkeypatch.setattr(downloads, "_SECONDS_A_CHUNK", 0.6)
    monkeypatch.setattr(downloads, "_CHUNK_BYTES", 10)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n"
    with dripping(head, b"0123456789", pause=0.08) as host:
        fetch(f"http://{host}/f.gz", tmp_path / "f.gz", attempts=1)
    assert (tmp_path / "f.gz").read_bytes() == b"0123456789" * 20


@pytest.mark.parametrize(
    ("wished", "seconds"), [("7", 7.0), ("²", None), ("", None), ("-1", None), ("Wed, 21", None)]
)
def test_pauses_that_servers_wish(wished: str, seconds: float | None) -> None:
    response = requests.Response()
    response.headers["Retry-After"] = wished
    assert downloads.wished_pause(response) == seconds


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty answer"),
        (b" \n", "an empty answer"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"\r\n  <HTML lang='en'>", "a web page"),
    ],
)
def test_what_is_no_file_does_not_count_as_fetched(
    content: bytes, what: str, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/raw/file.gz"] = content
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/file.gz").write_bytes(content)
    for mirror in ("", str(tmp_path / "mirror")):
        monkeypatch.setenv("LMM4REC_MIRROR", mirror)
        with pytest.raises(InputError, match=rf"file\.gz: {what} came in place of the file"):
            get(server, tmp_path / "out/file.gz")
        assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("204 No Content", "answers 204 No Content instead of the whole file"),
        ("205 Reset Content", "answers 205"),
        ("206 Partial Content", "answers 206 Partial Content instead of the whole file"),
        ("203 Elsewhere", "answers 203"),
        ("300 Multiple Choices", "answers 300"),
        ("304 Not Modified", "answers 304"),
        ("416 Range Not Satisfiable", "could not be downloaded in 2 attempts"),
    ],
)
def test_answers_that_are_not_the_whole_file(answer: str, sentence: str, tmp_path: Path) -> None:
    """Each to a first request, which asks for all of it."""
    head = f"HTTP/1.1 {answer}\r\nContent-Length: 3\r\nContent-Range: bytes 0-2/9\r\n\r\nabc"
    with dripping(head.encode(), b"") as host, pytest.raises(InputError, match=sentence):
        fetch(f"http://{host}/f.gz", tmp_path / "f.gz", attempts=2, pause_seconds=0.01)
    assert not (tmp_path / "f.gz").exists()


def test_another_part_than_the_missing_one_is_not_joined(tmp_path: Path) -> None:
    (tmp_path / "f.gz.part").write_bytes(b"abc")
    (tmp_path / "f.gz.part.validator").write_text('"tag"')
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-2/6\r\nContent-Length: 3\r\n"
    refused = pytest.raises(InputError, match="another part came than was asked for")
    with dripping(head + b"\r\ndef", b"") as host, refused:
        fetch(f"http://{host}/f.gz", tmp_path / "f.gz", attempts=1)
    assert (tmp_path / "f.gz.part").read_bytes() == b"abc"


def test_pauses_grow_until_the_longest(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(downloads, "time", SimpleNamespace(sleep=slept.append))  # not the watch's
    server.answers["/raw/file.gz"] = [503] * 7
    fetch(server.address("/raw/file.gz"), tmp_path / "f.gz", attempts=8, pause_seconds=3.0)
    longest = downloads._LONGEST_PAUSE_SECONDS
    assert slept == [min(3.0 * 2**n, longest) for n in range(7)] and slept[-1] == longest


@pytest.mark.parametrize(
    ("headers", "remembered"),
    [
        ({"ETag": '"a1"', "Last-Modified": "Mon"}, '"a1"'),
        ({"ETag": 'W/"a1"', "Last-Modified": "Mon"}, "Mon"),  # a weak tag allows other bytes
        ({"ETag": 'W/"a1"'}, None),
        ({"Last-Modified": "Mon"}, "Mon"),
        ({}, None),
    ],
)
def test_only_what_names_the_very_bytes_lets_a_download_go_on(
    tmp_path: Path, headers: dict[str, str], remembered: str | None
) -> None:
    response = requests.Response()
    response.headers.update(headers)
    path = tmp_path / "validator"
    path.write_text("of an earlier answer")
    downloads._remember_validator(response, path)
    assert (path.read_text() if path.exists() else None) == remembered
