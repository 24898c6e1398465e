"""Logins of one account at once: each right password succeeds, and each wrong one is counted."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from service.services import Services
from settings import Settings
from settings.passwords import PasswordSettings
from tests.faults.racing import ROUNDS, clear_throttle, concurrently
from tests.flows.throttling import SETTINGS as LONG_BACKOFF
from tests.support.api import OTHER_PASSWORD, Api, RunningService, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

pytestmark = pytest.mark.usefixtures("_many_processes")


@pytest_asyncio.fixture
async def replica(
    shared_database: str, test_settings: Settings, service: Services, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningService]:
    """A second instance of the application on the same database."""
    async with serving(test_settings, shared_database) as second:
        monkeypatch.setattr(second.service.hasher.limiter, "total_permits", 1000)
        yield second


@pytest.mark.parametrize("is_known", [True, False], ids=["known network", "unknown devices"])
async def test_log_in_concurrently_with_the_right_password_always_succeeds(
    api: Api, service: Services, running: RunningService, replica: RunningService, is_known: bool
) -> None:
    """More at once than failures are free, at two replicas."""
    await api.account("ada")
    if is_known:
        assert (await api.log_in("ada")).status_code == 201
    for number in range(max(ROUNDS // 10, 1)):
        ip = "127.0.0.1" if is_known else f"192.0.2.{number}"
        async with running.client(ip=ip) as one, replica.client(ip=ip) as other:
            apis = (Api(one, service), Api(other, replica.service))
            responses = await concurrently(*(apis[turn % 2].log_in("ada") for turn in range(16)))
        assert [response.status_code for response in responses] == [201] * 16
        assert await fetch_values(service.engine, "SELECT max(failures) FROM login_buckets") in (
            [(0,)],
            [(None,)],
        )


async def test_log_in_concurrently_with_wrong_passwords_beside_a_right_one_costs_each_of_them(
    service: Services, shared_database: str
) -> None:
    """Waiting gains nothing: at two replicas, no more guesses are verified than one after the other."""
    async with (
        serving(LONG_BACKOFF, shared_database) as first,
        serving(LONG_BACKOFF, shared_database) as second,
        first.client(ip="192.0.2.7") as one,
        second.client(ip="192.0.2.7") as other,
        first.client(ip="198.51.100.7") as owners,
    ):
        apis, owner = (Api(one, first.service), Api(other, second.service)), Api(owners, first.service)
        await owner.account("ada")
        for number in range(max(ROUNDS // 10, 1)):
            await clear_throttle(service)
            await execute(service.engine, "DELETE FROM devices")
            guesses = [apis[turn % 2].log_in("ada", OTHER_PASSWORD) for turn in range(30)]
            responses = await concurrently(*guesses[:number], owner.log_in("ada"), *guesses[number:])
            statuses = [response.status_code for response in responses]
            assert statuses.count(401) == 5
            assert statuses.count(201) <= 1
            assert set(statuses) <= {201, 401, 429}
            assert await fetch_values(service.engine, "SELECT max(failures) FROM login_buckets") == [(5,)]


async def test_log_in_concurrently_with_the_last_free_failure_waits_for_the_others(
    api: Api, service: Services
) -> None:
    """Four failures and five logins at once: each has to wait for the one before."""
    await api.account("ada")
    for _ in range(max(ROUNDS // 10, 1)):
        await clear_throttle(service)
        assert [(await api.log_in("ada", OTHER_PASSWORD)).status_code for _ in range(4)] == [401] * 4
        responses = await concurrently(*(api.log_in("ada") for _ in range(5)))
        assert [response.status_code for response in responses] == [201] * 5
        await execute(service.engine, "DELETE FROM devices")


async def test_log_in_while_others_wait_for_attempts_in_progress_succeeds(
    api: Api, service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait without a permit, or logins of one account would keep all others out."""
    await api.account("ada")
    await api.account("bo")
    assert [(await api.log_in("ada", OTHER_PASSWORD)).status_code for _ in range(5)] == [401] * 5
    in_progress = "UPDATE login_buckets SET attempts = :count, updated_at = now() + interval '1 minute'"
    await execute(service.engine, in_progress, count=1)
    await execute(service.engine, "UPDATE login_buckets SET blocked_until = now() + interval '1 hour'")
    monkeypatch.setattr(service.hasher.limiter, "total_permits", 1)
    waiting = [asyncio.create_task(api.log_in("ada")) for _ in range(3)]
    for _ in range(3):
        assert (await api.log_in("bo")).status_code == 201
    assert not any(task.done() for task in waiting)
    await execute(service.engine, in_progress, count=0)
    assert [(await task).json()["code"] for task in waiting] == ["login_throttled"] * 3


async def test_log_in_while_attempts_do_not_end_gets_503_and_is_not_counted(
    service: Services, shared_database: str
) -> None:
    passwords = PasswordSettings(
        memory_kib=8, iterations=1, workers=2, queue_timeout=timedelta(milliseconds=300)
    )
    settings = settings_for_tests(passwords=passwords)
    async with serving(settings, shared_database) as impatient, impatient.client() as client:
        api = Api(client, impatient.service)
        await api.account("ada")
        assert [(await api.log_in("ada", OTHER_PASSWORD)).status_code for _ in range(5)] == [401] * 5
        await execute(service.engine, "UPDATE login_buckets SET blocked_until = now() + interval '1 hour'")
        await execute(
            service.engine,
            "UPDATE login_buckets SET attempts = 1, updated_at = now() + interval '1 minute'",
        )
        waited = await api.log_in("ada")
        assert (waited.status_code, waited.json()["code"]) == (503, "hashing_busy")
        assert await fetch_values(service.engine, "SELECT failures FROM login_buckets") == [(5,)]
        await execute(service.engine, "UPDATE login_buckets SET updated_at = now() - interval '11 seconds'")
        assert (await api.log_in("ada")).json()["code"] == "login_throttled", "its process has died"
