"""Limit the open connections of one client network and of the process."""

import resource
from collections import Counter
from contextlib import suppress
from typing import Final

from service.api.http.client_address import Networks, is_within, rate_limit_prefix

RESERVED_FILES: Final = 128
"""File descriptors kept for the database, logs and modules."""


class ConnectionLimiter:
    """Count open connections by client network, and say which are too many.

    A trusted proxy relays many clients, and a peer without an address uses a Unix socket: neither counts as
    a network. Source: OWASP ASVS 5.0 15.2.2.
    """

    def __init__(self, *, total: int, per_network: int, proxies: Networks = ()) -> None:
        self._total = min(total, _open_files_limit() - RESERVED_FILES)
        self._per_network = per_network
        self._proxies = proxies
        self._open = 0
        self._by_network: Counter[str] = Counter()

    def add(self, peer: tuple[str, int] | None) -> bool:
        """Count a new connection; return whether it is within the limits."""
        self._open += 1
        is_within = self._open <= self._total
        if (network := self._network_of(peer)) is not None:
            self._by_network[network] += 1
            is_within = is_within and self._by_network[network] <= self._per_network
        return is_within

    def remove(self, peer: tuple[str, int] | None) -> None:
        """Forget a connection that has ended."""
        self._open -= 1
        if (network := self._network_of(peer)) is not None:
            self._by_network[network] -= 1
            if self._by_network[network] <= 0:
                del self._by_network[network]

    def _network_of(self, peer: tuple[str, int] | None) -> str | None:
        if peer is None or is_within(peer[0], self._proxies):
            return None
        return rate_limit_prefix(peer[0])


def raise_open_files_limit(connections: int) -> None:
    """Raise the soft limit of open files as far as connections need it and the hard limit allows.

    Shells, systemd and containers start with a soft limit of 1024, for programs that use select().
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS allows less than its hard limit says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _open_files_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 20
