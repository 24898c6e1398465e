"""The role that serves has the rights that serving needs, and no others."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio
from alembic.command import upgrade
from alembic.config import Config
from click.testing import CliRunner

from service.cli.database import database as database_commands
from service.cli.doctor.database import check_database
from service.cli.doctor.findings import Level
from service.db.migrations.grants import LIMITED, grant_statements
from service.db.migrations.lock_retry import LockRetryPolicy
from service.db.migrations.running import grant_rights
from service.db.tables import Base
from service.usecases.cleanup import purge_expired
from settings import get_settings
from tests.api.test_access_tokens import issue, settings_with_tokens
from tests.flows.test_audit_trail import run_every_action
from tests.migrations.rows import connected, execute, fetch
from tests.support.api import Api, RunningService, serving
from tests.support.databases import Databases, fetch_values
from tests.support.mail import sent_mails
from tests.support.settings import settings_for_tests

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "docs/operations.md"
EVENT = (
    "INSERT INTO events (id, actor_kind, action, at) SELECT gen_random_uuid(), 'operator', 'user.created', {}"
)
REFUSED = (
    "UPDATE events SET action = 'user.deleted'",
    "DELETE FROM events",
    "TRUNCATE events",
    "DROP TABLE events",
    "ALTER TABLE events ADD COLUMN x int",
    "UPDATE alembic_version SET version_num = '0001_create_users'",
    "DELETE FROM alembic_version",
    "TRUNCATE users CASCADE",
    "CREATE TABLE mine (x int)",
    "SELECT purge_events('29 days', 1000)",
    "UPDATE throttle_keys SET key = ''",
    "DELETE FROM throttle_keys",
)


@dataclass(frozen=True)
class Role:
    """The role that serves, on a database that another one owns."""

    name: str
    dsn: str
    owner_dsn: str

    async def grant(self) -> None:
        await grant_rights(self.owner_dsn, self.name, LockRetryPolicy())


@asynccontextmanager
async def role_on(dsn: str) -> AsyncIterator[Role]:
    """Create a role that may only connect."""
    name = f"serving_{dsn.partition('?')[0].rpartition('/')[2]}"
    await execute(dsn, f"CREATE ROLE {name} LOGIN; GRANT USAGE ON SCHEMA public TO {name}")
    yield Role(name, re.sub("user=[a-z]+", f"user={name}", dsn), dsn)
    await execute(dsn, f"DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
async def role(database: str) -> AsyncIterator[Role]:
    async with role_on(database) as made:
        yield made


@pytest.fixture
async def granted(role: Role) -> Role:
    await role.grant()
    return role


@pytest_asyncio.fixture(scope="module")
async def trail(databases: Databases) -> AsyncIterator[Role]:
    """A role with the granted rights, on a database with an old event."""
    async with databases.migrated() as dsn, role_on(dsn) as made:
        await made.grant()
        await execute(dsn, EVENT.format("now() - interval '1 year'"))
        yield made


class Recorder:
    """Records which operations were called, and how the service answered."""

    def __init__(self, running: RunningService) -> None:
        self._operations = running.app.operations
        self.called: set[str] = set()
        self.statuses: set[int] = set()

    async def record(self, response: httpx.Response) -> None:
        request = response.request
        self.statuses.add(response.status_code)
        for operation in self._operations:
            pattern = re.sub(r"\{\w+\}", "[^/]+", operation.path)
            if operation.method == request.method and re.fullmatch(pattern, request.url.path):
                self.called.add(operation.id)


@asynccontextmanager
async def recorded(running: RunningService) -> AsyncIterator[tuple[Recorder, Api]]:
    recorder = Recorder(running)
    async with running.client() as client:
        client.event_hooks["response"].append(recorder.record)
        yield recorder, Api(client, running.service)


async def test_serve_with_the_granted_rights_returns_every_operation(granted: Role) -> None:
    async with serving(settings_with_tokens(), granted.dsn) as running, recorded(running) as (recorder, api):
        await run_every_action(api, lambda _: api, running.service)
        root = api.by((await api.log_in("root")).json()["token"])
        await root.post("/v1/users", {"login_id": "eve", "name": "E"}, headers={"Idempotency-Key": "a" * 22})
        await root.post("/v1/introspect", {"token": "rcs_unknown"})
        assert await issue(root)
        await root.post("/v1/revoke", {"token": "rcs_" + "A" * 43})
        await root.get("/v1/forward-auth")
        await root.get("/v1/keys/01890000-0000-7000-8000-000000000000")
        for path in ("/v1/users", "/v1/users/me", "/v1/keys", "/v1/events", "/v1/sessions/current"):
            assert (await root.get(path)).status_code == 200
        for path in ("/v1/recoveries", "/v1/login-codes"):
            assert (await root.post(path, {"login_id": "root"})).status_code == 202
        await root.post("/v1/users/me/email-verification")
        await root.post("/v1/email-verifications/redeem", {"token": "rcv_x"})
        await root.post("/v1/passkey-challenges")
        await root.get("/v1/users/me/passkeys")
        await root.post("/v1/sessions/current/step-up", {"totp": "000000"})
        await sent_mails(running.service)
        *_, session = (await root.get("/v1/users/me/sessions")).json()["items"]
        key = await root.post("/v1/keys", {"name": "k", "scopes": ["users:read"]})
        for path in (f"/v1/sessions/{session['id']}", key.headers["Location"]):
            assert (await root.get(path)).status_code == 200
        await root.delete(f"/v1/sessions/{session['id']}")
        assert recorder.called >= {
            operation.id for operation in running.app.operations if operation.path.startswith("/v1/")
        }
        assert max(recorder.statuses) < 500


@pytest.mark.parametrize("statement", REFUSED)
async def test_change_schema_or_trail_with_the_granted_rights_is_rejected(
    trail: Role, statement: str
) -> None:
    async with connected(trail.dsn) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    assert await fetch(trail.owner_dsn, "SELECT count(*) FROM events") == 1


@pytest.fixture
def configured(role: Role, monkeypatch: pytest.MonkeyPatch) -> Iterator[Role]:
    """The role, named by the settings of commands."""
    monkeypatch.setenv("DATABASE_URL", role.owner_dsn)
    monkeypatch.setenv("ROLLCALL_MIGRATIONS__SERVING_ROLE", role.name)
    get_settings.cache_clear()
    yield role
    get_settings.cache_clear()


@pytest.mark.parametrize("command", ["database migrate", "alembic upgrade"])
def test_migrate_with_a_serving_role_grants_its_rights(configured: Role, command: str) -> None:
    if command == "database migrate":
        assert CliRunner().invoke(database_commands, ["migrate"]).exit_code == 0
    else:
        upgrade(Config(ROOT / "alembic.ini"), "head")
    purged = asyncio.run(fetch(configured.dsn, "SELECT purge_events('30 days', 1) + count(*) FROM users"))
    assert purged == 0


async def test_grant_takes_rights_on_events_and_version_that_the_role_had(role: Role) -> None:
    await execute(role.owner_dsn, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role.name}")
    await role.grant()
    held = "SELECT has_table_privilege('{}', 'events', 'UPDATE, DELETE, TRUNCATE') OR"
    held += " has_table_privilege('{}', 'alembic_version', 'INSERT, UPDATE, DELETE')"
    assert await fetch(role.owner_dsn, held.format(role.name, role.name)) is False


@pytest.mark.parametrize("is_limited", [True, False], ids=["by the function", "as owner"])
async def test_purge_events_deletes_old_ones_alone(granted: Role, is_limited: bool) -> None:
    for age in ("366 days", "364 days"):
        await execute(granted.owner_dsn, EVENT.format(f"now() - interval '{age}'"))
    dsn = granted.dsn if is_limited else granted.owner_dsn
    async with serving(settings_for_tests(), dsn) as running:
        service = running.service
        assert await purge_expired(service.background_database, service.policies.retention) == 1
        left = await fetch_values(service.engine, "SELECT at > now() - interval '365 days' FROM events")
    assert left == [(True,)]


async def test_purge_events_by_a_role_that_may_not_deletes_nothing_and_fails_nothing(granted: Role) -> None:
    await execute(granted.owner_dsn, EVENT.format("now() - interval '2 years'"))
    await execute(granted.owner_dsn, "DROP FUNCTION purge_events(interval, integer)")
    async with serving(settings_for_tests(), granted.dsn) as running:
        service = running.service
        assert await purge_expired(service.background_database, service.policies.retention) == 0
        findings = await check_database(service)
    assert [each.level for each in findings if each.check == "privileges"] == [Level.PROBLEM]


async def test_purge_function_ignores_temporary_objects_of_its_caller(granted: Role) -> None:
    await execute(granted.owner_dsn, EVENT.format("now() - interval '2 years'"))
    async with connected(granted.dsn) as connection:
        await connection.execute(
            "CREATE TEMP TABLE events (LIKE public.events); SET search_path = pg_temp, public"
        )
        assert await connection.fetchval("SELECT public.purge_events('30 days', 1000)") == 1


async def test_purge_function_is_for_no_other_role(trail: Role) -> None:
    is_public = "SELECT proacl::text LIKE '%{=X%' OR proacl::text LIKE '%,=X%' OR proacl IS NULL FROM pg_proc"
    assert await fetch(trail.owner_dsn, f"{is_public} WHERE proname = 'purge_events'") is False


async def test_grant_to_the_role_that_migrates_is_rejected(database: str) -> None:
    owner = await fetch(database, "SELECT current_user")
    with pytest.raises(Exception, match="serve with another role"):
        await grant_rights(database, owner, LockRetryPolicy())


async def test_check_database_with_the_granted_rights_finds_nothing_about_them(granted: Role) -> None:
    async with serving(settings_for_tests(database={"url": granted.dsn}), granted.dsn) as running:
        findings = [each for each in await check_database(running.service) if each.check == "privileges"]
        assert findings == []
        await execute(granted.owner_dsn, f"GRANT DELETE ON events TO {granted.name}")
        (finding,) = [each for each in await check_database(running.service) if each.check == "privileges"]
    assert finding.level is Level.WARNING
    assert "ROLLCALL_MIGRATIONS__SERVING_ROLE" in finding.cure


def test_document_of_operations_lists_the_rights_that_are_granted() -> None:
    tables = sorted([*Base.metadata.tables, "alembic_version"])
    limited = [
        sql for sql in grant_statements("rollcall_app", tables) if any(f" {name} " in sql for name in LIMITED)
    ]
    text = OPERATIONS.read_text(encoding="utf-8").replace("rollcall_app", '"rollcall_app"')
    assert [sql for sql in limited if sql.startswith(("GRANT", "REVOKE")) and sql not in text] == []
