"""Session expiry and revocation. Rows are aged, because the database's clock decides."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import select

from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.sessions import SessionRepository
from service.domain.keys import Scope
from service.domain.users import UserRole
from service.jobs.schedule import background_work
from service.services import Services
from service.usecases.cleanup import purge_expired
from settings import Settings
from settings.retention import RetentionSettings
from tests.support.api import OTHER_PASSWORD, PASSWORD, Account, Api, RunningService, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

_AGE = " - CAST(CAST(:span AS text) AS interval)"


async def age_last_use(service: Services, session_id: UUID, span: str) -> None:
    """Make the last use of a session older."""
    await execute(
        service.engine,
        f"UPDATE sessions SET last_used_at = last_used_at {_AGE}, idle_expires_at = idle_expires_at {_AGE}"
        " WHERE id = :id",
        span=span,
        id=session_id,
    )


async def age_session(service: Services, session_id: UUID, span: str) -> None:
    """Make a session older, but not its last use."""
    await execute(
        service.engine,
        f"UPDATE sessions SET created_at = created_at {_AGE}, expires_at = expires_at {_AGE} WHERE id = :id",
        span=span,
        id=session_id,
    )


async def status(api: Api, account: Account | str) -> int:
    return (await api.by(account).get("/v1/users/me")).status_code


@pytest.mark.parametrize(
    ("role", "within", "beyond"),
    [(UserRole.USER, "6 days 23:59", "7 days"), (UserRole.ADMIN, "29 minutes", "30 minutes")],
)
async def test_session_unused_beyond_idle_ttl_is_rejected(
    api: Api, service: Services, role: UserRole, within: str, beyond: str
) -> None:
    fresh, stale = await api.account("fresh", role=role), await api.account("stale", role=role)
    await age_last_use(service, fresh.session_id, within)
    await age_last_use(service, stale.session_id, beyond)
    assert (await status(api, fresh), await status(api, stale)) == (200, 401)


@pytest.mark.parametrize(
    ("role", "within", "beyond"),
    [(UserRole.USER, "29 days 23:59", "30 days"), (UserRole.ADMIN, "11:59", "12:00")],
)
async def test_session_in_use_beyond_absolute_ttl_is_rejected(
    api: Api, service: Services, role: UserRole, within: str, beyond: str
) -> None:
    young, old = await api.account("young", role=role), await api.account("old", role=role)
    await age_session(service, young.session_id, within)
    await age_session(service, old.session_id, beyond)
    assert (await status(api, young), await status(api, old)) == (200, 401)


async def test_use_of_session_extends_idle_expiry_only(api: Api, service: Services) -> None:
    ada = await api.account("ada")
    await age_last_use(service, ada.session_id, "6 days")
    await age_session(service, ada.session_id, "29 days")
    assert await status(api, ada) == 200
    await service.last_used.flush(service.database)
    ((idle_days, days),) = await fetch_values(
        service.engine,
        "SELECT round(extract(epoch FROM idle_expires_at - now()) / 86400)::int,"
        " round(extract(epoch FROM expires_at - now()) / 86400)::int FROM sessions",
    )
    assert (idle_days, days) == (7, 1)


@pytest.mark.parametrize(("span", "moves"), [("90 minutes", False), ("2 hours", True)])
async def test_touch_moves_idle_expiry_by_a_hundredth_of_the_ttl_or_not_at_all(
    api: Api, service: Services, span: str, moves: bool
) -> None:
    ada = await api.account("ada")
    await age_last_use(service, ada.session_id, span)
    ((ends_at,),) = await fetch_values(service.engine, "SELECT idle_expires_at FROM sessions")
    assert await status(api, ada) == 200
    await service.last_used.flush(service.database)
    changed = await fetch_values(
        service.engine, "SELECT last_used_at > now() - interval '1 min', idle_expires_at FROM sessions"
    )
    assert [(is_used, again_at != ends_at) for is_used, again_at in changed] == [(True, moves)]


async def test_touch_after_idle_ttl_was_shortened_applies_the_new_one(api: Api, service: Services) -> None:
    ada = await api.account("ada")
    await execute(service.engine, "UPDATE sessions SET last_used_at = last_used_at - interval '2 minutes'")
    await execute(service.engine, "UPDATE sessions SET idle_expires_at = idle_expires_at + interval '9 days'")
    assert await status(api, ada) == 200
    await service.last_used.flush(service.database)
    held = "SELECT idle_expires_at <= now() + interval '7 days' FROM sessions"
    assert await fetch_values(service.engine, held) == [(True,)]


async def test_touch_is_a_hot_update(api: Api, service: Services) -> None:
    """Every session in use is touched each minute, so the update must not change an index."""
    ada = await api.account("ada")
    await age_last_use(service, ada.session_id, "2 minutes")
    week, asked = timedelta(days=7), "SELECT pg_stat_get_xact_tuples_hot_updated('sessions'::regclass)"
    async with service.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        tx = Transaction(driver)
        await tx.execute(Statement(select(1)))  # begins, as the figure is one of the transaction
        before = await driver.fetchval(asked)
        await SessionRepository(tx).touch(
            [ada.session_id], interval=timedelta(0), user_idle_ttl=week, admin_idle_ttl=week
        )
        assert await driver.fetchval(asked) == before + 1
        await driver.execute("ROLLBACK")


async def test_touch_of_ended_session_does_not_revive_it(api: Api, service: Services) -> None:
    """Source: Keycloak CVE-2026-9802; better-auth #8708: what was revoked came back."""
    ada = await api.account("ada")
    await age_last_use(service, ada.session_id, "2 hours")
    assert await status(api, ada) == 200
    assert (await api.by(ada).delete("/v1/sessions/current")).status_code == 204
    await service.last_used.flush(service.database)
    assert await status(api, ada) == 401
    assert await fetch_values(service.engine, "SELECT count(*) FROM sessions") == [(0,)]


