"""The one door to the network: which addresses are asked, for how long, and with whose name.

Addresses in a catalogue are other people's words. A name is resolved here, every address of it is
judged (see public_addresses), and the connection goes to a judged address, so that no second
look-up can give another. Redirects pass the same door. Nothing of this machine's is sent along: no
credentials of .netrc, none from an address.

Proxies of the environment (HTTPS_PROXY, NO_PROXY) and its CA bundle are used as they are; behind a
proxy it is the proxy that resolves names, so only addresses in digits and `localhost` are judged.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from lmm4rec.catalogue.public_addresses import (
    RefusedAddressError,
    address_in_digits,
    judged_addresses,
    refuse_private,
)

USER_AGENT = "lmm4rec/0.1 (research; downloads each file once)"
_MOST_REDIRECTS = 10


class HttpDoor:
    """A session of requests; one a thread."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False  # .netrc is part of what requests trusts
        self._session.headers["User-Agent"] = USER_AGENT
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _JudgingAdapter())

    @contextmanager
    def get(
        self, url: str, headers: Mapping[str, str], timeout: float | tuple[float, float],
        seconds: float,
    ) -> Iterator[tuple[requests.Response, Watch]]:  # fmt: skip
        """The answer, its body not read yet, and the watch that ends it after `seconds` in all.

        `timeout` bounds connecting and each single wait. Raises RefusedAddressError before anything
        is sent to an address that is not allowed, and what requests and urllib3 raise.
        """
        with Watch(seconds) as watch, self._follow(url, headers, timeout) as response:
            yield response, watch

    def _follow(self, url: str, headers: Mapping[str, str], timeout: Any) -> requests.Response:
        for _ in range(_MOST_REDIRECTS + 1):
            proxies = get_environ_proxies(url)
            _refuse_address_as_written(url, is_proxied=select_proxy(url, proxies) is not None)
            response = self._session.get(
                url, headers=dict(headers), stream=True, timeout=timeout, allow_redirects=False,
                proxies=proxies, verify=_ca_bundle(),
            )  # fmt: skip
            target = self._session.get_redirect_target(response)
            if target is None:
                return response
            response.close()
            url = urljoin(response.url or url, target)
        raise requests.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects")


class Watch:
    """Ends the connections of this thread's request when its time is up, whatever they wait for.

    Timeouts of sockets bound one wait; a server that sends a byte now and then passes them all.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._seconds, self._ends_at = seconds, time.monotonic() + seconds
        self._done, self._lock = threading.Event(), threading.Lock()
        self._sockets: list[socket.socket] = []

    def renew(self) -> None:
        """Begin the time anew."""
        self._ends_at = time.monotonic() + self._seconds

    def over(self, connection: socket.socket | None) -> None:
        """Watch this connection too; a socket that TLS wraps goes on under another object."""
        if connection is None:
            return
        own = socket.fromfd(connection.fileno(), connection.family, connection.type)
        with self._lock:
            self._sockets.append(own)
            if self.is_over:
                _shut(own)

    def __enter__(self) -> Watch:
        _threads.watch = self
        threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _threads.watch = None
        self._done.set()
        with self._lock:
            for own in self._sockets:
                own.close()
            self._sockets.clear()

    def _wait(self) -> None:
        while not self._done.wait(max(self._ends_at - time.monotonic(), 0)):
            if time.monotonic() >= self._ends_at:
                with self._lock:
                    self.is_over = True
                    for own in self._sockets:
                        _shut(own)
                return


class _Threads(threading.local):
    watch: Watch | None = None


_threads = _Threads()


def _shut(own: socket.socket) -> None:
    with suppress(OSError):  # it ended by itself
        own.shutdown(socket.SHUT_RDWR)


def _refuse_address_as_written(url: str, is_proxied: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise requests.exceptions.InvalidSchema(f"{parts.scheme}: is not http(s)")
    if parts.username is not None or parts.password is not None:
        raise RefusedAddressError(
            "it holds a user's name or password, which would be sent along; take it out"
        )
    if is_proxied:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        literal = address_in_digits(host)
        if literal is not None:
            refuse_private(host, port, literal)


def _ca_bundle() -> str | bool:
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


class _Watched(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return self._watched(super()._new_conn())

    def getresponse(self) -> Any:
        if _threads.watch is not None:
            _threads.watch.over(self.sock)  # a connection that was kept from an earlier request
        return super().getresponse()

    def _watched(self, connection: socket.socket) -> socket.socket:
        if _threads.watch is not None:
            _threads.watch.over(connection)
        return connection


class _Judged(_Watched):
    def _new_conn(self) -> socket.socket:
        host = self._dns_host
        try:
            addresses = judged_addresses(host, self.port)
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(host, self, socket.gaierror(str(error))) from error
        failure: Exception = OSError("no address")
        for address in addresses:
            try:
                return self._watched(
                    create_connection(
                        (address, self.port), self.timeout, self.source_address,
                        self.socket_options,
                    )
                )  # fmt: skip
            except TimeoutError:
                failure = ConnectTimeoutError(self, f"{host} did not answer in time")
            except OSError as error:
                failure = NewConnectionError(self, f"{host} could not be reached: {error}")
        raise failure


class _WatchedHttps(_Watched, HTTPSConnection): ...


class _JudgedHttps(_Judged, HTTPSConnection): ...


def _pools(plain: type[HTTPConnection], tls: type[HTTPSConnection]) -> dict[str, Any]:
    http = type("_HttpPool", (HTTPConnectionPool,), {"ConnectionCls": plain})
    https = type("_HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls})
    return {"http": http, "https": https}


class _JudgingAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(_Judged, _JudgedHttps)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _pools(_Watched, _WatchedHttps)
        return manager
