"""Several services on one database behave as one."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import httpx
import pytest_asyncio

from service.usecases.cleanup import purge_expired
from settings import Settings
from tests.support.api import Api, serving
from tests.support.databases import empty_all_tables, execute, fetch_values


@dataclass(frozen=True)
class TwoServices:
    """Clients of two services that share nothing but the database."""

    first: Api
    second: Api

    def by(self, token: str) -> "TwoServices":
        return TwoServices(self.first.by(token), self.second.by(token))


@pytest_asyncio.fixture
async def two(test_settings: Settings, shared_database: str) -> AsyncIterator[TwoServices]:
    async with (
        serving(test_settings, shared_database) as one,
        serving(test_settings, shared_database) as other,
        one.client() as first,
        other.client() as second,
    ):
        await empty_all_tables(one.service.engine)
        yield TwoServices(Api(first, one.service), Api(second, other.service))


def statuses_of(responses: Iterable[httpx.Response]) -> list[int]:
    return [response.status_code for response in responses]


async def test_failed_logins_in_one_process_count_in_the_other(two: TwoServices) -> None:
    await two.first.account("ada")
    failures = [
        await api.log_in("ada", "a wrong password of length")
        for _ in range(3)
        for api in (two.first, two.second)
    ]
    assert statuses_of(failures) == [401] * 5 + [429]
    assert statuses_of([await two.first.log_in("ada"), await two.second.log_in("ada")]) == [429] * 2


async def test_log_out_in_one_process_ends_the_session_in_the_other(two: TwoServices) -> None:
    ada = two.by((await two.first.account("ada")).token)
    assert (
        statuses_of([await ada.first.get("/v1/users/me"), await ada.second.get("/v1/users/me")]) == [200] * 2
    )
    assert (await ada.first.delete("/v1/sessions/current")).status_code == 204
    assert (await ada.second.get("/v1/users/me")).status_code == 401


async def test_disable_in_one_process_rejects_the_user_in_the_other(two: TwoServices) -> None:
    ada = await two.first.account("ada")
    root = two.by((await two.first.admin()).token)
    assert (await two.second.by(ada).get("/v1/users/me")).status_code == 200
    disabled = await root.first.patch(f"/v1/users/{ada.id}", {"state": "disabled"})
    assert disabled.status_code == 200
    assert (await two.second.by(ada).get("/v1/users/me")).status_code == 401


async def test_create_with_one_idempotency_key_in_two_processes_creates_once(two: TwoServices) -> None:
    root = two.by((await two.first.admin()).token)
    options = {"headers": {"Idempotency-Key": "one"}}
    body = {"login_id": "ada", "name": "Ada"}
    responses = await asyncio.gather(
        *(api.post("/v1/users", body, **options) for api in (root.first, root.second) * 4)
    )
    assert set(statuses_of(responses)) <= {201, 409}
    assert len({response.json()["id"] for response in responses if response.status_code == 201}) == 1
    engine = two.first.service.engine
    assert await fetch_values(engine, "SELECT count(*) FROM users WHERE login_id = 'ada'") == [(1,)]
    again = await root.second.post("/v1/users", body, **options)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")


async def test_purge_in_two_processes_removes_everything_once(two: TwoServices) -> None:
    for number in range(5):
        await two.first.account(f"user{number}")
    engine = two.first.service.engine
    await execute(
        engine, "UPDATE sessions SET idle_expires_at = now() WHERE user_id IN (SELECT id FROM users)"
    )
    services = (two.first.service, two.second.service)
    removed = await asyncio.gather(
        *(purge_expired(service.background_database, service.policies.retention) for service in services)
    )
    assert sum(removed) == 5
    assert await fetch_values(engine, "SELECT count(*) FROM sessions") == [(0,)]