async def test_touch_of_expired_session_does_not_revive_it(api: Api, service: Services) -> None:
    ada = await api.account("ada")
    await age_last_use(service, ada.session_id, "2 hours")
    assert await status(api, ada) == 200
    await age_last_use(service, ada.session_id, "7 days")
    await service.last_used.flush(service.database)
    assert await status(api, ada) == 401


async def test_delete_own_user_needs_a_login_within_ten_minutes(api: Api, service: Services) -> None:
    ada = await api.account("ada")
    await age_session(service, ada.session_id, "10 minutes")
    refused = await api.by(ada).delete("/v1/users/me")
    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required")
    again = (await api.log_in("ada")).json()["token"]
    assert (await api.by(again).delete("/v1/users/me")).status_code == 204
    assert await status(api, ada) == 401


@pytest.mark.parametrize(("role", "other"), [(UserRole.USER, "admin"), (UserRole.ADMIN, "user")])
async def test_change_role_ends_the_sessions_of_the_user(api: Api, role: UserRole, other: str) -> None:
    """A token that was stolen before a promotion must not gain by it. Source: OWASP ASVS 5.0 7.2.4."""
    admin, ada = api.by(await api.admin()), await api.account("ada", role=role)
    second = (await api.log_in("ada")).json()["token"]
    assert (await admin.patch(f"/v1/users/{ada.id}", {"role": role.value})).status_code == 200
    assert (await status(api, ada), await status(api, second)) == (200, 200)
    assert (await admin.patch(f"/v1/users/{ada.id}", {"role": other})).status_code == 200
    assert (await status(api, ada), await status(api, second)) == (401, 401)


async def add_sessions(service: Services, ada: Account, count: int) -> None:
    """Insert sessions that were never used, as the newest."""
    await execute(
        service.engine,
        "INSERT INTO sessions (id, user_id, token_digest, expires_at, idle_expires_at)"
        " SELECT ('ffffffff-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, :user_id,"
        " sha256(n::text::bytea), now() + interval '1 day',"
        " now() + interval '1 day' FROM generate_series(1, CAST(:count AS int)) n",
        user_id=ada.id,
        count=count,
    )


