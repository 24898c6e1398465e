"""The connections of one network, and of all, are limited."""

import resource
from ipaddress import ip_network

import pytest

from service.server.connections import ConnectionLimiter, raise_open_files_limit
from service.server.slow_clients import SlowClientGuard
from tests.support.echo_server import LAST, connected, exchange, serving_echo, statuses


async def test_connect_beyond_the_limit_of_a_network_gets_503() -> None:
    async with serving_echo(per_network=2) as server, connected(server, 1):
        async with connected(server, 1):
            refused = await exchange(server, LAST)
        await server.until(lambda: len(server.protocols) == 1)
        served = await exchange(server, LAST)

    assert (statuses(refused), statuses(served)) == ([503], [200])
    assert b'"code":"too_many_connections"' in refused
    assert (server.records[0].status, server.records[0].network) == (503, "127.0.0.1/32")


async def test_connect_beyond_the_limit_and_send_nothing_is_closed_at_once() -> None:
    async with serving_echo(total=1) as server, connected(server, 1):
        (within,) = server.protocols
        async with connected(server, 1):
            SlowClientGuard(server.state.connections).close_slow(0)
            await server.until(lambda: server.protocols == [within])


async def test_connect_from_a_trusted_proxy_is_not_limited_by_network() -> None:
    proxies = (ip_network("127.0.0.1"),)
    async with serving_echo(per_network=1, trusted_proxies=proxies) as server, connected(server, 3):
        assert statuses(await exchange(server, LAST)) == [200]


def test_limit_connections_leaves_files_for_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _which: (138, 4096))
    limiter = ConnectionLimiter(total=1000, per_network=1000)

    assert [limiter.add(("192.0.2.1", 1)) for _ in range(11)] == [True] * 10 + [False]
    limiter.remove(("192.0.2.1", 1))
    limiter.remove(("192.0.2.1", 1))
    assert limiter.add(None)


@pytest.mark.parametrize(
    ("limits", "raised"),
    [
        ((1024, 524288), [(4224, 524288)]),
        ((1024, 2048), [(2048, 2048)]),
        ((1024, resource.RLIM_INFINITY), [(4224, resource.RLIM_INFINITY)]),
        ((8192, 524288), []),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), []),
    ],
)
def test_raise_open_files_limit_makes_room_for_the_connections_within_the_hard_limit(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: list[tuple[int, int]]
) -> None:
    made: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda _which: limits)
    monkeypatch.setattr("resource.setrlimit", lambda _which, new: made.append(new))
    raise_open_files_limit(4096)
    assert made == raised
