"""The login throttle by network. Rows are aged instead of waiting."""

import asyncio
from collections.abc import Iterable
from ipaddress import ip_network

import pytest

from service.security.hashing.hasher import HashingPermit
from service.services import Services
from settings.http import HttpSettings
from tests.flows.conftest import At
from tests.flows.throttling import (
    ABROAD,
    HOME,
    SETTINGS,
    WRONG,
    age,
    assert_throttled,
    guess,
)
from tests.support.api import OTHER_PASSWORD, PASSWORD, Api, running_with, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

pytestmark = pytest.mark.usefixtures("_many_processes")

running = running_with(SETTINGS)


async def test_concurrent_logins_to_many_users_stop_at_the_network_limit(api: Api, service: Services) -> None:
    await api.account("ada")
    at_once = asyncio.Semaphore(40)

    async def guess_once(turn: int) -> int:
        async with at_once:
            return (await api.log_in(f"name-{turn}", WRONG)).status_code

    statuses = await asyncio.gather(*(guess_once(turn) for turn in range(60)))
    assert statuses.count(401) == 20
    assert statuses.count(429) == 40
    assert_throttled(await api.log_in("ada"))


async def test_login_at_network_limit_does_not_reveal_a_right_password(
    api: Api, service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others reach the limit during the verification."""
    await api.account("ada")
    verify = HashingPermit.verify

    async def verify_while_others_guess(permit: HashingPermit, *values: str | None) -> bool:
        is_right = await verify(permit, *values)
        await execute(
            service.engine,
            "INSERT INTO network_buckets (network, minute_failures, hour_failures)"
            " VALUES ('127.0.0.1/32', 20, 20)",
        )
        return is_right

    monkeypatch.setattr(HashingPermit, "verify", verify_while_others_guess)
    assert_throttled(await api.log_in("ada"))
    assert await fetch_values(service.engine, "SELECT count(*) FROM sessions") == [(1,)]


@pytest.mark.parametrize("ips", [["203.0.113.66"] * 21, [f"2001:db8:0:1::{n:x}" for n in range(1, 22)]])
async def test_login_after_twenty_network_failures_in_a_minute_has_to_wait(
    api: Api, service: Services, at: At, ips: list[str]
) -> None:
    await api.account("ada")
    for turn, ip in enumerate(ips[:20]):
        assert await guess(at(ip), f"name-{turn}") == [401]
    assert 1 <= assert_throttled(await at(ips[20]).log_in("ada")) <= 60
    assert (await at("2001:db8:0:2::1").log_in("ada")).status_code == 201
    await age(service, "1 minute")
    assert (await at(ips[20]).log_in("ada")).status_code == 201


async def test_login_after_two_hundred_network_failures_in_an_hour_has_to_wait(
    api: Api, service: Services
) -> None:
    await guess(api, "nobody")
    await execute(service.engine, "UPDATE network_buckets SET hour_failures = 200")
    assert 3500 < assert_throttled(await api.log_in("somebody", WRONG)) <= 3600
    await age(service, "1 hour")
    assert await guess(api, "somebody") == [401]


@pytest.mark.parametrize(
    ("around", "limit", "inside", "outside"),
    [
        ("2001:db8:1:200::/56", 80, "2001:db8:1:2{:x}::1", "2001:db8:1:300::1"),
        ("2001:db8:1::/48", 320, "2001:db8:1:{:x}00::1", "2001:db8:2::1"),
        ("203.0.113.0/24", 320, "203.0.113.{}", "203.0.114.1"),
    ],
)
async def test_login_after_too_many_failures_of_the_networks_around_has_to_wait(
    api: Api, service: Services, at: At, around: str, limit: int, inside: str, outside: str
) -> None:
    """A provider hands out a /56 or a /48: 256 or 65 536 networks, each with limits of its own."""
    assert await guess(at(inside.format(16)), "first") == [401]
    for column, most, least_s, most_s in (("minute", limit, 0, 60), ("hour", 10 * limit, 3500, 3600)):
        await execute(
            service.engine,
            f"UPDATE network_buckets SET {column}_failures = :count WHERE network = :around",
            count=most - 1,
            around=around,
        )
        assert await guess(at(inside.format(17)), f"last-{column}") == [401]
        assert least_s < assert_throttled(await at(inside.format(18)).log_in("ada", WRONG)) <= most_s
        assert await guess(at(outside), f"elsewhere-{column}") == [401]
        await age(service, "1 minute")


async def test_concurrent_logins_from_many_networks_stop_at_the_limit_of_the_one_around(
    api: Api, service: Services, at: At
) -> None:
    await guess(at("2001:db8:1::1"), "first")
    await execute(
        service.engine, "UPDATE network_buckets SET minute_failures = 316 WHERE network LIKE '%/48'"
    )
    clients = [at(f"2001:db8:1:{number:x}00::1") for number in range(1, 31)]
    answers = await asyncio.gather(*(guess(client, f"n-{turn}") for turn, client in enumerate(clients)))
    assert sorted(status for (status,) in answers) == [401] * 4 + [429] * 26


async def test_failures_from_the_same_network_do_not_lock_out_a_known_device(
    api: Api, service: Services, at: At
) -> None:
    await api.account("ada")
    known = (await at(HOME).log_in("ada")).json()
    for turn in range(20):
        await guess(at(HOME), f"name-{turn}")
    assert_throttled(await at(HOME).log_in("ada"))
    assert (await at(HOME).log_in("ada", device_token=known["device_token"])).status_code == 201
    change = {"current_password": PASSWORD, "new_password": OTHER_PASSWORD}
    changed = await at(HOME).by(known["token"]).put("/v1/users/me/password", change)
    assert changed.status_code == 204


async def guess_forwarded(api: Api, addresses: Iterable[str]) -> list[int]:
    return [
        (await api.post("/v1/sessions", body, headers={"X-Forwarded-For": address.encode()})).status_code
        for turn, address in enumerate(addresses)
        for body in ({"login_id": f"name-{turn}", "password": WRONG},)
    ]


async def test_forwarded_address_from_untrusted_peer_is_ignored(api: Api) -> None:
    """Source: CVE-2025-59152."""
    statuses = await guess_forwarded(api, (f"10.0.0.{turn}" for turn in range(22)))
    assert statuses == [401] * 20 + [429] * 2


async def test_forwarded_address_from_trusted_proxy_counts_the_last_untrusted_hop(
    database: str,
) -> None:
    settings = settings_for_tests(http=HttpSettings(trusted_proxies=(ip_network("127.0.0.1/32"),)))
    async with serving(settings, database) as running, running.client() as client:
        api = Api(client, running.service)
        made_up = await guess_forwarded(api, (f"10.0.0.{turn}, {ABROAD}" for turn in range(21)))
        assert made_up == [401] * 20 + [429]
        assert await guess_forwarded(api, [HOME]) == [401]
        garbage = await guess_forwarded(api, ["a", "unknown", "1.2.3", "::g", "\u00e9"] * 5)
        assert garbage == [401] * 20 + [429] * 5
