"""Which addresses are asked: every spelling, every redirect, no second look-up, nobody's name."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import requests

from lmm4rec.catalogue import http_door
from lmm4rec.catalogue.http_door import HttpDoor, Watch
from lmm4rec.catalogue.public_addresses import RefusedAddressError, is_public
from lmm4rec.errors import InputError
from tests.local_server import LocalServer, dripping, local_server


def ask(url: str, seconds: float = 20.0, timeout: float = 5.0) -> bytes:
    with HttpDoor().get(url, {}, timeout, seconds) as (response, _):
        return response.content


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with local_server() as running:
        running.files["/a"] = b"content"
        yield running


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network of one's own, and no connection at all."""
    monkeypatch.delenv("LMM4REC_OWN_NETWORK")

    def connected(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(http_door, "create_connection", connected)


PRIVATE = [
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.1",
    "017700000001", "0177.0.0.1", "0177.0.0.01", "0x7f.0x0.0x0.0x1", "0", "0.0.0.0", "localhost",
    "LOCALHOST", "localhost.", "10.0.0.1", "10.255.255.255", "167772161", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "192.168.1", "0xc0a80001", "169.254.169.254", "2852039166",
    "0xa9fea9fe", "100.64.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9",
    "224.0.0.1", "224.0.1.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "[::1]",
    "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]",
    "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]", "[2002:7f00:1::]",
    "[2002:c0a8:1::1]", "[2001:0:7f00:1::]", "[fe80::1]", "[fec0::1]", "[fc00::1]",
    "[fd12:3456:789a::1]", "[ff02::1]", "[ff0e::1]", "[2001:db8::1]", "[100::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_private_address_however_it_is_spelt(scheme: str, host: str, shut: None) -> None:
    with pytest.raises((RefusedAddressError, requests.ConnectionError)) as caught:
        ask(f"{scheme}://{host}/a.jpg")
    if not isinstance(caught.value, RefusedAddressError):  # a resolver that does not know it
        assert "resolve" in str(caught.value)
    else:
        assert "no public address" in str(caught.value)
        assert "LMM4REC_OWN_NETWORK" in str(caught.value)


@pytest.mark.parametrize("host", PRIVATE)
def test_nor_through_a_proxy(host: str, shut: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the proxy would resolve the name."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(RefusedAddressError, match="no public address"):
        ask(f"http://{host}/a.jpg")


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.32.0.1", "192.167.255.255", "11.0.0.1", "2606:4700::1111",
     "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)  # fmt: skip
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ip_address(address))


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Every name has the first answer, then the second, ...; what was connected to."""
    connected: list[str] = []
    left = list(answers)

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.delenv("LMM4REC_OWN_NETWORK")
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(http_door, "create_connection", connect)
    return connected


def test_one_private_address_of_a_name_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = resolving(monkeypatch, ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(RefusedAddressError, match=r"name\.example is 10\.0\.0\.1"):
        ask("http://name.example/a.jpg")
    assert connected == []


def test_the_judged_address_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name whose second look-up would give this machine."""
    connected = resolving(monkeypatch, ["8.8.8.8", "1.1.1.1"], ["127.0.0.1"])
    with pytest.raises(requests.ConnectionError):
        ask("http://rebinding.example/a.jpg")
    assert connected == ["8.8.8.8", "1.1.1.1"]


@pytest.mark.parametrize("port", [22, 25, 81, 6379, 8000, 11211])
def test_other_ports_are_not_asked(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    connected = resolving(monkeypatch, ["8.8.8.8"])
    with pytest.raises(RefusedAddressError, match=f"port {port} of name.example"):
        ask(f"http://name.example:{port}/a.jpg")
    assert connected == []


@pytest.mark.parametrize("networks", ["127.0.0.0/8", "10.0.0.0/8, 127.0.0.1", "127.0.0.1,::1"])
def test_a_network_of_ones_own_is_asked(
    networks: str, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMM4REC_OWN_NETWORK", networks)
    assert ask(server.address("/a")) == b"content"


@pytest.mark.parametrize("networks", ["", "10.0.0.0/8", "127.0.0.2", "::1"])
def test_another_network_does_not_help(
    networks: str, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMM4REC_OWN_NETWORK", networks)
    with pytest.raises(RefusedAddressError):
        ask(server.address("/a"))
    assert server.requests == []


def test_a_network_that_is_none(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMM4REC_OWN_NETWORK", "my-company")
    with pytest.raises(InputError, match=r"LMM4REC_OWN_NETWORK: .*my-company.*10\.0\.0\.0/8"):
        ask(server.address("/a"))


# --------------------------------------------------------------------------------------- redirects


def test_redirects_are_followed(server: LocalServer) -> None:
    server.redirects |= {"/1": "/2", "/2": server.address("/3"), "/3": "a"}
    assert ask(server.address("/1")) == b"content"


@pytest.mark.parametrize(
    "target",
    ["http://10.0.0.1/a", "http://169.254.169.254/latest/meta-data", "http://[::1]/a",
     "http://0x7f000002/a", "//192.168.0.1/a", "https://10.0.0.1/", "http://u:p@127.0.0.1/a"],
)  # fmt: skip
def test_redirects_pass_the_same_door(target: str, server: LocalServer) -> None:
    server.redirects |= {"/1": "/2", "/2": target}
    with pytest.raises(RefusedAddressError):
        ask(server.address("/1"))
    assert [path for path, _ in server.requests] == ["/1", "/2"]


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,a", "gopher://a"]
)
def test_redirects_to_other_schemes(target: str, server: LocalServer) -> None:
    server.redirects["/1"] = target
    with pytest.raises(requests.exceptions.InvalidSchema):
        ask(server.address("/1"))


def test_circular_redirects_end(server: LocalServer) -> None:
    server.redirects["/1"] = "/1"
    with pytest.raises(requests.TooManyRedirects):
        ask(server.address("/1"))
    assert len(server.requests) == 11


# ------------------------------------------------------------------------------------- credentials


def test_no_credentials_are_sent(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\ndefault login me password s\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.redirects["/1"] = server.address("/a")
    assert requests.utils.get_netrc_auth(server.address("/a")) == ("me", "secret")  # it is found
    assert ask(server.address("/1")) == b"content"
    assert not any("Authorization" in headers for headers in server.headers)


@pytest.mark.parametrize("user", ["u:p@", "u@", ":p@", "@"])
def test_names_and_passwords_in_addresses(user: str, server: LocalServer) -> None:
    with pytest.raises(RefusedAddressError, match="name or password"):
        ask(server.address("/a").replace("//", f"//{user}"))


def test_a_proxy_of_the_environment_is_used(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stands for the proxy: it is asked for whole addresses."""
    monkeypatch.delenv("LMM4REC_OWN_NETWORK")  # the proxy is the person's own choice
    monkeypatch.setenv("http_proxy", server.address(""))
    monkeypatch.delenv("no_proxy", raising=False)
    server.files["http://name.example/a"] = b"by the proxy"
    assert ask("http://name.example/a") == b"by the proxy"
    monkeypatch.setenv("no_proxy", "name.example")
    with pytest.raises(requests.ConnectionError):
        ask("http://name.example/a")


# -------------------------------------------------------------------------------------------- time


OK = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "a body of known length": OK + b"Content-Length: 1000000\r\n\r\n",
    "a body without length": OK + b"\r\n",
    "a body in chunks": OK + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n",
    "a header": OK + b"X-Slow: ",
    "a status": b"HTTP/1.1 200 ",
    "nothing": b"",
}


@pytest.mark.parametrize("head", DRIPS.values(), ids=list(DRIPS))
def test_a_drip_ends_in_time(head: bytes) -> None:
    start = time.monotonic()
    with dripping(head, b"a") as host:
        over = False
        try:
            with HttpDoor().get(f"http://{host}/", {}, 5.0, 0.5) as (response, watch):
                response.raw.read(decode_content=False)
                over = watch.is_over
        except Exception as error:
            assert "ssert" not in type(error).__name__
            over = True
    assert over and time.monotonic() - start < 4


def test_a_drip_in_place_of_tls_ends_in_time() -> None:
    start = time.monotonic()
    # a handshake record that announces 16,000 bytes
    with (
        dripping(b"\x16\x03\x03\x3e\x80", b"\x02") as host,
        pytest.raises(requests.ConnectionError),
    ):
        ask(f"https://{host}/", seconds=0.5)
    assert time.monotonic() - start < 4


def test_a_kept_connection_is_watched_too() -> None:
    first = OK + b"Content-Length: 2\r\n\r\nok"
    with dripping(first, b"", pause=0.3) as host:
        door = HttpDoor()
        with door.get(f"http://{host}/", {}, 5.0, 20.0) as (response, _):
            assert response.content == b"ok"
        start = time.monotonic()
        with pytest.raises(requests.ConnectionError), door.get(f"http://{host}/", {}, 9.0, 0.5):
            pass
        assert time.monotonic() - start < 4


def test_a_renewed_watch_goes_on() -> None:
    with Watch(0.3) as watch:
        for _ in range(4):
            time.sleep(0.15)
            watch.renew()
        assert not watch.is_over
        time.sleep(0.6)
        assert watch.is_over


def test_watches_leave_no_thread_behind(server: LocalServer) -> None:
    before = threading.active_count()
    for _ in range(20):
        ask(server.address("/a"), seconds=1000)
    deadline = time.monotonic() + 5
    while threading.active_count() > before + 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before + 3
