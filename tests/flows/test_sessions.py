"""Session expiry and limits. Rows are aged, because the database's clock decides."""

import asyncio
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import select

from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.sessions import SessionRepository
from service.domain.users import UserRole
from service.services import Services
from service.usecases.last_used import LastUsedTracker
from tests.flows.sessions import age_last_use, age_session, status
from tests.support.api import Account, Api
from tests.support.databases import execute, fetch_values


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


async def test_flush_of_many_uses_writes_them_in_short_transactions(api: Api, service: Services) -> None:
    ada, tracker = await api.account("ada"), LastUsedTracker(service.policies.sessions)
    await add_sessions(service, ada, 1001)
    await execute(
        service.engine,
        "UPDATE sessions SET created_at = created_at - interval '1 min',"
        " last_used_at = last_used_at - interval '1 min'",
    )
    digests = (sha256(str(number).encode()).digest() for number in range(1, 1002))
    for found in await asyncio.gather(*map(service.reads.sessions.find_live, digests)):
        assert found is not None
        tracker.record_session(found)
    await tracker.flush(service.database)
    used = "SELECT count(*), count(DISTINCT xmin::text) FROM sessions WHERE id::text LIKE 'ffffffff%'"
    assert await fetch_values(service.engine, used) == [(1001, 2)]


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
