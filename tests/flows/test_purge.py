"""What has expired is deleted."""

import asyncio

import pytest

from service.domain.errors import SchemaBehind
from service.jobs.schedule import background_work
from service.services import Services
from service.usecases.cleanup import purge_expired
from settings.retention import RetentionSettings
from tests.flows.sessions import age_last_use
from tests.support.api import Api, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests


async def test_purge_expired_deletes_what_has_expired_and_nothing_else(database: str) -> None:
    settings = settings_for_tests(retention=RetentionSettings(purge_batch=2))
    async with serving(settings, database) as running, running.client() as client:
        api, service = Api(client, running.service), running.service
        kept = await api.account("kept")
        for turn in range(5):
            ended = await api.account(f"ended-{turn}")
            await age_last_use(service, ended.session_id, "8 days")
        await execute(
            service.engine,
            "INSERT INTO reset_tokens (user_id, token_digest, expires_at) VALUES (:id, 'x', now())",
            id=kept.id,
        )
        await execute(
            service.engine,
            "INSERT INTO events (id, actor_kind, action, at) VALUES"
            " (gen_random_uuid(), 'operator', 'user.created', now() - interval '366 days'),"
            " (gen_random_uuid(), 'operator', 'user.created', now() - interval '364 days')",
        )
        await execute(
            service.engine,
            "INSERT INTO login_buckets (digest, user_id, updated_at) VALUES"
            " ('unknown, long ago', NULL, now() - interval '31 days'),"
            " ('unknown', NULL, now() - interval '29 days'), ('known', :id, now() - interval '29 days'),"
            " ('known, long ago', :id, now() - interval '31 days')",
            id=kept.id,
        )
        await execute(
            service.engine,
            "INSERT INTO network_buckets (network, hour_started_at) VALUES"
            " ('192.0.2.1/32', now() - interval '25 hours'), ('192.0.2.2/32', now() - interval '23 hours')",
        )
        assert await purge_expired(service.background_database, service.policies.retention) == 10
        remembered = await fetch_values(service.engine, "SELECT encode(digest, 'escape') FROM login_buckets")
        assert sorted(remembered) == [("known",), ("unknown",)]
        assert await fetch_values(service.engine, "SELECT user_id FROM sessions") == [(kept.id,)]
        assert await purge_expired(service.background_database, service.policies.retention) == 0


async def test_purge_expired_after_one_purge_fails_does_the_others(database: str) -> None:
    async with Services(settings_for_tests(), database).closing() as service:
        await execute(service.engine, "ALTER TABLE sessions RENAME TO gone")
        await execute(
            service.engine,
            "INSERT INTO network_buckets (network, hour_started_at) VALUES ('192.0.2.1/32', '2026-01-01Z')",
        )
        with pytest.raises(SchemaBehind):
            await purge_expired(service.background_database, service.policies.retention)
        assert await fetch_values(service.engine, "SELECT network FROM network_buckets") == []
        await execute(service.engine, "ALTER TABLE login_codes RENAME TO gone_too")
        with pytest.raises(ExceptionGroup) as failed:
            await purge_expired(service.background_database, service.policies.retention)
        assert [type(error) for error in failed.value.exceptions] == [SchemaBehind] * 2


async def test_background_work_purges_expired_sessions_periodically(api: Api, service: Services) -> None:
    await api.account("ada")
    await execute(service.engine, "UPDATE sessions SET expires_at = now() - interval '1 day'")
    async with background_work(service, lambda: None, jitter=lambda: 1e-4), asyncio.timeout(30):
        while await fetch_values(service.engine, "SELECT id FROM sessions"):  # noqa: ASYNC110 - polls the database
            await asyncio.sleep(0.01)
