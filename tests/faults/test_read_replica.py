"""Reads from a standby, which are never older than the WAL position of their caller."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import func, select
from structlog.testing import capture_logs

from harness.database import DatabaseProbe
from harness.proxy import Proxy, dsn_through, socket_directory_of
from service.cli.doctor.database import check_database
from service.cli.doctor.findings import Level
from service.db.core.replica import Outcome
from service.db.core.statements import Statement
from service.db.tables import UserRow
from service.domain.keys import Scope
from service.domain.wal_position import WalPosition
from service.embedded.server import EmbeddedPostgres
from service.security.tokens import SESSION_PREFIX, digest_of
from tests.support.api import Api, error_of, serving
from tests.support.clusters import copy_migrated_cluster
from tests.support.databases import empty_all_tables
from tests.support.replicas import Pair, ReplicaEnvironment, is_healthy, root_of, uses_replica, wait_until
from tests.support.settings import settings_for_tests
from tests.support.standbys import standby_of

LATE = select(func.count()).select_from(UserRow).where(UserRow.login_id == "late").scalar_subquery()
SLOW = Statement(select(LATE, func.pg_sleep(0.2)))
READERS = 4
WRITES = 100
RECORDED = "SELECT query FROM pg_stat_activity WHERE application_name = 'rollcall-replica'"


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="rollcall-replica-"))  # short, for the paths of sockets
    yield made
    shutil.rmtree(made)


@pytest_asyncio.fixture(scope="module")
async def pair(directory: Path) -> AsyncIterator[Pair]:
    copy_migrated_cluster(directory / "primary")
    with (
        EmbeddedPostgres(directory / "primary") as postgres,
        standby_of(postgres.dsn, directory / "standby") as standby,
    ):
        yield Pair(directory, DatabaseProbe(postgres.dsn), DatabaseProbe(standby.dsn), standby)


@pytest_asyncio.fixture
async def env(pair: Pair) -> AsyncIterator[ReplicaEnvironment]:
    directory = Path(tempfile.mkdtemp(prefix="rollcall-proxy-"))
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(directory, socket_directory_of(pair.standby.dsn)))
        chosen = settings_for_tests(database={"replica_url": dsn_through(pair.standby.dsn, directory)})
        apis = []
        for _ in range(2):
            running = await stack.enter_async_context(serving(chosen, pair.primary.dsn))
            apis.append(Api(await stack.enter_async_context(running.client()), running.service))
            await wait_until(lambda: is_healthy(apis[-1]))
        await empty_all_tables(running.service.engine)
        yield ReplicaEnvironment(pair, proxy, running, *apis)
        await pair.resume()
    shutil.rmtree(directory)


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reads on a slow machine wait for the replica instead of the primary taking over."""
    monkeypatch.setattr("service.db.core.replica.READ_TIMEOUT_S", 60.0)


def digest_of_token(api: Api) -> bytes:
    digest = digest_of(api.token or "", SESSION_PREFIX)
    assert digest is not None
    return digest


async def created(api: Api, login_id: str) -> str:
    response = await api.post("/v1/users", {"login_id": login_id, "name": "New"})
    assert response.status_code == 201, response.text
    return f"/v1/users/{response.json()['id']}"


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ("/v1/users", "users"),
        ("/v1/users/{id}", "users"),
        ("/v1/users/{id}/sessions", "sessions"),
        ("/v1/keys", "api_keys"),
        ("/v1/events", "events"),
    ],
)
async def test_read_with_a_current_replica_uses_it(env: ReplicaEnvironment, path: str, table: str) -> None:
    ada = await env.one.account("ada")
    _, root, _ = await root_of(env)
    where = path.format(id=ada.id)
    await wait_until(lambda: uses_replica(root, where))
    assert any(f"FROM {table}" in query for (query,) in await env.pair.standby.fetch(RECORDED))


@pytest.mark.parametrize("path", ["/v1/users/me", "/v1/sessions/current"])
async def test_read_of_what_authentication_loaded_uses_no_replica(env: ReplicaEnvironment, path: str) -> None:
    _, root, _ = await root_of(env)
    before = env.replica.outcomes.total()
    assert (await root.get(path)).status_code == 200
    assert env.replica.outcomes.total() == before


@pytest.mark.usefixtures("_patience")
async def test_read_with_paused_replay_shows_writes_of_every_client(env: ReplicaEnvironment) -> None:
    key = await env.one.key(Scope.USERS_READ)
    _, root, elsewhere = await root_of(env)
    await env.pair.pause()

    async with env.reading(Outcome.BEHIND):
        path = await created(root, "grace")
        for caller in (root, env.one.by(key), elsewhere, env.other.by(key)):
            assert (await caller.get(path)).json()["login_id"] == "grace"
            assert "grace" in (await caller.get("/v1/users")).text
    assert await env.pair.standby.fetch("SELECT 1 FROM users WHERE login_id = 'grace'") == []

    await env.pair.resume()
    await wait_until(lambda: uses_replica(root, path))


