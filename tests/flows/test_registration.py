"""Open registration: it needs a password, and each network has a number of them an hour."""

import asyncio

import httpx
import pytest

from service.domain.keys import Scope
from service.services import Services
from settings.passwords import PasswordSettings
from tests.flows.conftest import At
from tests.flows.throttling import age
from tests.support.api import OTHER_PASSWORD, Api, RunningService, error_of, faults_of, running_with, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

pytestmark = pytest.mark.usefixtures("_many_processes")

running = running_with(settings_for_tests(registration="open"))


async def register(api: Api, login_id: str, **more: str) -> httpx.Response:
    return await api.post(
        "/v1/users", {"login_id": login_id, "name": "N", "password": OTHER_PASSWORD, **more}
    )


async def statuses(api: Api, *login_ids: str) -> list[int]:
    return [(await register(api, login_id)).status_code for login_id in login_ids]


async def test_register_without_a_password_gets_422_and_is_not_counted(api: Api, service: Services) -> None:
    answer = await api.post("/v1/users", {"login_id": "eve", "name": "E"})
    assert faults_of(answer) == [("/password", "missing_field")]
    admin, key = await api.admin(), await api.key(Scope.USERS_WRITE)
    for token in (admin.token, key):
        made = await api.by(token).post("/v1/users", {"login_id": f"of-{token[:3]}", "name": "E"})
        assert made.status_code == 201
    assert await fetch_values(service.engine, "SELECT count(*) FROM network_buckets") == [(0,)]


async def test_register_twenty_times_in_an_hour_gets_429_before_the_login_id_is_looked_for(
    api: Api, service: Services, at: At
) -> None:
    """Source: OWASP ASVS 5.0 2.4.1; an unlimited 409 tells which login ids are taken."""
    await api.account("ada")
    assert await statuses(at("192.0.2.1"), *(f"name-{n}" for n in range(19)), "ada") == [201] * 19 + [409]
    before = service.hasher.stats().done_total
    refused = await register(at("192.0.2.1"), "ada")
    assert error_of(refused) == (429, "registration_throttled")
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    assert await statuses(at("192.0.2.1"), "free") == [429]
    assert service.hasher.stats().done_total == before
    assert await statuses(at("192.0.2.2"), "free") == [201]
    there, root, bo = at("192.0.2.1"), await api.admin(), await api.account("bo")
    assert (await register(there.by(bo), "another")).status_code == 429, "a token without authority"
    assert (await register(there.by(root), "made")).status_code == 201
    await age(service, "1 hour")
    assert await statuses(at("192.0.2.1"), "later") == [201]


@pytest.mark.parametrize(
    ("around", "limit", "inside"),
    [("2001:db8:1:200::/56", 80, "2001:db8:1:2{:x}::1"), ("203.0.113.0/24", 320, "203.0.113.{}")],
)
async def test_register_from_many_networks_stops_at_the_limit_of_the_one_around(
    service: Services, at: At, around: str, limit: int, inside: str
) -> None:
    assert await statuses(at(inside.format(16)), "first") == [201]
    await execute(
        service.engine,
        "UPDATE network_buckets SET hour_failures = :count WHERE network = :around",
        count=limit - 1,
        around=f"registration {around}",
    )
    assert await statuses(at(inside.format(17)), "second", "third") == [201, 429]
    assert await fetch_values(
        service.engine, "SELECT hour_failures FROM network_buckets WHERE network LIKE :of", of="%17/32"
    ) in ([], [(1,)]), "what is refused is not counted"


async def test_register_concurrently_stops_at_the_limit(api: Api, service: Services) -> None:
    await register(api, "first")
    await execute(service.engine, "UPDATE network_buckets SET hour_failures = 15")
    answers = await asyncio.gather(*(register(api, f"name-{turn}") for turn in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 15
    assert await fetch_values(service.engine, "SELECT count(*) FROM users") == [(6,)]


async def test_register_at_two_replicas_is_counted_together(
    api: Api, service: Services, running: RunningService, shared_database: str
) -> None:
    settings = settings_for_tests(registration="open")
    async with serving(settings, shared_database) as second, second.client() as client:
        await register(api, "first")
        await execute(service.engine, "UPDATE network_buckets SET hour_failures = 19")
        other = Api(client, second.service)
        assert await statuses(other, "second", "third") == [201, 429]
        assert await statuses(api, "fourth") == [429]


async def test_failed_logins_and_registrations_are_counted_apart(api: Api, service: Services) -> None:
    for turn in range(20):
        assert (await api.log_in(f"nobody-{turn}")).status_code == 401
    assert (await api.log_in("nobody")).status_code == 429
    assert await statuses(api, "ada") == [201]


async def test_register_without_a_hashing_permit_gets_503_and_is_not_counted(database: str) -> None:
    passwords = PasswordSettings(memory_kib=8, iterations=1, workers=1, max_queue=0)
    settings = settings_for_tests(registration="open", passwords=passwords)
    async with serving(settings, database) as running, running.client() as client:
        api = Api(client, running.service)
        acquire = running.service.hasher.acquire
        async with acquire("192.0.2.1"), acquire("192.0.2.1"), acquire("192.0.2.1"):  # all there are
            assert error_of(await register(api, "ada")) == (503, "hashing_busy")
        counted = await fetch_values(running.service.engine, "SELECT count(*) FROM network_buckets")
        assert counted == [(0,)]
        assert await statuses(api, "ada") == [201]
