"""A client's address comes from where it cannot be forged."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from service.api.http.client_address import (
    UNKNOWN,
    rate_limit_networks,
    rate_limit_prefix,
    resolve_client_ip,
)

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.1")))


def scope_of(peer: str | None, *forwarded: str) -> Any:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"client": None if peer is None else (peer, 1234), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("fe80::1%eth0", "fe80::1"),
        (None, None),
        ("", None),
        ("testclient", None),
    ],
)
def test_client_of_a_connection_gives_the_canonical_peer(peer: str | None, client: str | None) -> None:
    assert resolve_client_ip(scope_of(peer)) == client
    assert resolve_client_ip(scope_of(peer, "203.0.113.9")) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([], "10.0.0.1"),
        (["203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8::9]:4711"], "2001:db8::9"),
        (["2001:db8::9"], "2001:db8::9"),
        (["::FFFF:203.0.113.9"], "203.0.113.9"),
        (["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        (["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.2.3.4 , 192.0.2.1"], "203.0.113.9"),
        (["203.0.113.9", "10.2.3.4"], "203.0.113.9"),
        (["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        (["203.0.113.9, a"], "10.0.0.1"),
        (["a, 203.0.113.9"], "203.0.113.9"),
        (["a"], "10.0.0.1"),
        ([""], "10.0.0.1"),
        (["203.0.113.9,"], "10.0.0.1"),
        (["a, 10.2.3.4"], "10.0.0.1"),
        (["0x7f000001"], "10.0.0.1"),
        (["2130706433"], "10.0.0.1"),
        (["\xb2\xb3"], "10.0.0.1"),
        (["1" * 10_000], "10.0.0.1"),
    ],
)
def test_client_of_a_trusted_proxy_gives_the_rightmost_stranger(forwarded: list[str], client: str) -> None:
    assert resolve_client_ip(scope_of("10.0.0.1", *forwarded), PROXIES) == client


def test_client_of_a_stranger_ignores_what_it_claims() -> None:
    assert resolve_client_ip(scope_of("198.51.100.7", "203.0.113.9"), PROXIES) == "198.51.100.7"


def test_client_of_a_mapped_proxy_trusts_it() -> None:
    assert resolve_client_ip(scope_of("::ffff:10.0.0.1", "203.0.113.9"), PROXIES) == "203.0.113.9"


def test_client_behind_a_socket_file_is_believed_only_with_proxies() -> None:
    assert resolve_client_ip(scope_of(None, "203.0.113.9"), PROXIES) == "203.0.113.9"
    assert resolve_client_ip(scope_of(None, "203.0.113.9")) is None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.7", "198.51.100.7/32"),
        ("::ffff:198.51.100.7", "198.51.100.7/32"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::1", "2001:db8:1:2::/64"),
        (None, UNKNOWN),
        ("nobody", UNKNOWN),
    ],
)
def test_network_of_an_address_gives_what_throttles_count_by(address: str | None, network: str) -> None:
    assert rate_limit_prefix(address) == network


@pytest.mark.parametrize(
    ("address", "networks"),
    [
        (
            "2001:db8:1:2ff::1",
            [("2001:db8:1:2ff::/64", 1), ("2001:db8:1:200::/56", 4), ("2001:db8:1::/48", 16)],
        ),
        ("198.51.100.7", [("198.51.100.7/32", 1), ("198.51.100.0/24", 16)]),
        ("::ffff:198.51.100.7", [("198.51.100.7/32", 1), ("198.51.100.0/24", 16)]),
        (None, [(UNKNOWN, 1)]),
    ],
)
def test_networks_of_an_address_are_on_up_to_three_levels(
    address: str | None, networks: list[tuple[str, int]]
) -> None:
    assert list(rate_limit_networks(address)) == networks


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("64:ff9b::198.51.100.7", "198.51.100.7/32"),
        ("64:ff9b::c633:6407", "198.51.100.7/32"),
        ("64:ff9b:1::198.51.100.7", "198.51.100.7/32"),
        ("64:ff9b:1:fffe::198.51.100.7", "198.51.100.7/32"),
        ("64:ff9b:1:c633:7:6400::", "64:ff9b:1:c633::/64"),  # a prefix of 48 bits, RFC 6052 2.2
        ("64:ff9b:2::198.51.100.7", "64:ff9b:2::/64"),
        ("64:ff9b:0:1::198.51.100.7", "64:ff9b:0:1::/64"),
    ],
)
def test_network_of_an_address_of_nat64_is_that_of_the_ipv4_address(address: str, network: str) -> None:
    """Source: RFC 6052 2.1; RFC 8215: all IPv4 clients were one network."""
    assert rate_limit_prefix(address) == network
    assert resolve_client_ip(scope_of(address)) == str(ip_address(address))