@pytest.mark.usefixtures("_patience")
async def test_read_after_each_of_many_writes_shows_it(env: ReplicaEnvironment) -> None:
    _, root, elsewhere = await root_of(env)
    path = await created(root, "many")
    for number in range(WRITES):
        assert (await root.patch(path, {"name": f"N{number}"})).status_code == 200
        seen = await asyncio.gather(*(caller.get(path) for caller in (root, elsewhere) * READERS))
        assert {response.json()["name"] for response in seen} == {f"N{number}"}
    assert env.replica.outcomes[Outcome.FAILED] == 0


@pytest.mark.usefixtures("_patience")
async def test_read_started_before_the_replica_caught_up_is_discarded(env: ReplicaEnvironment) -> None:
    """A statement does not see what is replayed while it runs."""
    _, root, _ = await root_of(env)
    await env.pair.pause()
    path = await created(root, "late")
    caller = await env.one.service.reads.sessions.find_live(digest_of_token(root))
    assert caller is not None
    assert caller.wal_position is not None
    slow = asyncio.create_task(env.replica.fetch(asyncpg.Connection.fetchval, SLOW, {}, caller.wal_position))
    await env.pair.resume()
    assert await slow in (Outcome.BEHIND, 1)
    await wait_until(lambda: uses_replica(root, path))
    assert await env.replica.fetch(asyncpg.Connection.fetchval, SLOW, {}, caller.wal_position) == 1


async def test_revoke_with_paused_replay_rejects_the_next_request(env: ReplicaEnvironment) -> None:
    ada, grace = await env.one.account("ada"), await env.one.account("grace")
    key, gateway = await env.one.key(Scope.USERS_READ), await env.one.key(Scope.SESSIONS_INTROSPECT)
    _, root, _ = await root_of(env)
    await env.pair.pause()
    for caller in (env.other.by(ada), env.other.by(grace)):
        assert (await caller.get("/v1/users/me")).status_code == 200
    assert (await env.other.by(key).get("/v1/users")).status_code == 200

    assert (await root.delete(f"/v1/sessions/{ada.session_id}")).status_code == 204
    assert (await root.patch(f"/v1/users/{grace.id}", {"state": "disabled"})).status_code == 200
    (key_id,) = [
        each["id"] for each in (await root.get("/v1/keys")).json()["items"] if key[:8] == each["prefix"]
    ]
    assert (await root.delete(f"/v1/keys/{key_id}")).status_code == 204

    assert len(await env.pair.standby.fetch("SELECT 1 FROM sessions")) == 3
    assert len(await env.pair.standby.fetch("SELECT 1 FROM api_keys")) == 2
    for token, path in ((ada.token, "/v1/users/me"), (grace.token, "/v1/users/me"), (key, "/v1/users")):
        assert error_of(await env.other.by(token).get(path)) == (401, "invalid_token")
        told = await env.other.by(gateway).post("/v1/introspect", {"token": token})
        assert told.json() == {"active": False}


async def read_on(api: Api, path: str, statuses: list[int], is_over: asyncio.Event) -> None:
    while not is_over.is_set():
        statuses.append((await api.get(path)).status_code)


async def test_read_with_a_killed_replica_succeeds_and_uses_it_again_later(env: ReplicaEnvironment) -> None:
    _, root, _ = await root_of(env)
    path = await created(root, "lasting")
    statuses: list[int] = []
    is_over = asyncio.Event()
    readers = [asyncio.create_task(read_on(root, path, statuses, is_over)) for _ in range(READERS)]
    try:
        await wait_until(lambda: uses_replica(root, path))
        env.pair.server.stop(signal.SIGQUIT)
        failed = env.replica.outcomes[Outcome.FAILED]
        await wait_until(lambda: _as_coroutine(env.replica.outcomes[Outcome.FAILED] > failed + 10))
        env.pair.server.start()
        answered = env.replica.outcomes[Outcome.ANSWERED]
        await wait_until(lambda: _as_coroutine(env.replica.outcomes[Outcome.ANSWERED] > answered + 10))
    finally:
        is_over.set()
        await asyncio.gather(*readers)
    assert set(statuses) == {200}


async def _as_coroutine(holds: bool) -> bool:
    return holds


async def test_read_with_a_silent_replica_uses_the_primary(env: ReplicaEnvironment) -> None:
    _, root, _ = await root_of(env)
    with env.proxy.silence():
        async with env.reading(Outcome.FAILED):
            responses = await asyncio.gather(*(root.get("/v1/users") for _ in range(3 * READERS)))
    assert {response.status_code for response in responses} == {200}
    await wait_until(lambda: uses_replica(root, "/v1/users"))


