"""Which addresses are asked: public ones on the usual ports, and networks of one's own by name.

A catalogue's link may name the router, a database or a cloud's metadata service, in any spelling
or through a name that resolves there. LMM4REC_OWN_NETWORK names networks that may be asked all the
same, on any port: "10.0.0.0/8,127.0.0.1". It changes no result, so it is no parameter.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from lmm4rec.errors import InputError

OWN_NETWORK_VARIABLE = "LMM4REC_OWN_NETWORK"
_PORTS = frozenset({80, 443, 8080, 8443})
_NAT64 = IPv6Network("64:ff9b::/96")  # the whole of IPv4, in the last 32 bits

Address = IPv4Address | IPv6Address


class RefusedAddressError(Exception):
    """An address that is not asked; says why, and which option would allow it."""


def judged_addresses(host: str, port: int) -> list[str]:
    """The addresses of a name, all of them allowed; RefusedAddressError if one is not."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        refuse_private(host, port, ip_address(address))
    return addresses


def refuse_private(host: str, port: int, address: Address) -> None:
    """RefusedAddressError for an address or a port that is not asked."""
    plain = getattr(address, "ipv4_mapped", None) or address
    if any(plain in network for network in own_networks()):
        return
    if not is_public(plain):
        raise _refused(f"{host} is {plain}, which is no public address")
    if port not in _PORTS:
        raise _refused(f"port {port} of {host} is none of {sorted(_PORTS)}")


def _refused(reason: str) -> RefusedAddressError:
    return RefusedAddressError(
        f"{reason}; where it is on a network of your own, set {OWN_NETWORK_VARIABLE} to that "
        "network, say 10.0.0.0/8"
    )


def is_public(address: Address) -> bool:
    """Whether anybody's packets find there, and so do those of an IPv4 address inside it."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:  # a network without IPv4 reaches all of IPv4 so
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        inner = [address.sixtofour, *(address.teredo or ())]
        if address.is_site_local or not all(is_public(found) for found in inner if found):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def own_networks() -> list[Any]:
    """The networks of LMM4REC_OWN_NETWORK."""
    named = os.environ.get(OWN_NETWORK_VARIABLE, "").replace(" ", "")
    try:
        return [ip_network(network) for network in named.split(",") if network]
    except ValueError as error:
        raise InputError(
            f"{OWN_NETWORK_VARIABLE}: {error}; give networks like 10.0.0.0/8, with commas between"
        ) from None


def address_in_digits(host: str) -> Address | None:
    """The address that a host spells in digits of any base, or as localhost; None for a name."""
    if host.rstrip(".").lower() == "localhost" or host.rstrip(".").lower().endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    with suppress(ValueError):
        return ip_address(host)
    with suppress(OSError, UnicodeError):
        return IPv4Address(socket.inet_aton(host))  # 127.1, 2130706433, 0x7f000001, 0177.0.0.1
    return None
