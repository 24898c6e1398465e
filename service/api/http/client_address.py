"""The client's address, and the network that rate limits count by.

Source: OWASP ASVS 5.0 4.1.3, 15.3.4.
"""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from litestar.types import HTTPScope

from service.domain.networks import Network
from service.domain.networks import Networks as ClientNetworks

Networks = tuple[IPv4Network | IPv6Network, ...]

UNKNOWN: Final = "unknown"
_MAX_HOP_LENGTH: Final = 64
_LEVELS: Final = {4: ((32, 1), (24, 16)), 6: ((64, 1), (56, 4), (48, 16))}
"""Prefix lengths and shares by IP version. One customer gets an IPv6 /64, /56 or /48; an IPv4 /24 is the
smallest network that is routed, and holds many customers."""
_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def resolve_client_ip(scope: HTTPScope, trusted: Networks = ()) -> str | None:
    """Return the client's address in canonical form, or None if the connection has none.

    This is the peer's address. If the peer is a trusted proxy, it is the rightmost hop of `X-Forwarded-For`
    that is not one. If a hop is not an address, the whole header is ignored and the peer is returned. A peer
    without an address uses a Unix socket, and counts as a proxy if any is configured.

    Source: CVE-2025-59152, CVE-2024-47070 (forwarded addresses trusted, or answered with an error).
    """
    peer = scope["client"]
    host = peer[0] if peer else ""
    client = _canonical(host)
    if not trusted or (host and not is_within(host, trusted)):
        return client
    for hop in _hops_from_the_right(scope):
        address = _address_of_hop(hop)
        if address is None:
            return _canonical(host)
        client = address
        if not is_within(address, trusted):
            break
    return client


def rate_limit_prefix(address: str | None) -> str:
    """Return the narrowest network of a client: the IPv4 address itself, or the /64 around an IPv6 address.

    Source: CVE-2026-45364 (one budget for each of the 2^64 addresses of a client).
    """
    return rate_limit_networks(address)[0].name


@lru_cache(4096)
def rate_limit_networks(address: str | None) -> ClientNetworks:
    """Return the networks around a client, the narrowest first; what NAT64 translates counts as IPv4."""
    parsed = _parse(address or "")
    if parsed is None:
        return (Network(UNKNOWN),)
    source = _translated(parsed) or parsed
    return tuple(
        Network(str(ip_network((source, length), strict=False)), share)
        for length, share in _LEVELS[source.version]
    )


def _translated(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address in the last 32 bits of an address of NAT64, unless a prefix left them empty.

    Source: RFC 6052 2.1, 2.2; RFC 8215.
    """
    if not any(address in network for network in _NAT64) or not int(address) & 0xFFFFFF:
        return None
    return IPv4Address(int(address) & 0xFFFFFFFF)


@lru_cache(4096)
def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address. IPv4 mapped into IPv6 becomes IPv4; a zone is dropped."""
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
def is_within(text: str, networks: Networks) -> bool:
    """Return whether an address is in one of these networks."""
    address = _parse(text)
    return address is not None and any(address in network for network in networks)


def _hops_from_the_right(scope: HTTPScope) -> Iterator[str]:
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    if values:
        yield from reversed(b",".join(values).decode("latin-1").split(","))


def _address_of_hop(hop: str) -> str | None:
    """Return the address of one hop; some load balancers append a port."""
    text = hop.strip()
    if len(text) > _MAX_HOP_LENGTH:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return _canonical(text)