async def test_login_beyond_two_hundred_sessions_ends_the_longest_unused(api: Api, service: Services) -> None:
    ada, others = await api.account("ada"), [await api.log_in("ada") for _ in range(2)]
    await age_session(service, ada.session_id, "1 day")
    await age_last_use(service, ada.session_id, "1 hour")
    await add_sessions(service, ada, 197)
    await execute(
        service.engine,
        "UPDATE sessions SET created_at = created_at - interval '1 minute' WHERE id != :id",
        id=ada.session_id,
    )
    first, second = (answer.json()["token"] for answer in others)
    assert (await api.log_in("ada")).status_code == 201
    assert [await status(api, token) for token in (ada, first, second)] == [401, 200, 200]
    assert await fetch_values(service.engine, "SELECT count(*) FROM sessions") == [(200,)]


async def test_login_beyond_two_hundred_sessions_ends_one_that_was_never_used_first(
    api: Api, service: Services
) -> None:
    """A script that logs in for each request does not end the sessions of people."""
    ada, unused = await api.account("ada"), (await api.log_in("ada")).json()
    await age_session(service, ada.session_id, "1 day")
    await age_last_use(service, ada.session_id, "1 hour")
    await add_sessions(service, ada, 198)
    assert (await api.log_in("ada")).status_code == 201
    assert (await status(api, ada), await status(api, unused["token"])) == (200, 401)
    for _ in range(5):
        assert (await api.log_in("ada")).status_code == 201
    assert await status(api, ada) == 200
    assert await fetch_values(service.engine, "SELECT count(*) FROM sessions") == [(200,)]


async def test_login_beyond_two_hundred_sessions_keeps_one_whose_use_is_not_written_yet(
    api: Api, service: Services
) -> None:
    ada, unused = await api.account("ada"), (await api.log_in("ada")).json()
    await age_session(service, ada.session_id, "3 seconds")
    await age_last_use(service, ada.session_id, "3 seconds")
    assert await status(api, ada) == 200
    await add_sessions(service, ada, 198)
    assert (await api.log_in("ada")).status_code == 201
    assert (await status(api, ada), await status(api, unused["token"])) == (200, 401)


@pytest.mark.parametrize(("age", "is_written"), [("1 second", False), ("3 seconds", True)])
async def test_first_use_of_a_session_is_written_two_seconds_after_the_login_or_later(
    api: Api, service: Services, age: str, is_written: bool
) -> None:
    ada = await api.account("ada")
    await age_session(service, ada.session_id, age)
    await age_last_use(service, ada.session_id, age)
    assert await status(api, ada) == 200
    await service.last_used.flush(service.database)
    used = await fetch_values(service.engine, "SELECT last_used_at > created_at FROM sessions")
    assert used == [(is_written,)]


async def test_end_session_of_another_user_gets_404_and_changes_nothing(api: Api) -> None:
    ada, mallory = await api.account("ada"), await api.account("mallory")
    foreign = await api.by(mallory).delete(f"/v1/sessions/{ada.session_id}")
    never = await api.by(mallory).delete("/v1/sessions/01890000-0000-7000-8000-000000000000")
    assert foreign.status_code == never.status_code == 404
    assert {**foreign.json(), "instance": ""} == {**never.json(), "instance": ""}
    assert await status(api, ada) == 200
    admin = api.by(await api.admin())
    assert (await admin.delete(f"/v1/sessions/{ada.session_id}")).status_code == 204
    assert await status(api, ada) == 401


async def test_end_sessions_with_keep_current_keeps_the_callers(api: Api) -> None:
    ada = await api.account("ada")
    others = [(await api.log_in("ada")).json()["token"] for _ in range(3)]
    assert len((await api.by(ada).get("/v1/users/me/sessions")).json()["items"]) == 4
    assert (await api.by(ada).delete("/v1/users/me/sessions?keep=current")).status_code == 204
    assert [await status(api, token) for token in (ada, *others)] == [200, 401, 401, 401]
    assert (await api.by(ada).delete("/v1/users/me/sessions")).status_code == 204
    assert await status(api, ada) == 401


async def test_list_sessions_contains_no_token(api: Api) -> None:
    await api.account("ada")
    token = (await api.log_in("ada")).json()["token"]
    listed = await api.by(token).get("/v1/users/me/sessions")
    assert token[4:] not in listed.text
    fields = {name for item in listed.json()["items"] for name in item}
    assert fields == {
        "id", "user_id", "created_at", "last_used_at", "expires_at", "idle_expires_at", "user_agent", "ip",
        "auth_time", "amr", "assurance", "current",
    }  # fmt: skip


