"""A standby that answers reads, and is never older than what its caller knows."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from harness.proxy import Proxy, dsn_through, socket_directory_of
from service.cli.doctor.database import check_database
from service.cli.doctor.findings import Level
from service.db.core.read_pool import ReadQuery
from service.db.core.replica import Outcome, Replica
from service.db.migrations.running import upgrade
from service.db.tables import UserRow
from service.domain.keys import Scope
from service.domain.wal_position import WalPosition
from service.embedded.server import EmbeddedPostgres
from service.security.tokens import SESSION_PREFIX, digest_of
from tests.faults.conftest import Seen
from tests.support.api import Account, Api, Running, error_of, serving
from tests.support.databases import empty_all_tables
from tests.support.settings import settings_for_tests
from tests.support.standbys import Standby, standby_of

LATE = select(func.count()).select_from(UserRow).where(UserRow.login_id == "late").scalar_subquery()
SLOW = ReadQuery(select(LATE, func.pg_sleep(0.2)))
READERS = 4
WRITES = 100
RECORDED = "SELECT query FROM pg_stat_activity WHERE application_name = 'rollcall-replica'"


@dataclass(frozen=True)
class Pair:
    """A primary with an asynchronous standby, and a look into both."""

    directory: Path
    primary: Seen
    standby: Seen
    server: Standby

    async def pause(self) -> None:
        """Have the standby stay as it is now, once it has what the primary has."""
        ((position,),) = await self.primary.fetch("SELECT pg_current_wal_insert_lsn()::text")
        reached = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        await until(lambda: self._says(reached))
        await self.standby.run("SELECT pg_wal_replay_pause()")
        await until(lambda: self._says("SELECT pg_get_wal_replay_pause_state() = 'paused'"))

    async def resume(self) -> None:
        """Have the standby follow again."""
        await self.standby.run("SELECT pg_wal_replay_resume()")

    async def _says(self, question: str) -> bool:
        return await self.standby.fetch(question) == [(True,)]


@dataclass(frozen=True)
class Stage:
    """Two applications on the same pair, a client of each, and the proxy before the standby."""

    pair: Pair
    proxy: Proxy
    running: Running
    one: Api
    other: Api

    @property
    def replica(self) -> Replica:
        return replica_of(self.one)

    @asynccontextmanager
    async def reading(self, outcome: Outcome) -> AsyncIterator[None]:
        """Expect each read of the first application in the block to have this outcome, and some to be."""
        before = dict(self.replica.outcomes)
        yield
        told = {name for name, count in self.replica.outcomes.items() if count > before[name]}
        assert told == {outcome}


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="rollcall-replica-"))  # short, for the paths of sockets
    yield made
    shutil.rmtree(made)


@pytest_asyncio.fixture(scope="module")
async def pair(directory: Path) -> AsyncIterator[Pair]:
    with EmbeddedPostgres(directory / "primary") as postgres:
        await upgrade(postgres.dsn)
        with standby_of(postgres.dsn, directory / "standby") as standby:
            yield Pair(directory, Seen(postgres.dsn), Seen(standby.dsn), standby)


@pytest_asyncio.fixture
async def stage(pair: Pair) -> AsyncIterator[Stage]:
    directory = Path(tempfile.mkdtemp(prefix="rollcall-proxy-"))
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(directory, socket_directory_of(pair.standby.dsn)))
        chosen = settings_for_tests(database={"replica_url": dsn_through(pair.standby.dsn, directory)})
        apis = []
        for _ in range(2):
            running = await stack.enter_async_context(serving(chosen, pair.primary.dsn))
            apis.append(Api(await stack.enter_async_context(running.client()), running.service))
            await until(lambda: is_healthy(apis[-1]))
        await empty_all_tables(running.service.engine)
        yield Stage(pair, proxy, running, *apis)
        await pair.resume()
    shutil.rmtree(directory)


def replica_of(api: Api) -> Replica:
    replica = api.service.replica
    assert replica is not None
    return replica


async def is_healthy(api: Api) -> bool:
    await replica_of(api).probe()
    return replica_of(api).is_healthy


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                if await holds():
                    return
            except (OSError, httpx.HTTPError):
                pass  # not up yet
            await asyncio.sleep(0.01)


async def answered_by_the_replica(api: Api, path: str) -> bool:
    """Whether a read of the path, which succeeds, is answered by the replica."""
    outcomes = replica_of(api).outcomes
    before = outcomes[Outcome.ANSWERED]
    assert (await api.get(path)).status_code == 200
    return outcomes[Outcome.ANSWERED] > before


def digest_of_token(api: Api) -> bytes:
    digest = digest_of(api.token or "", SESSION_PREFIX)
    assert digest is not None
    return digest


async def created(api: Api, login_id: str) -> str:
    answer = await api.post("/v1/users", {"login_id": login_id, "name": "New"})
    assert answer.status_code == 201, answer.text
    return f"/v1/users/{answer.json()['id']}"


async def root_of(stage: Stage) -> tuple[Account, Api, Api]:
    """An administrator known to the standby, as a caller of each application."""
    admin = await stage.one.admin()
    root = stage.one.by(admin)
    await until(lambda: answered_by_the_replica(root, "/v1/users"))
    return admin, root, stage.other.by(admin)


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
async def test_read_while_the_replica_follows_is_answered_by_it(stage: Stage, path: str, table: str) -> None:
    ada = await stage.one.account("ada")
    _, root, _ = await root_of(stage)
    where = path.format(id=ada.id)
    await until(lambda: answered_by_the_replica(root, where))
    assert any(f"FROM {table}" in query for (query,) in await stage.pair.standby.fetch(RECORDED))


@pytest.mark.parametrize("path", ["/v1/users/me", "/v1/sessions/current"])
async def test_read_what_authentication_found_asks_no_replica(stage: Stage, path: str) -> None:
    _, root, _ = await root_of(stage)
    before = stage.replica.outcomes.total()
    assert (await root.get(path)).status_code == 200
    assert stage.replica.outcomes.total() == before


async def test_read_while_replay_is_paused_shows_ones_own_write_and_everybody_elses(stage: Stage) -> None:
    key = await stage.one.key(Scope.USERS_READ)
    _, root, elsewhere = await root_of(stage)
    await stage.pair.pause()

    async with stage.reading(Outcome.BEHIND):
        path = await created(root, "grace")
        for caller in (root, stage.one.by(key), elsewhere, stage.other.by(key)):
            assert (await caller.get(path)).json()["login_id"] == "grace"
            assert "grace" in (await caller.get("/v1/users")).text
    assert await stage.pair.standby.fetch("SELECT 1 FROM users WHERE login_id = 'grace'") == []

    await stage.pair.resume()
    await until(lambda: answered_by_the_replica(root, path))


async def test_read_after_each_of_many_writes_shows_it(stage: Stage) -> None:
    _, root, elsewhere = await root_of(stage)
    path = await created(root, "many")
    for number in range(WRITES):
        assert (await root.patch(path, {"name": f"N{number}"})).status_code == 200
        seen = await asyncio.gather(*(caller.get(path) for caller in (root, elsewhere) * READERS))
        assert {answer.json()["name"] for answer in seen} == {f"N{number}"}
    assert stage.replica.outcomes[Outcome.FAILED] == 0


async def test_read_begun_before_the_replica_was_far_enough_is_not_taken(stage: Stage) -> None:
    """What is replayed while a statement runs is not seen by it, however far the standby is at its end."""
    _, root, _ = await root_of(stage)
    await stage.pair.pause()
    path = await created(root, "late")
    caller = await stage.one.service.reads.sessions.find_open(digest_of_token(root))
    assert caller is not None
    assert caller.wal_position is not None
    slow = asyncio.create_task(
        stage.replica.fetch(asyncpg.Connection.fetchval, SLOW, {}, caller.wal_position)
    )
    await stage.pair.resume()
    assert await slow in (Outcome.BEHIND, 1)
    await until(lambda: answered_by_the_replica(root, path))
    assert await stage.replica.fetch(asyncpg.Connection.fetchval, SLOW, {}, caller.wal_position) == 1


async def test_revoke_while_replay_is_paused_shows_at_the_very_next_request(stage: Stage) -> None:
    ada, grace = await stage.one.account("ada"), await stage.one.account("grace")
    key, gateway = await stage.one.key(Scope.USERS_READ), await stage.one.key(Scope.SESSIONS_INTROSPECT)
    _, root, _ = await root_of(stage)
    await stage.pair.pause()
    for caller in (stage.other.by(ada), stage.other.by(grace)):
        assert (await caller.get("/v1/users/me")).status_code == 200
    assert (await stage.other.by(key).get("/v1/users")).status_code == 200

    assert (await root.delete(f"/v1/sessions/{ada.session_id}")).status_code == 204
    assert (await root.patch(f"/v1/users/{grace.id}", {"state": "disabled"})).status_code == 200
    (key_id,) = [
        each["id"] for each in (await root.get("/v1/keys")).json()["items"] if key[:8] == each["prefix"]
    ]
    assert (await root.delete(f"/v1/keys/{key_id}")).status_code == 204

    assert len(await stage.pair.standby.fetch("SELECT 1 FROM sessions")) == 3
    assert len(await stage.pair.standby.fetch("SELECT 1 FROM api_keys")) == 2
    for token, path in ((ada.token, "/v1/users/me"), (grace.token, "/v1/users/me"), (key, "/v1/users")):
        assert error_of(await stage.other.by(token).get(path)) == (401, "invalid_token")
        told = await stage.other.by(gateway).post("/v1/introspect", {"token": token})
        assert told.json() == {"active": False}


async def read_on(api: Api, path: str, statuses: list[int], is_over: asyncio.Event) -> None:
    while not is_over.is_set():
        statuses.append((await api.get(path)).status_code)


async def test_read_while_the_replica_is_killed_fails_nobody_and_returns_to_it(stage: Stage) -> None:
    _, root, _ = await root_of(stage)
    path = await created(root, "lasting")
    statuses: list[int] = []
    is_over = asyncio.Event()
    readers = [asyncio.create_task(read_on(root, path, statuses, is_over)) for _ in range(READERS)]
    try:
        await until(lambda: answered_by_the_replica(root, path))
        stage.pair.server.stop(signal.SIGQUIT)
        failed = stage.replica.outcomes[Outcome.FAILED]
        await until(lambda: _is(stage.replica.outcomes[Outcome.FAILED] > failed + 10))
        stage.pair.server.start()
        answered = stage.replica.outcomes[Outcome.ANSWERED]
        await until(lambda: _is(stage.replica.outcomes[Outcome.ANSWERED] > answered + 10))
    finally:
        is_over.set()
        await asyncio.gather(*readers)
    assert set(statuses) == {200}


async def _is(holds: bool) -> bool:
    return holds


async def test_read_while_the_replica_says_nothing_is_answered_by_the_primary(stage: Stage) -> None:
    _, root, _ = await root_of(stage)
    with stage.proxy.silence():
        async with stage.reading(Outcome.FAILED):
            answers = await asyncio.gather(*(root.get("/v1/users") for _ in range(3 * READERS)))
    assert {answer.status_code for answer in answers} == {200}
    await until(lambda: answered_by_the_replica(root, "/v1/users"))


async def test_read_that_the_replica_ends_as_a_conflict_is_the_primarys(stage: Stage) -> None:
    async def be_in_conflict(driver: Any, _sql: str) -> None:
        await driver.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    _, root, _ = await root_of(stage)
    wal_position = WalPosition(1, 1)
    assert await stage.replica.fetch(be_in_conflict, SLOW, {}, wal_position) is Outcome.FAILED
    async with stage.reading(Outcome.FAILED):
        assert (await root.get("/v1/users")).status_code == 200
    await until(lambda: answered_by_the_replica(root, "/v1/users"))


async def test_read_of_a_standby_that_was_promoted_is_answered_by_the_primary(pair: Pair) -> None:
    with standby_of(pair.primary.dsn, pair.directory / "promoted") as standby:
        chosen = settings_for_tests(database={"replica_url": standby.dsn})
        async with serving(chosen, pair.primary.dsn) as running, running.client() as client:
            await empty_all_tables(running.service.engine)
            root = Api(client, running.service)
            root = root.by(await root.admin())
            await until(lambda: is_healthy(root))
            await until(lambda: answered_by_the_replica(root, "/v1/users"))
            await Seen(standby.dsn).run("SELECT pg_promote()", "UPDATE users SET name = 'of another line'")
            for _ in range(READERS + 1):
                assert "another line" not in (await root.get("/v1/users")).text
            assert not await is_healthy(root)


async def test_read_with_another_databases_standby_or_none_is_answered_by_the_primary(stage: Stage) -> None:
    _, root, _ = await root_of(stage)
    stage.replica._system = 1
    path = await created(root, "here")
    async with stage.reading(Outcome.FAILED):
        assert (await root.get(path)).status_code == 200
    assert not await is_healthy(root)

    chosen = settings_for_tests(database={"replica_url": stage.pair.primary.dsn})
    async with serving(chosen, stage.pair.primary.dsn) as running, running.client() as client:
        caller = Api(client, running.service, root.token)
        assert (await caller.get(path)).status_code == 200
        assert not await is_healthy(caller)


async def test_read_as_of_a_moment_on_another_timeline_is_answered_by_the_primary(stage: Stage) -> None:
    admin, _, _ = await root_of(stage)
    found = await stage.one.service.reads.users.get(admin.id)
    for wal_position, outcome in ((WalPosition(1, 1), Outcome.ANSWERED), (WalPosition(2, 1), Outcome.BEHIND)):
        async with stage.reading(outcome):
            assert await stage.one.service.reads.at(wal_position).users.get(admin.id) == found


async def test_examine_the_replica_tells_whether_it_is_one(stage: Stage) -> None:
    async def found(url: str) -> list[tuple[str, Level]]:
        chosen = settings_for_tests(database={"replica_url": url})
        async with serving(chosen, stage.pair.primary.dsn) as running:
            findings = await check_database(running.service)
        return [(each.cure, each.level) for each in findings if each.check == "read replica"]

    servers = (stage.pair.primary.dsn, stage.pair.standby.dsn)
    places = ",".join(str(socket_directory_of(dsn)) for dsn in servers)
    several = (
        f"postgresql:///rollcall?host={places}&port=5432,5432&user=rollcall&target_session_attrs=standby"
    )
    for url in (stage.pair.standby.dsn, several):
        assert await found(url) == [("", Level.OK)]
    ((cure, level),) = await found(stage.pair.primary.dsn)
    assert cure.startswith("Point ROLLCALL_DATABASE__REPLICA_URL at a standby")
    assert level is Level.PROBLEM
    ((cure, level),) = await found("postgresql://localhost:1/rollcall")
    assert cure.startswith("Nothing listens there")
    assert level is Level.WARNING


async def test_read_metrics_tells_who_answered(stage: Stage) -> None:
    _, root, _ = await root_of(stage)
    text = (await root.get("/metrics")).text
    answered: Any = stage.replica.outcomes[Outcome.ANSWERED]
    assert f'rollcall_replica_reads_total{{outcome="answered"}} {float(answered)}' in text
    assert 'db_client_connection_max{db_client_connection_pool_name="replica"} 4.0' in text
