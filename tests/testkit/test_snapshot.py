from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from rollcall_testkit.postgres import DEADLOCK, Postgres, PostgresError
from rollcall_testkit.server import RENEW_SESSIONS
from rollcall_testkit.snapshot import Snapshot

from tests.support.databases import IS_WAITING

_SCHEMA = """
CREATE TABLE parents (id int PRIMARY KEY, name text);
CREATE TABLE children (id int PRIMARY KEY, parent_id int REFERENCES parents);
CREATE TABLE alembic_version (version_num text);
INSERT INTO parents VALUES (1, 'Ada'), (2, NULL);
INSERT INTO children VALUES (1, 1), (2, 2)
"""
_ROWS = """
SELECT concat_ws('|', 'parent', id, name) FROM parents
UNION ALL SELECT concat_ws('|', 'child', id, parent_id) FROM children ORDER BY 1
"""
_FAILING = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('tries') <= {times} THEN RAISE 'as others did' USING ERRCODE = '{sqlstate}'; END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER fail BEFORE DELETE ON parents FOR EACH STATEMENT EXECUTE FUNCTION fail();
ALTER TABLE parents ENABLE ALWAYS TRIGGER fail
"""


_SESSION = """
INSERT INTO sessions (id, user_id, token_digest, created_at, last_used_at, expires_at, idle_expires_at)
SELECT gen_random_uuid(), gen_random_uuid(), '', at, at, at + interval '12 hours', at + interval '30 minutes'
FROM (SELECT now() - interval '20 minutes') AS opened (at)
"""
_AGE_AND_SPANS = """
SELECT floor(extract(minute FROM now() - created_at)), expires_at - created_at, idle_expires_at - created_at
FROM sessions
"""


def connect(dsn: str, **settings: str) -> closing[Postgres]:
    parts = urlsplit(dsn)
    (directory,) = parse_qs(parts.query)["host"]
    return closing(Postgres(Path(directory), user="rollcall", database=parts.path[1:], **settings))


@pytest.fixture
def connection(empty_database: str) -> Iterator[Postgres]:
    with connect(empty_database, session_replication_role="replica") as opened:
        opened.run(_SCHEMA)
        yield opened


def test_restore_reverts_inserts_updates_and_deletes(
    connection: Postgres,
) -> None:
    before = connection.run(_ROWS)
    snapshot = Snapshot(connection)
    for change in (
        "INSERT INTO parents VALUES (3, 'Bob'); INSERT INTO children VALUES (3, 3)",
        "UPDATE parents SET name = 'Eve'",
        "DELETE FROM children; DELETE FROM parents",
    ):
        connection.run(change)
        assert connection.run(_ROWS) != before
        snapshot.restore()
        assert connection.run(_ROWS) == before


def test_restore_renews_sessions_so_that_each_login_is_recent(database: str) -> None:
    with connect(database, session_replication_role="replica") as opened:
        opened.run(_SESSION)
        snapshot = Snapshot(opened, then=RENEW_SESSIONS)
        snapshot.restore()
        assert opened.run(_AGE_AND_SPANS) == [("0", "12:00:00", "00:30:00")]


@pytest.mark.parametrize(
    ("times", "sqlstate", "told"), [(4, DEADLOCK, None), (5, DEADLOCK, DEADLOCK), (1, "40001", "40001")]
)
def test_restore_with_deadlocks_retries_and_finally_raises(
    connection: Postgres, times: int, sqlstate: str, told: str | None
) -> None:
    snapshot = Snapshot(connection)
    connection.run("INSERT INTO parents VALUES (3, 'Bob');" + _FAILING.format(times=times, sqlstate=sqlstate))
    if told is None:
        snapshot.restore()
    else:
        with pytest.raises(PostgresError) as caught:
            snapshot.restore()
        assert caught.value.sqlstate == told
    assert (("parent|3|Bob",) in connection.run(_ROWS)) == (told is not None)


def test_restore_during_a_transaction_waits_and_removes_its_rows(
    connection: Postgres, empty_database: str
) -> None:
    before = connection.run(_ROWS)
    snapshot = Snapshot(connection)
    with (
        connect(empty_database) as request,
        connect(empty_database) as watcher,
        ThreadPoolExecutor() as beside,
    ):
        request.run("BEGIN; INSERT INTO children VALUES (3, 1)")
        restoring = beside.submit(snapshot.restore)
        while watcher.run(IS_WAITING) == [("f",)]:
            assert not restoring.done()
        request.run("COMMIT")
        restoring.result(timeout=60)
    assert connection.run(_ROWS) == before


def test_run_with_a_database_error_raises_and_keeps_the_connection_usable(connection: Postgres) -> None:
    with pytest.raises(PostgresError, match='42P01: relation "nowhere" does not exist'):
        connection.run("INSERT INTO parents VALUES (4, 'Eve'); SELECT * FROM nowhere")
    assert connection.run("SELECT count(*) FROM parents") == [("2",)]
