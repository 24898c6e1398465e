"""The login throttle under concurrent attempts, at several replicas and across restarts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from service.db.core.transaction import Transaction
from service.services import Services
from tests.flows.conftest import At
from tests.flows.throttling import (
    SETTINGS,
    WRONG,
    assert_throttled,
    bucket_counts,
    guess,
)
from tests.support.api import PASSWORD, Api, RunningService, running_with, serving

pytestmark = pytest.mark.usefixtures("_many_processes")

running = running_with(SETTINGS)


async def test_login_costs_three_statements_in_transactions(
    api: Api, service: Services, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one is a round trip: the attempt; the user; session, bucket, device and event."""
    await api.account("ada")
    statements = 0
    ran = {name: getattr(Transaction, name) for name in ("fetch_one", "fetch_all", "execute")}

    def counting(name: str) -> Callable[..., Awaitable[Any]]:
        async def run(self: Transaction, *args: Any, **params: Any) -> Any:
            nonlocal statements
            statements += 1
            return await ran[name](self, *args, **params)

        return run

    for name in ran:
        monkeypatch.setattr(Transaction, name, counting(name))
    for password, status in ((PASSWORD, 201), (WRONG, 401)):
        statements = 0
        assert (await at("2001:db8::1").log_in("ada", password)).status_code == status
        assert statements == 3


async def test_concurrent_logins_verify_no_more_guesses_than_sequential_ones(
    api: Api, service: Services, at: At
) -> None:
    """Source: CVE-2023-47111."""
    await api.account("ada")
    before = service.hasher.stats().done_total
    clients = [at(f"203.0.113.{number}") for number in range(30)]
    at_once = asyncio.Semaphore(50)

    async def guess_once(turn: int) -> int:
        async with at_once:
            return (await clients[turn % 30].log_in("ada", WRONG)).status_code

    statuses = await asyncio.gather(*(guess_once(turn) for turn in range(300)))
    verified = service.hasher.stats().done_total - before
    assert verified == statuses.count(401) == 5
    assert statuses.count(429) == 300 - verified
    assert await bucket_counts(service) == [(verified,)]


async def test_login_while_throttled_does_not_lock_the_bucket(api: Api, service: Services) -> None:
    await api.account("ada")
    assert await guess(api, count=6) == [401] * 5 + [429]
    async with service.engine.connect() as connection:
        await connection.execute(text("SELECT 1 FROM login_buckets FOR UPDATE"))
        assert await guess(api) == [429]


@pytest_asyncio.fixture
async def replica(shared_database: str, service: Services) -> AsyncIterator[RunningService]:
    """A second instance of the application on the same database."""
    async with serving(SETTINGS, shared_database) as second:
        yield second


async def test_failures_at_two_replicas_are_counted_together(api: Api, replica: RunningService) -> None:
    await api.account("ada")
    async with replica.client() as client:
        other = Api(client, replica.service)
        assert await guess(api, count=3) + await guess(other, count=2) == [401] * 5
        assert_throttled(await api.log_in("ada"))
        assert_throttled(await other.log_in("ada"))


async def test_failures_are_counted_across_a_restart(database: str) -> None:
    """Source: CVE-2026-35597: the count was rolled back with the failed login."""
    for expected in ([401] * 3, [401, 401, 429]):
        async with serving(SETTINGS, database) as running, running.client() as client:
            assert await guess(Api(client, running.service), "nobody", count=3) == expected
