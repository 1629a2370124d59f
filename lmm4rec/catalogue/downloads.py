"""Fetching big files over http(s): progress, retries, resume, SHA-256, and a mirror folder.

An interrupted download stays beside its destination as `<name>.part`; the next call goes on from
there if the server says by ETag or date that it is still the same file. LMM4REC_MIRROR names a
folder that replaces the network: files are looked up in it by the name they are kept under, which
is the last part of their address wherever two files of a source do not share it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from lmm4rec.catalogue.http_door import HttpDoor, Watch
from lmm4rec.catalogue.public_addresses import RefusedAddressError
from lmm4rec.doors import writing
from lmm4rec.errors import InputError
from lmm4rec.params import Section, Sha256, Text

MIRROR_VARIABLE = "LMM4REC_MIRROR"
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_TIMEOUT_SECONDS = (15, 60)  # to connect, and between two reads
_LONGEST_PAUSE_SECONDS = 60.0
_LONGEST_NAME_BYTES = 200  # file systems take 255; `.part.validator` comes after it
# A download may take as long as it likes, but each chunk must come in so many seconds: 1 KiB/s.
_CHUNK_BYTES = 1 << 16
_SECONDS_A_CHUNK = 64.0
_WEB_PAGES = (b"<!doctype html", b"<html")

log = logging.getLogger(__name__)


class RemoteFile(Section):
    """An address and the SHA-256 it must have; null: recorded beside the result, not verified."""

    url: Text
    sha256: Sha256 | None


class TransientError(Exception):
    """A failure that may pass by itself: worth another attempt."""

    def __init__(self, reason: str, pause_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.pause_seconds = pause_seconds


def fetch(
    url: str,
    destination: Path,
    sha256: str | None = None,
    attempts: int = 5,
    pause_seconds: float = 1.0,
) -> str:
    """Put the file at `url` (http or https) into `destination` whole; returns its SHA-256 (hex).

    A `sha256` that does not match, a refusal by the server, or the last failed attempt raises
    `InputError`. Pauses double from `pause_seconds` unless the server asks for another.
    """
    _refuse_other_schemes(url)
    with writing(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
    if destination.exists() and sha256 in (None, file_sha256(destination)):
        return file_sha256(destination)  # an earlier run got this far
    part = destination.with_name(destination.name + ".part")
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        _copy_from_mirror(Path(mirror) / destination.name, url, part)
    else:
        _download(url, part, attempts, pause_seconds)
    _refuse_what_is_no_file(part, url)
    found = file_sha256(part)
    if sha256 is not None and found != sha256.lower():
        part.unlink()
        raise InputError(
            f"{url}: the file's SHA-256 is {found}, not the {sha256} of params.yaml; it changed or "
            "was damaged on the way: download again, or look into it and pin the new sum"
        )
    part.replace(destination)
    return found


def file_name(url: str) -> str:
    """The last part of an address's path, percent signs decoded.

    Raises InputError for what is no address, and for a last part that can be no file's name.
    """
    try:
        name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    except ValueError as error:
        raise InputError(f"{url}: not an address ({error}); correct it") from None
    if name in (".", "..") or not name.isprintable() or len(name.encode()) > _LONGEST_NAME_BYTES:
        raise InputError(
            f"{url[:200]}: its last part is no file name; give the address of a file, whose last "
            f"part is printable and at most {_LONGEST_NAME_BYTES} bytes"
        )
    return name


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_other_schemes(url: str) -> None:
    if not file_name(url) or urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url}: not the http or https address of a file; correct it")


def _copy_from_mirror(source: Path, url: str, part: Path) -> None:
    if not source.is_file():
        raise InputError(
            f"{source}: there is no such file, and {MIRROR_VARIABLE} says to take {url} from that "
            f"folder; put it there or unset {MIRROR_VARIABLE}"
        )
    log.info("Copying %s from the mirror folder", source.name)
    shutil.copyfile(source, part)


def _refuse_what_is_no_file(part: Path, url: str) -> None:
    """A web page or nothing, which servers give with status 200 too, does not count as fetched."""
    with part.open("rb") as stream:
        start = stream.read(512).lstrip().lower()
    if not start or start.startswith(_WEB_PAGES):
        part.unlink()
        what = "a web page" if start else "an empty answer"
        raise InputError(
            f"{url}: {what} came in place of the file; look at the address in a browser and "
            f"correct it, or set {MIRROR_VARIABLE} to a folder that has the file"
        )


def _download(url: str, part: Path, attempts: int, pause_seconds: float) -> None:
    for attempt in range(1, attempts + 1):
        try:
            return _attempt(url, part)
        except TransientError as error:
            if attempt == attempts:
                raise InputError(
                    f"{url}: could not be downloaded in {attempts} attempts (last: {error}); run "
                    f"the stage again to go on, or set {MIRROR_VARIABLE} to a folder that has it"
                ) from None
            pause = pause_seconds * 2 ** (attempt - 1)
            pause = min(error.pause_seconds or pause, _LONGEST_PAUSE_SECONDS)
            log.info("%s: %s; trying again in %.0f s", url, error, pause)
            time.sleep(pause)


def _attempt(url: str, part: Path) -> None:
    """One request for what is still missing of `part`."""
    validator = part.with_name(part.name + ".validator")
    have = part.stat().st_size if part.exists() and validator.exists() else 0
    # identity: a .gz served with Content-Encoding must reach the disk as it is, and Range counts it
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        headers["If-Range"] = validator.read_text(encoding="utf-8")
    try:
        with HttpDoor().get(url, headers, _TIMEOUT_SECONDS, _SECONDS_A_CHUNK) as (response, watch):
            if response.status_code == 416 and _total_bytes(response) == have:
                return validator.unlink(missing_ok=True)  # all of it was here already
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                raise TransientError("the unfinished file does not fit the server's")
            raise_for_status(response, url)
            have = _bytes_kept(response, url, have)
            _remember_validator(response, validator)
            _write(response, watch, part, have)
    except RefusedAddressError as error:
        raise InputError(f"{url}: leads to an address that is not asked: {error}") from None
    except requests.exceptions.InvalidSchema:
        raise InputError(f"{url}: leads to an address that is not http(s); correct it") from None
    except (requests.exceptions.InvalidURL, UnicodeError):
        raise InputError(f"{url}: leads to an address that is none; correct it") from None
    except (requests.RequestException, HTTPError) as error:
        raise TransientError(type(error).__name__) from None
    validator.unlink(missing_ok=True)


def raise_for_status(response: requests.Response, url: str) -> None:
    """`TransientError` where another attempt may help, `InputError` where it cannot."""
    if response.status_code in TRANSIENT_STATUSES:
        raise TransientError(f"HTTP {response.status_code}", wished_pause(response))
    if not response.ok:
        raise InputError(
            f"{url}: the server answers {response.status_code} {response.reason}; correct the "
            f"address, or set {MIRROR_VARIABLE} to a folder that has the file"
        )


def wished_pause(response: requests.Response) -> float | None:
    """Seconds of Retry-After; None where it is absent, a date or no number."""
    wished = response.headers.get("Retry-After", "")
    return float(wished) if wished.isascii() and wished.isdigit() else None


def _bytes_kept(response: requests.Response, url: str, have: int) -> int:
    """How many of the `have` bytes here the answer goes on from: all, or none."""
    if response.status_code == 200:
        return 0
    if response.status_code == 206 and have:
        if response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            return have
        raise TransientError("another part came than was asked for")
    raise InputError(
        f"{url}: the server answers {response.status_code} {response.reason} instead of the whole "
        f"file; correct the address, or set {MIRROR_VARIABLE} to a folder that has the file"
    )


def _remember_validator(response: requests.Response, path: Path) -> None:
    """What `If-Range` needs, so that halves of two different files are never joined."""
    tag = response.headers.get("ETag", "")
    validator = response.headers.get("Last-Modified") if tag.startswith("W/") or not tag else tag
    if validator:
        path.write_text(validator, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)


def _total_bytes(response: requests.Response) -> int | None:
    """The whole file's size, from Content-Range: `bytes 5-9/10` or `bytes */10`."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _write(response: requests.Response, watch: Watch, part: Path, have: int) -> None:
    length = response.headers.get("Content-Length", "")
    expected = have + int(length) if length.isdigit() else None
    progress = tqdm(
        total=expected, initial=have, unit="B", unit_scale=True, desc=file_name(response.url)
    )
    with progress, part.open("ab" if have else "wb") as stream:
        while chunk := response.raw.read(_CHUNK_BYTES, decode_content=False):
            with writing(part):
                stream.write(chunk)
            progress.update(len(chunk))
            watch.renew()
    if watch.is_over:
        raise TransientError(f"less than {_CHUNK_BYTES} bytes came in {_SECONDS_A_CHUNK:.0f} s")
    if expected is not None and part.stat().st_size != expected:
        raise TransientError(f"{part.stat().st_size} of {expected} bytes came")
