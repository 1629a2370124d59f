"""Where the bytes of a catalogue's pictures come from: the archive beside it, or the network.

Both are asked for one link at a time, from many threads, and answer with bytes, with None (there
is no such picture) or with an exception of `TransientError` (ask again another time).
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import requests
from pydantic import Field
from urllib3.exceptions import HTTPError

from lmm4rec.catalogue.downloads import TRANSIENT_STATUSES, USER_AGENT, TransientError
from lmm4rec.catalogue.picture_archive import open_archive
from lmm4rec.params import Section

PictureSource = Callable[[str], bytes | None]

_LONGEST_PAUSE_SECONDS = 30.0
_CHUNK_BYTES = 1 << 16


class LinkParams(Section):
    """How patient the network side is: the end of section `datasets.<name>.images`."""

    timeout_seconds: float = Field(gt=0)
    attempts: int = Field(ge=1)


def from_archive(path: Path) -> PictureSource:
    """Pictures of a zip, by the last part of the link."""
    archive, lock = open_archive(path), threading.Lock()
    names = set(archive.namelist())

    def read(link: str) -> bytes | None:
        name = link.rpartition("/")[2]
        if name not in names:
            return None
        with lock:  # one file handle
            return archive.read(name)

    return read


def from_network(
    params: LinkParams, maximum_bytes: int, connections_per_host: int, pause_seconds: float = 1.0
) -> PictureSource:
    """Pictures over http(s), at most so many at once from one host.

    At most one byte more than `maximum_bytes` is read of any answer. Failures that may pass are
    tried again after doubling pauses from `pause_seconds`; then `TransientError` is raised.
    """
    doors: defaultdict[str, threading.Semaphore] = defaultdict(
        lambda: threading.Semaphore(connections_per_host)
    )
    sessions = threading.local()

    def session() -> requests.Session:
        if not hasattr(sessions, "session"):
            sessions.session = requests.Session()
            sessions.session.headers["User-Agent"] = USER_AGENT
        found: requests.Session = sessions.session
        return found

    def read(link: str) -> bytes | None:
        host = _host(link)
        if host is None:
            return None
        for attempt in range(1, params.attempts + 1):
            try:
                with doors[host]:
                    return _get(session(), link, params.timeout_seconds, maximum_bytes)
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


def _get(session: requests.Session, link: str, timeout: float, maximum_bytes: int) -> bytes | None:
    try:
        with session.get(link, stream=True, timeout=timeout) as response:
            if response.status_code in TRANSIENT_STATUSES:
                wished = response.headers.get("Retry-After", "")
                pause = float(wished) if wished.isdigit() else None
                raise TransientError(f"HTTP {response.status_code}", pause)
            if not response.ok:
                return None
            content = bytearray()
            for chunk in response.iter_content(_CHUNK_BYTES):
                content += chunk
                if len(content) > maximum_bytes:
                    break
            return bytes(content[: maximum_bytes + 1])
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
        raise TransientError("no answer") from None
    except (requests.RequestException, HTTPError, UnicodeError, ValueError):
        return None  # an address that cannot be asked: malformed, circular, another scheme
