"""Where a request comes from: its address, and the network that throttles count by.

Source: OWASP ASVS 5.0 4.1.3, 15.3.4.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

from litestar.types import HTTPScope

Networks = tuple[IPv4Network | IPv6Network, ...]

UNKNOWN: Final = "unknown"
_LONGEST_HOP: Final = 64


def networks_of(texts: Iterable[str]) -> Networks:
    """Read the networks of trusted proxies, `10.0.0.0/8` or a single address.

    Raises:
        ValueError: one of them is neither.
    """
    return tuple(ip_network(text.strip()) for text in texts)


def resolve_client_ip(scope: HTTPScope, trusted: Networks = ()) -> str | None:
    """Give the client's address in its canonical form, or None when the connection has none.

    It is the peer's own, unless the peer is a trusted proxy: then the rightmost hop of `X-Forwarded-For` that
    is none. When a hop cannot be read as an address, none is believed: the answer is the peer then. A peer
    without an address speaks through a Unix socket, and counts as a proxy when any is configured.

    Source: CVE-2025-59152, CVE-2024-47070 (forwarded addresses believed, or refused with an error).
    """
    peer = scope["client"]
    host = peer[0] if peer else ""
    client = _canonical(host)
    if not trusted or (host and not _is_within(host, trusted)):
        return client
    for hop in _hops_from_the_right(scope):
        address = _address_of_hop(hop)
        if address is None:
            return _canonical(host)
        client = address
        if not _is_within(address, trusted):
            break
    return client


@lru_cache(4096)
def network_of(address: str | None) -> str:
    """Give the network that stands for a client: the IPv4 address itself, or the /64 around an IPv6 one.

    Source: CVE-2026-45364 (one budget for each of the 2^64 addresses everybody has).
    """
    parsed = _parse(address or "")
    if parsed is None:
        return UNKNOWN
    return str(ip_network((parsed, 32 if parsed.version == 4 else 64), strict=False))


@lru_cache(4096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; IPv4 in IPv6 becomes IPv4, and a zone is dropped."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(4096)
def _canonical(text: str) -> str | None:
    address = _parse(text)
    return None if address is None else str(address)


@lru_cache(4096)
def _is_within(text: str, networks: Networks) -> bool:
    address = _parse(text)
    return address is not None and any(address in network for network in networks)


def _hops_from_the_right(scope: HTTPScope) -> Iterator[str]:
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    if values:
        yield from reversed(b",".join(values).decode("latin-1").split(","))


def _address_of_hop(hop: str) -> str | None:
    """Read one hop: an address, or one with a port as some balancers write it."""
    text = hop.strip()
    if len(text) > _LONGEST_HOP:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _canonical(text)