async def test_read_cancelled_by_a_replica_conflict_uses_the_primary(env: ReplicaEnvironment) -> None:
    async def fail_with_a_conflict(driver: Any, _sql: str) -> None:
        await driver.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    _, root, _ = await root_of(env)
    wal_position = WalPosition(1, 1)
    assert await env.replica.fetch(fail_with_a_conflict, SLOW, {}, wal_position) is Outcome.FAILED
    async with env.reading(Outcome.FAILED):
        assert (await root.get("/v1/users")).status_code == 200
    await wait_until(lambda: uses_replica(root, "/v1/users"))


async def test_read_with_a_promoted_standby_uses_the_primary(pair: Pair) -> None:
    with standby_of(pair.primary.dsn, pair.directory / "promoted") as standby:
        chosen = settings_for_tests(database={"replica_url": standby.dsn})
        async with serving(chosen, pair.primary.dsn) as running, running.client() as client:
            await empty_all_tables(running.service.engine)
            root = Api(client, running.service)
            root = root.by(await root.admin())
            await wait_until(lambda: is_healthy(root))
            await wait_until(lambda: uses_replica(root, "/v1/users"))
            await DatabaseProbe(standby.dsn).run(
                "SELECT pg_promote()", "UPDATE users SET name = 'of another timeline'"
            )
            for _ in range(READERS + 1):
                assert "another timeline" not in (await root.get("/v1/users")).text
            assert not await is_healthy(root)


async def test_read_with_a_replica_of_another_database_uses_the_primary(env: ReplicaEnvironment) -> None:
    _, root, _ = await root_of(env)
    env.replica._system = 1
    path = await created(root, "here")
    async with env.reading(Outcome.FAILED):
        assert (await root.get(path)).status_code == 200
    assert not await is_healthy(root)

    chosen = settings_for_tests(database={"replica_url": env.pair.primary.dsn})
    async with serving(chosen, env.pair.primary.dsn) as running, running.client() as client:
        caller = Api(client, running.service, root.token)
        assert (await caller.get(path)).status_code == 200
        assert not await is_healthy(caller)


@pytest.mark.usefixtures("_patience")
async def test_read_at_a_wal_position_of_another_timeline_uses_the_primary(env: ReplicaEnvironment) -> None:
    admin, _, _ = await root_of(env)
    found = await env.one.service.reads.users.get(admin.id)
    for wal_position, outcome in ((WalPosition(1, 1), Outcome.ANSWERED), (WalPosition(2, 1), Outcome.BEHIND)):
        async with env.reading(outcome):
            assert await env.one.service.reads.at(wal_position).users.get(admin.id) == found


async def test_check_the_replica_reports_whether_it_is_a_standby(env: ReplicaEnvironment) -> None:
    async def found(url: str) -> list[tuple[str, Level]]:
        chosen = settings_for_tests(database={"replica_url": url})
        async with serving(chosen, env.pair.primary.dsn) as running:
            findings = await check_database(running.service)
        return [(each.cure, each.level) for each in findings if each.check == "read replica"]

    servers = (env.pair.primary.dsn, env.pair.standby.dsn)
    places = ",".join(str(socket_directory_of(dsn)) for dsn in servers)
    several = (
        f"postgresql:///rollcall?host={places}&port=5432,5432&user=rollcall&target_session_attrs=standby"
    )
    for url in (env.pair.standby.dsn, several):
        assert await found(url) == [("", Level.OK)]
    ((cure, level),) = await found(env.pair.primary.dsn)
    assert cure.startswith("Point ROLLCALL_DATABASE__REPLICA_URL at a standby")
    assert level is Level.PROBLEM
    ((cure, level),) = await found("postgresql://localhost:1/rollcall")
    assert cure.startswith("Nothing listens there")
    assert level is Level.WARNING


async def test_ready_on_a_standby_alone_gets_503_and_names_the_reason(env: ReplicaEnvironment) -> None:
    with capture_logs() as lines:
        async with serving(settings_for_tests(), env.pair.standby.dsn) as running, running.client() as client:
            assert (await client.get("/health/ready")).status_code == 503
            assert (await client.get("/health/live")).status_code == 200
    reasons = [(line["reason"], line["cause"]) for line in lines if line["event"] == "not_ready"]
    assert reasons == [("server", "This server is a standby, which accepts no writes: use the primary.")]


async def test_get_metrics_counts_reads_by_outcome(env: ReplicaEnvironment) -> None:
    _, root, _ = await root_of(env)
    text = (await root.get("/metrics")).text
    answered: Any = env.replica.outcomes[Outcome.ANSWERED]
    assert f'rollcall_replica_reads_total{{outcome="answered"}} {float(answered)}' in text
    assert 'db_client_connection_max{db_client_connection_pool_name="replica"} 4.0' in text
