"""A web server on this machine that fails the way real ones do."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LocalServer(ThreadingHTTPServer):
    """Serves `files` by path. `answers[path]` are statuses given, one a request, before the file;
    `cuts[path]` are byte counts after which an answer breaks off; `redirects[path]` is where to;
    `encodings[path]` is a Content-Encoding."""

    request_queue_size = 64
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, list[int]] = {}
        self.cuts: dict[str, list[int]] = {}
        self.redirects: dict[str, str] = {}
        self.encodings: dict[str, str] = {}
        self.requests: list[tuple[str, str | None]] = []  # (path, Range)
        self.headers: list[dict[str, str]] = []

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def times_asked(self) -> Counter[str]:
        return Counter(path for path, _ in self.requests)


class _Handler(BaseHTTPRequestHandler):
    server: LocalServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        self.server.headers.append(dict(self.headers))
        if self.path in self.server.redirects:
            return self._end(302, {"Location": self.server.redirects[self.path]})
        statuses = self.server.answers.get(self.path, [])
        if statuses:
            return self._end(statuses.pop(0))
        if self.path not in self.server.files:
            return self._end(404)
        content = self.server.files[self.path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        start = 0
        if wanted and self.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self._end(416, {"Content-Range": f"bytes */{len(content)}"})
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        if self.path in self.server.encodings:
            self.send_header("Content-Encoding", self.server.encodings[self.path])
        cuts = self.server.cuts.get(self.path, [])
        self.close_connection = bool(cuts)
        self.end_headers()
        with suppress(ConnectionError):  # a client may hang up when it has enough
            self.wfile.write(content[start : start + cuts.pop(0)] if cuts else content[start:])

    def _end(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def local_server() -> Iterator[LocalServer]:
    with LocalServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def dripping(head: bytes, drop: bytes, pause: float = 0.05) -> Iterator[str]:
    """A server that sends `head` and then, until nobody listens, a drop now and then."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=drip, args=[connection], daemon=True).start()

        def drip(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.sendall(head)
                    while True:
                        connection.sendall(drop)
                        time.sleep(pause)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
