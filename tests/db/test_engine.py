from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event, text
from sqlalchemy import exc as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.core.engine import create_engine, invalidate_pool
from service.embedded.server import EmbeddedPostgres

EngineFactory = Callable[..., AsyncEngine]


@pytest.fixture
def dsn(postgres: EmbeddedPostgres) -> str:
    """The maintenance database; no test leaves anything in it."""
    return postgres.dsn_for("postgres")


@pytest_asyncio.fixture
async def engine_for(dsn: str) -> AsyncIterator[EngineFactory]:
    async with AsyncExitStack() as stack:

        def make(suffix: str = "", **arguments: Any) -> AsyncEngine:
            engine = create_engine(dsn + suffix, **arguments)
            stack.push_async_callback(engine.dispose)
            return engine

        yield make


async def setting(engine: AsyncEngine, name: str) -> str:
    async with engine.connect() as connection:
        return str(await connection.scalar(text("SELECT current_setting(:name)"), {"name": name}))


async def backend(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(text("SELECT pg_backend_pid()")) or 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("application_name", "rollcall"),
        ("statement_timeout", "4s"),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("jit", "off"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ],
)
async def test_connect_sets_session_limits(engine_for: EngineFactory, name: str, value: str) -> None:
    assert await setting(engine_for(), name) == value


async def test_plan_made_while_a_table_is_empty_uses_its_index(engine_for: EngineFactory) -> None:
    """A connection keeps it: each failed login would read all the others until the table is analyzed."""
    async with engine_for().connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("CREATE TEMPORARY TABLE counts (digest bytea PRIMARY KEY)"))
        await connection.execute(text("VACUUM counts"))
        plan = await connection.scalar(text("EXPLAIN SELECT * FROM counts WHERE digest = ''"))
        assert "Index" in str(plan)


async def test_plan_made_while_tables_are_small_joins_by_index(engine_for: EngineFactory) -> None:
    """After the import of a million users, each request would read them all."""
    async with engine_for().connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("CREATE TEMPORARY TABLE users AS SELECT generate_series(1, 20) AS id"))
        await connection.execute(text("ALTER TABLE users ADD PRIMARY KEY (id)"))
        await connection.execute(
            text("CREATE TEMPORARY TABLE sessions AS SELECT id, id AS user_id FROM users")
        )
        await connection.execute(text("ALTER TABLE sessions ADD PRIMARY KEY (id)"))
        await connection.execute(text("ANALYZE users, sessions"))
        query = (
            "SELECT * FROM sessions JOIN users ON users.id = user_id WHERE sessions.id = ANY('{1,2,3,4,5,6}')"
        )
        plan = "\n".join(await connection.scalars(text(f"EXPLAIN {query}")))
        assert "Index Cond: (id = sessions.user_id)" in plan


async def test_connect_prefers_settings_of_the_dsn(engine_for: EngineFactory) -> None:
    engine = engine_for("&lock_timeout=7s&application_name=gateway", lock_timeout=1.0)
    assert await setting(engine, "lock_timeout") == "7s"
    assert await setting(engine, "application_name") == "gateway"


async def test_connect_prefers_settings_in_the_options_of_the_dsn(engine_for: EngineFactory) -> None:
    engine = engine_for("&options=-c%20lock_timeout%3D7s%20--statement_timeout%3D8s", lock_timeout=1.0)
    assert await setting(engine, "lock_timeout") == "7s"
    assert await setting(engine, "statement_timeout") == "8s"
    assert await setting(engine, "jit") == "off"


@pytest.mark.parametrize(
    "query", ["sslmode=verify-full", "sslmode=require&sslrootcert=/nowhere", "sslrootcert=system"]
)
async def test_connect_to_a_socket_ignores_tls_parameters(engine_for: EngineFactory, query: str) -> None:
    assert await setting(engine_for(f"&{query}"), "jit") == "off"


async def test_connect_to_a_socket_ignores_tls_variables_of_the_shell(
    engine_for: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLNEGOTIATION", "direct")
    assert await setting(engine_for(), "jit") == "off"


async def test_connect_ignores_libpq_only_parameters(engine_for: EngineFactory) -> None:
    engine = engine_for("&channel_binding=prefer&keepalives_idle=30&connect_timeout=2")
    assert await setting(engine, "application_name") == "rollcall"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_connect_accepts_every_postgresql_scheme(dsn: str, scheme: str) -> None:
    engine = create_engine(scheme + "://" + dsn.partition("://")[2])
    try:
        assert await setting(engine, "jit") == "off"
    finally:
        await engine.dispose()


async def test_connect_with_dead_first_host_uses_the_second(dsn: str) -> None:
    engine = create_engine(dsn.replace("host=", "host=/nonexistent,").replace("port=5432", "port=5432,5432"))
    try:
        assert await setting(engine, "jit") == "off"
    finally:
        await engine.dispose()


async def test_connect_without_server_raises_os_error() -> None:
    engine = create_engine("postgresql:///nobody?host=/nonexistent&user=nobody")
    with pytest.raises(OSError, match="No such file"):
        await engine.connect()
    await engine.dispose()


async def test_check_out_beyond_pool_size_raises_timeout(engine_for: EngineFactory) -> None:
    engine = engine_for(pool_size=1, pool_timeout=0.01)
    async with engine.connect():
        with pytest.raises(sa.TimeoutError):
            await engine.connect()


async def test_check_out_while_the_pool_is_invalidated_again_gets_a_new_connection(
    engine_for: EngineFactory,
) -> None:
    engine = engine_for()
    before = await backend(engine)
    event.listen(engine.sync_engine, "connect", lambda *_: invalidate_pool(engine), insert=True)
    invalidate_pool(engine)
    after = await backend(engine)
    assert after != before
    assert await backend(engine) == after


async def test_execute_beyond_command_timeout_raises_timeout(engine_for: EngineFactory) -> None:
    engine = engine_for(command_timeout=0.05)
    with pytest.raises(TimeoutError):
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))


async def test_database_error_hides_parameters(engine_for: EngineFactory) -> None:
    async with engine_for().connect() as connection:
        with pytest.raises(sa.DBAPIError) as caught:
            await connection.execute(text("SELECT length(:word) FROM nowhere"), {"word": "hunter2"})
    assert "hunter2" not in str(caught.value)


async def prepared(engine: AsyncEngine) -> int:
    count = text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")
    async with engine.connect() as connection:
        for _ in range(3):
            await connection.execute(text("SELECT 1"))
        return int(await connection.scalar(count) or 0)


async def test_execute_behind_pooler_prepares_no_named_statement(engine_for: EngineFactory) -> None:
    assert await prepared(engine_for(pgbouncer=True)) == 0
    assert await prepared(engine_for()) > 0


async def test_connect_behind_pooler_sends_no_unsupported_parameter(
    engine_for: EngineFactory,
) -> None:
    engine = engine_for(pgbouncer=True, statement_timeout=3.0, lock_timeout=3.0)
    assert await setting(engine, "statement_timeout") != "3s"
    assert await setting(engine, "lock_timeout") != "3s"
    assert await setting(engine, "application_name") == "rollcall"