@pytest_asyncio.fixture
async def replica(
    test_settings: Settings, shared_database: str, service: Services
) -> AsyncIterator[RunningService]:
    """A second instance of the application on the same database."""
    async with serving(test_settings, shared_database) as second:
        yield second


async def revoke(api: Api, ada: Account, way: str) -> int:
    """Revoke a session in one of several ways."""
    admin, path = api.by(await api.admin()), f"/v1/users/{ada.id}"
    ways = {
        "log out": lambda: api.by(ada).delete("/v1/sessions/current"),
        "end": lambda: admin.delete(f"/v1/sessions/{ada.session_id}"),
        "end all": lambda: admin.delete(f"{path}/sessions"),
        "disable": lambda: admin.patch(path, {"state": "disabled"}),
        "delete": lambda: admin.delete(path),
        "set password": lambda: admin.put(f"{path}/password", {"new_password": OTHER_PASSWORD}),
    }
    return (await ways[way]()).status_code


@pytest.mark.parametrize("way", ["log out", "end", "end all", "disable", "delete", "set password"])
async def test_revocation_takes_effect_at_the_next_request_to_another_replica(
    api: Api, replica: RunningService, test_settings: Settings, shared_database: str, way: str
) -> None:
    """Source: OWASP ASVS 5.0 7.4.1, 7.4.2; CVE-2023-22492, CVE-2024-46999."""
    ada = await api.account("ada")
    async with replica.client() as client:
        there = Api(client, replica.service)
        assert await status(there, ada) == 200
        assert await revoke(api, ada, way) in {200, 204}
        assert await status(there, ada) == 401
        key = await api.key(Scope.SESSIONS_INTROSPECT)
        answer = await there.by(key).post("/v1/introspect", {"token": ada.token})
        assert answer.json() == {"active": False}
    async with serving(test_settings, shared_database) as restarted, restarted.client() as client:
        assert await status(Api(client, restarted.service), ada) == 401


async def test_demotion_takes_effect_at_the_next_request_to_another_replica(
    api: Api, replica: RunningService
) -> None:
    admin, other = await api.admin(), await api.admin("other")
    async with replica.client() as client:
        there = Api(client, replica.service).by(other)
        assert (await there.get("/v1/users")).status_code == 200
        demoted = await api.by(admin).patch(f"/v1/users/{other.id}", {"role": "user"})
        assert demoted.status_code == 200
        assert (await there.get("/v1/users")).status_code == 401


async def test_enable_user_does_not_restore_its_sessions(api: Api) -> None:
    admin, ada = api.by(await api.admin()), await api.account("ada")
    for state in ("disabled", "active"):
        assert (await admin.patch(f"/v1/users/{ada.id}", {"state": state})).status_code == 200
    assert await status(api, ada) == 401
    assert (await api.log_in("ada")).status_code == 201


async def test_recreate_deleted_user_restores_nothing(api: Api) -> None:
    """Source: Zitadel CVE-2026-55670."""
    admin, old = api.by(await api.admin()), await api.account("ada")
    assert (await admin.delete(f"/v1/users/{old.id}")).status_code == 204
    new = await admin.post("/v1/users", {"login_id": "ada", "name": "A", "password": OTHER_PASSWORD})
    assert new.status_code == 201
    assert new.json()["id"] != str(old.id)
    assert await status(api, old) == 401
    assert (await admin.get(f"/v1/users/{old.id}")).status_code == 404
    assert (await api.log_in("ada", PASSWORD)).status_code == 401


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


async def test_background_work_purges_expired_sessions_periodically(api: Api, service: Services) -> None:
    await api.account("ada")
    await execute(service.engine, "UPDATE sessions SET expires_at = now() - interval '1 day'")
    async with background_work(service, lambda: None, jitter=lambda: 1e-4), asyncio.timeout(30):
        while await fetch_values(service.engine, "SELECT id FROM sessions"):  # noqa: ASYNC110 - polls the database
            await asyncio.sleep(0.01)
