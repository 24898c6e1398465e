"""Starting and stopping the embedded server, alone and shared."""

import os
from pathlib import Path

import asyncpg
import pytest

from service.embedded.binaries import EmbeddedUnavailable
from service.embedded.server import EmbeddedPostgres
from tests.embedded.clusters import (
    SHARER,
    is_stopped,
    postmaster,
    program,
    sharer,
    sql,
    wait_until,
)


def test_start_in_a_new_directory_creates_the_database(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "var" / "postgres", durable=False) as server:
        facts = sql(
            server,
            "SELECT current_database(), current_user, pg_encoding_to_char(encoding), datlocprovider,"
            " datlocale, current_setting('server_version_num')::int / 10000,"
            " current_setting('data_checksums')"
            " FROM pg_database WHERE datname = current_database()",
        )
    assert facts == "rollcall|rollcall|UTF8|b|C.UTF-8|18|on"


async def test_dsn_given_to_asyncpg_connects(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        connection = await asyncpg.connect(server.dsn_for("template1"))
        assert await connection.fetchval("SELECT current_database()") == "template1"
        await connection.close()


def test_start_after_stop_keeps_rows(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        sql(server, "DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 42 AS n")
    assert is_stopped(directory)
    with EmbeddedPostgres(directory, durable=False) as server:
        assert sql(server, "SELECT n FROM kept") == "42"


def test_start_twice_takes_one_stop(directory: Path) -> None:
    server = EmbeddedPostgres(directory, durable=False)
    server.start()
    server.start()
    server.stop()
    assert is_stopped(directory)
    server.stop()


def test_start_without_waiting_is_completed_by_the_next_start(directory: Path) -> None:
    server = EmbeddedPostgres(directory, durable=False)
    server.start(wait=False)
    pid_file = directory / "data" / "postmaster.pid"
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    begun = postmaster(directory)
    with server:
        assert postmaster(directory) == begun
        assert sql(server, "SELECT 1") == "1"
    assert is_stopped(directory)


def test_start_without_waiting_takes_one_stop(directory: Path) -> None:
    server = EmbeddedPostgres(directory, durable=False)
    server.start(wait=False)
    assert not is_stopped(directory)
    server.stop()
    assert is_stopped(directory)


def test_start_is_durable_unless_told_otherwise(directory: Path) -> None:
    query = "SELECT string_agg(setting, ' ') FROM pg_settings WHERE name IN ('fsync', 'full_page_writes')"
    with EmbeddedPostgres(directory) as server:
        assert sql(server, query) == "on on"
        assert sql(server, "SHOW synchronous_commit") == "on"
    with EmbeddedPostgres(directory, durable=False) as server:
        assert sql(server, query) == "off off"


def test_start_durable_on_a_non_durable_server_is_rejected(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as non_durable:
        with pytest.raises(EmbeddedUnavailable, match="without durability"):
            EmbeddedPostgres(directory).start()
        assert sql(non_durable, "SELECT 1") == "1"
    with EmbeddedPostgres(directory) as server:
        assert sql(server, "SHOW fsync") == "on"


def test_stop_with_another_user_leaves_the_server_to_it(directory: Path) -> None:
    with sharer(directory) as first, EmbeddedPostgres(directory, durable=False) as second:
        first.communicate()
        assert sql(second, "SELECT 1") == "1"
    assert is_stopped(directory)


def test_stop_by_the_process_that_started_leaves_the_server_to_the_other(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as first, sharer(directory) as second:
        pid = postmaster(directory)
        first.stop()
        assert postmaster(directory) == pid
        second.communicate()
        assert is_stopped(directory)


def test_start_by_several_processes_at_once_launches_one_server(tmp_path: Path) -> None:
    with program(SHARER, tmp_path) as first, program(SHARER, tmp_path) as second:
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        with EmbeddedPostgres(tmp_path, durable=False) as server:
            assert sql(server, "SELECT 1") == "1"
        starts = (tmp_path / "log").read_text().count("starting PostgreSQL")
        first.communicate()
        second.communicate()
    assert starts == 1
    assert is_stopped(tmp_path)


def test_start_launches_the_server_in_its_own_session(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False):
        assert os.getsid(postmaster(directory)) == postmaster(directory)
