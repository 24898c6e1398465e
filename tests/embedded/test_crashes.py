"""Nothing acknowledged is lost, and the next start goes on, whatever was killed."""

import os
import subprocess
from pathlib import Path

import pytest

from service.embedded.binaries import binary
from service.embedded.server import EmbeddedPostgres
from tests.embedded.clusters import (
    CREATOR,
    WRITER,
    is_locked,
    is_stopped,
    kill,
    kill_postmaster,
    postmaster,
    program,
    sharer,
    sql,
    wait_until,
)


@pytest.mark.parametrize("victims", ["service", "server", "both"])
def test_start_after_kill_has_every_acknowledged_row(directory: Path, victims: str) -> None:
    with program(WRITER, directory) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(50)]
        if victims != "service":
            kill_postmaster(directory)
        if victims != "server":
            writer.kill()
        acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
    with EmbeddedPostgres(directory) as server:
        found = {int(n) for n in sql(server, "SELECT n FROM written").splitlines()}
    assert set(acknowledged) <= found
    assert is_stopped(directory)


def test_start_after_kill_of_the_only_user_attaches_to_its_server(directory: Path) -> None:
    with sharer(directory) as only:
        pid = postmaster(directory)
        kill(only)
        with EmbeddedPostgres(directory, durable=False) as server:
            assert postmaster(directory) == pid
            assert sql(server, "SELECT 1") == "1"
    assert is_stopped(directory)


def test_start_again_after_kill_of_the_server_restores_the_same_dsn(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        before = server.dsn, postmaster(directory)
        kill_postmaster(directory)
        server.start()
        assert server.dsn == before[0]
        assert postmaster(directory) != before[1]
        assert sql(server, "SELECT 1") == "1"


def test_restart_if_dead_starts_the_server_but_creates_no_cluster(
    directory: Path,
) -> None:
    data, elsewhere = directory / "data", directory / "elsewhere"
    with EmbeddedPostgres(directory, durable=False) as server:
        kill_postmaster(directory)
        data.rename(elsewhere)
        server.restart_if_dead()
        assert not data.exists()
        elsewhere.rename(data)
        server.restart_if_dead()
        assert sql(server, "SELECT 1") == "1"


def test_start_after_kill_of_the_server_serves_its_other_users_too(directory: Path) -> None:
    with sharer(directory), EmbeddedPostgres(directory, durable=False) as first:
        kill_postmaster(directory)
        with EmbeddedPostgres(directory, durable=False) as second:
            assert second.dsn == first.dsn
        assert sql(first, "SELECT 1") == "1"


def test_start_after_kill_of_the_server_waits_for_its_busy_sessions(directory: Path) -> None:
    others = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
    with EmbeddedPostgres(directory, durable=False) as server:
        # A session that computes does not notice that its server has died, and keeps the shared memory.
        command = [str(binary("psql")), "-X", "-d", server.dsn]
        command += ["-c", "SELECT count(*) FROM generate_series(1, 4000000)"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            wait_until(lambda: sql(server, others) == "1")
            kill_postmaster(directory)
            server.start()
        assert sql(server, others) == "0"


def test_start_with_pid_file_that_names_another_process_succeeds(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False):
        lines = (directory / "data" / "postmaster.pid").read_text().splitlines()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as bystander:
        (directory / "data" / "postmaster.pid").write_text("\n".join([str(bystander.pid), *lines[1:], ""]))
        with EmbeddedPostgres(directory, durable=False) as server:
            assert sql(server, "SELECT 1") == "1"
        assert bystander.poll() is None


def test_start_after_kill_in_the_middle_of_creation_creates_anew(tmp_path: Path) -> None:
    password = tmp_path / "password"
    os.mkfifo(password)
    with program(CREATOR, tmp_path) as creator, password.open("w") as line:
        kill(creator)
        assert [entry.name for entry in tmp_path.glob("data*")] != ["data"]
        assert is_locked(tmp_path / "change.lock"), "the next start does not wait for the orphaned initdb"
        line.write("any\n")
    with EmbeddedPostgres(tmp_path, durable=False) as server:
        assert [entry.name for entry in tmp_path.glob("data*")] == ["data"]
        assert sql(server, "SELECT current_database()") == "rollcall"


def test_stop_after_kill_of_the_other_user_ends_the_server(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server, sharer(directory) as other:
        kill(other)
        assert sql(server, "SELECT 1") == "1"
    assert is_stopped(directory)
