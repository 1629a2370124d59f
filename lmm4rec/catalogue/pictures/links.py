"""Where the bytes of a catalogue's pictures come from: the archive beside it, or the network.

Both are asked for one link at a time, from many threads, and answer with bytes, with None (there
is no such picture), with `TransientError` (ask again another time) or, for a link that leads where
nothing is asked, with `RefusedAddressError`.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import requests
from pydantic import Field
from urllib3.exceptions import HTTPError

from lmm4rec.catalogue.downloads import TRANSIENT_STATUSES, TransientError, wished_pause
from lmm4rec.catalogue.http_door import HttpDoor, Watch
from lmm4rec.catalogue.pictures.archive import open_archive, read_archive_names
from lmm4rec.catalogue.pictures.images import is_link
from lmm4rec.doors import reading
from lmm4rec.errors import InputError
from lmm4rec.params import Section

PictureSource = Callable[[str], bytes | None]

_LONGEST_PAUSE_SECONDS = 30.0
_CHUNK_BYTES = 1 << 16
_TIMEOUTS_IN_ALL = 4  # an answer may take so many times `timeout_seconds` from first to last byte


class LinkParams(Section):
    """How patient the network side is: the end of section `datasets.<name>.images`."""

    timeout_seconds: float = Field(gt=0, le=3600)
    attempts: int = Field(ge=1, le=100)


def from_archive(path: Path) -> PictureSource:
    """Pictures of a zip, by their exact names."""
    archive, lock = open_archive(path), threading.Lock()
    names = set(archive.namelist())

    def read(name: str) -> bytes | None:
        if name not in names:
            return None
        # one file handle; the two errors are what zipfile says of flags that it does not know
        also = (RuntimeError, NotImplementedError)
        with lock, reading(path, "a zip of sound pictures", "run stage download again", also):
            return archive.read(name)

    return read


def from_either(archive: Path, network: PictureSource, pictures: Sequence[str]) -> PictureSource:
    """http(s) links over the network, all else from the archive, which need not be there.

    InputError: of the `pictures` that are to be asked for some lie in the archive by their names,
    and it has none of them.
    """
    named = [picture for picture in pictures if not is_link(picture)]
    if not named:
        return network
    held = read_archive_names(archive) if archive.exists() else []
    if not set(named) & set(held):
        there = f"holds {held[0]} and others" if held else "there are none"
        raise InputError(
            f"{archive}: none of the {len(named)} pictures that the catalogue names is there "
            f"(named: {named[0]}; {there}); correct where its pictures are, or what its table "
            "calls them, and run stage download again"
        )
    local = from_archive(archive)
    return lambda picture: (network if is_link(picture) else local)(picture)


def from_network(
    params: LinkParams, maximum_bytes: int, connections_per_host: int, pause_seconds: float = 1.0
) -> PictureSource:
    """Pictures over http(s), at most so many at once from one host.

    At most one byte more than `maximum_bytes` is read of any answer. Failures that may pass are
    tried again after doubling pauses from `pause_seconds`; then `TransientError` is raised.
    """
    queues: defaultdict[str, threading.Semaphore] = defaultdict(
        lambda: threading.Semaphore(connections_per_host)
    )
    threads = threading.local()

    def door() -> HttpDoor:
        if not hasattr(threads, "door"):
            threads.door = HttpDoor()
        found: HttpDoor = threads.door
        return found

    def read(link: str) -> bytes | None:
        host = _host(link)
        if host is None:
            return None
        for attempt in range(1, params.attempts + 1):
            try:
                with queues[host]:
                    return _get(door(), link, params.timeout_seconds, maximum_bytes)
            except TransientError as error:
                if attempt == params.attempts:
                    raise
                pause = error.pause_seconds or pause_seconds * 2 ** (attempt - 1)
            time.sleep(min(pause, _LONGEST_PAUSE_SECONDS))
        raise AssertionError("unreachable: the last attempt returns or raises")

    return read


def _host(link: str) -> str | None:
    """The host of an http(s) link, None for any other."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def _get(door: HttpDoor, link: str, timeout: float, maximum_bytes: int) -> bytes | None:
    headers = {"Accept-Encoding": "identity"}  # pictures are compressed as they are
    try:
        with door.get(link, headers, timeout, _TIMEOUTS_IN_ALL * timeout) as (response, watch):
            if response.status_code in TRANSIENT_STATUSES:
                raise TransientError(f"HTTP {response.status_code}", wished_pause(response))
            if not response.ok:
                return None
            return _body(response, watch, maximum_bytes)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
        raise TransientError("no answer") from None
    except (requests.RequestException, HTTPError, UnicodeError, ValueError, zlib.error):
        return None  # an address that cannot be asked: malformed, circular, another scheme


def _body(response: requests.Response, watch: Watch, maximum_bytes: int) -> bytes | None:
    """At most `maximum_bytes` + 1 of the answer, unpacked where the server packed it all the same.

    Unpacking stops there too, however little a bomb is on the way. None for other encodings.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        return None
    unpack = None if encoding in ("identity", "") else zlib.decompressobj(zlib.MAX_WBITS | 32)
    content = bytearray()
    try:
        while len(content) <= maximum_bytes and (chunk := _read(response)):
            room = maximum_bytes + 1 - len(content)
            content += chunk if unpack is None else unpack.decompress(chunk, room)
    except (HTTPError, OSError):  # cut, or ended by the watch
        raise TransientError("the answer broke off") from None
    if watch.is_over:
        raise TransientError("the answer took too long")
    return bytes(content[: maximum_bytes + 1])


def _read(response: requests.Response) -> bytes:
    chunk: bytes = response.raw.read(_CHUNK_BYTES, decode_content=False)
    return chunk
