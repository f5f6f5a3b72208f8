"""Where a request comes from.

A proxy's word about that counts only when the owner has named the proxy: anybody can send the
header. And a proxy makes everybody come from loopback, so "from this machine" means that the
connection is, and that no proxy had its hand in it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import AfterValidator
from starlette.requests import HTTPConnection

from maloca.core.settings import CommaSeparated

_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "x-forwarded-host", "via")
_UNKNOWN: Final = "unknown"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _are_networks(values: list[str]) -> list[str]:
    for value in values:
        try:
            ipaddress.ip_network(value)
        except ValueError:
            raise ValueError(
                f"{value!r} is no address or network; use forms like 10.0.0.7 or 10.0.0.0/8"
            ) from None
    return values


Networks = Annotated[CommaSeparated, AfterValidator(_are_networks)]


def client_address(connection: HTTPConnection, trusted: Sequence[str] = ()) -> str:
    """Return the client's IP address, as far as it can be believed.

    Args:
        connection: A request or a WebSocket.
        trusted: Networks of proxies whose X-Forwarded-For is believed. It is read from its end,
            since the nearest proxy writes last, up to the first address that is not a proxy's.

    Returns:
        An address in its short form, or "unknown" for a connection that has none.
    """
    peer = _parse(connection.client.host if connection.client else "")
    if peer is None:
        return _UNKNOWN
    networks = [ipaddress.ip_network(network) for network in trusted]
    hops = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
    while hops and _within(peer, networks):
        before = _parse(hops.pop().strip())
        if before is None:
            break
        peer = before
    return str(peer)


def is_this_machine(connection: HTTPConnection) -> bool:
    """Return whether the client runs on this machine, with no proxy in between."""
    peer = _parse(connection.client.host if connection.client else "")
    return (
        peer is not None
        and peer.is_loopback
        and not any(name in connection.headers for name in _FORWARDED)
    )


def bucket(address: str) -> str:
    """Return whom limits count together: an IPv4 address, or the /64 that one IPv6 user has."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
