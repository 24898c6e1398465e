import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from service.embedded.binaries import EmbeddedUnavailable, binary
from service.embedded.server import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0

# Runs the server until its standard input ends.
SHARER = """
import sys
from pathlib import Path
from service.embedded.server import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), durable=False):
    print("up", flush=True)
    sys.stdin.read()
"""

# Inserts rows for as long as it lives, and says each number once it is acknowledged.
WRITER = """
import asyncio, sys
from pathlib import Path
import asyncpg
from service.embedded.server import EmbeddedPostgres
async def write(dsn):
    connection = await asyncpg.connect(dsn)
    await connection.execute("DROP TABLE IF EXISTS written; CREATE TABLE written (n int PRIMARY KEY)")
    n = 0
    while True:
        await connection.execute("INSERT INTO written VALUES ($1)", n)
        print(n, flush=True)
        n += 1
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
asyncio.run(write(server.dsn))
"""


def sql(server: EmbeddedPostgres, statement: str) -> str:
    command = [str(binary("psql")), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", server.dsn, "-c", statement]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def postmaster(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])


def is_stopped(directory: Path) -> bool:
    """A server that shut down in order has taken its pid file along; its socket goes with it."""
    return not (directory / "data" / "postmaster.pid").exists() and not (directory / "socket").is_symlink()


def kill_postmaster(directory: Path) -> None:
    """Return when it is dead: a kill only asks for that."""
    os.kill(postmaster(directory), signal.SIGKILL)
    wait_until(lambda: not accepts_connections(directory))


def accepts_connections(directory: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str((directory / "socket").readlink() / ".s.PGSQL.5432")) == 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def program(code: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", code, str(directory)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def sharer(directory: Path) -> Iterator[subprocess.Popen[str]]:
    with program(SHARER, directory) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cluster")
    with EmbeddedPostgres(place, durable=False):
        pass
    return place


@pytest.fixture
def directory(cluster: Path) -> Iterator[Path]:
    """A place with a cluster and no server, shared with the other tests: making one takes a second."""
    yield cluster
    if not is_stopped(cluster):
        end_abandoned(cluster)


@pytest.fixture
def own_directory(tmp_path: Path, cluster: Path) -> Path:
    """The same for a test that damages what it is given."""
    shutil.copytree(cluster / "data", tmp_path / "postgres" / "data")
    return tmp_path / "postgres"


def end_abandoned(place: Path) -> None:
    """End what a killed process has left running."""
    with suppress(EmbeddedUnavailable), EmbeddedPostgres(place, durable=False):
        pass


def test_start_in_new_directory_creates_the_database(tmp_path: Path) -> None:
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


def test_start_without_waiting_lets_the_next_start_have_the_server(directory: Path) -> None:
    server = EmbeddedPostgres(directory, durable=False)
    server.start(wait=False)
    wait_until((directory / "data" / "postmaster.pid").exists)
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


def test_start_without_durability_is_the_exception(directory: Path) -> None:
    query = "SELECT string_agg(setting, ' ') FROM pg_settings WHERE name IN ('fsync', 'full_page_writes')"
    with EmbeddedPostgres(directory) as server:
        assert sql(server, query) == "on on"
        assert sql(server, "SHOW synchronous_commit") == "on"
    with EmbeddedPostgres(directory, durable=False) as server:
        assert sql(server, query) == "off off"


def test_start_durable_on_forgetful_server_is_refused(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as forgetful:
        with pytest.raises(EmbeddedUnavailable, match="without durability"):
            EmbeddedPostgres(directory).start()
        assert sql(forgetful, "SELECT 1") == "1"
    with EmbeddedPostgres(directory) as server:
        assert sql(server, "SHOW fsync") == "on"


# Kills


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


def test_bring_back_after_kill_of_the_server_starts_it_and_makes_nothing_where_the_data_are_gone(
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
    with program(SHARER, tmp_path) as creator:
        wait_until(lambda: any(tmp_path.glob("data.*/PG_VERSION")))
        kill(creator)
    assert [entry.name for entry in tmp_path.glob("data*")] != ["data"]
    with EmbeddedPostgres(tmp_path, durable=False) as server:
        assert [entry.name for entry in tmp_path.glob("data*")] == ["data"]
        assert sql(server, "SELECT current_database()") == "rollcall"


# Sharing


def test_stop_with_another_user_leaves_the_server_to_it(directory: Path) -> None:
    with sharer(directory) as first, EmbeddedPostgres(directory, durable=False) as second:
        first.communicate()
        assert sql(second, "SELECT 1") == "1"
    assert is_stopped(directory)


def test_stop_by_the_one_who_started_leaves_the_server_to_the_other(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as first, sharer(directory) as second:
        pid = postmaster(directory)
        first.stop()
        assert postmaster(directory) == pid
        second.communicate()
        assert is_stopped(directory)


def test_stop_after_kill_of_the_other_user_ends_the_server(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server, sharer(directory) as other:
        kill(other)
        assert sql(server, "SELECT 1") == "1"
    assert is_stopped(directory)


def test_start_by_many_at_once_makes_one_server(tmp_path: Path) -> None:
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


def test_start_gives_the_server_a_session_of_its_own(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False):
        assert os.getsid(postmaster(directory)) == postmaster(directory)


# What others can reach and read


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads the sockets of a process from /proc")
def test_start_listens_on_no_network_port(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        assert sql(server, "SHOW listen_addresses") == ""
        pid = postmaster(directory)
        held = {entry.readlink().name for entry in Path(f"/proc/{pid}/fd").iterdir()}
        network = {
            f"socket:[{line.split()[9]}]"
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        }
        assert any(name.startswith("socket:") for name in held)
        assert not held & network


def test_start_makes_a_private_socket_directory_that_stop_removes(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False):
        place = (directory / "socket").readlink()
        assert place.stat().st_mode & 0o777 == 0o700
        assert place.stat().st_uid == os.geteuid()
    assert not place.exists()


def test_start_after_the_socket_directory_was_swept_away_makes_another(directory: Path) -> None:
    with sharer(directory) as only:
        kill(only)
        shutil.rmtree((directory / "socket").readlink())
        with EmbeddedPostgres(directory, durable=False) as server:
            assert sql(server, "SELECT 1") == "1"
    assert is_stopped(directory)


def test_start_does_not_enter_a_socket_directory_open_to_others(directory: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    trap.chmod(0o777)
    (directory / "socket").symlink_to(trap)
    with EmbeddedPostgres(directory, durable=False):
        assert (directory / "socket").readlink() != trap
    assert trap.exists()


def test_start_changes_no_permission_of_a_parent(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "checkout").mkdir(parents=True)
    home.chmod(0o700)
    ancestors = (home / "checkout", *(home / "checkout").parents)
    before = [(place.stat().st_mode, place.stat().st_uid, place.stat().st_gid) for place in ancestors]
    accounts = Path("/etc/passwd").read_bytes()
    with EmbeddedPostgres(home / "checkout" / "var" / "postgres", durable=False):
        pass
    assert [(place.stat().st_mode, place.stat().st_uid, place.stat().st_gid) for place in ancestors] == before
    assert Path("/etc/passwd").read_bytes() == accounts


def test_failed_statement_leaves_nothing_of_itself_in_the_log(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        with pytest.raises(subprocess.CalledProcessError) as failure:
            sql(server, "SELECT 'open sesame'::int")
        assert "open sesame" in failure.value.stderr
    assert "open sesame" not in (directory / "log").read_text()


# Places and circumstances


@pytest.mark.parametrize("name", ["Möbel & 家具 'of' 100 %", "d" * 120])
def test_start_in_awkward_path_succeeds(own_directory: Path, name: str) -> None:
    directory = own_directory.rename(own_directory.parent / name)
    with EmbeddedPostgres(directory, durable=False) as server:
        assert sql(server, "SELECT 1") == "1"


@pytest.mark.parametrize("name", ["t" * 90, "a, b"])
def test_start_in_awkward_temporary_directory_succeeds(
    directory: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with tempfile.TemporaryDirectory() as short:
        (Path(short) / name).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(Path(short) / name))
        with EmbeddedPostgres(directory, durable=False) as server:
            assert sql(server, "SELECT 1") == "1"


def test_start_from_relative_path_survives_change_of_directory(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory.parent)
    with EmbeddedPostgres(Path(directory.name), durable=False) as server:
        monkeypatch.chdir(ROOT)
        assert sql(server, "SELECT 1") == "1"
    assert is_stopped(directory)


def test_start_ignores_postgresql_variables_of_the_environment(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "6000", "PGDATA": "/nowhere", "PGDATABASE": "no", "PGUSER": "no"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGCLIENTENCODING", "a server that reads this does not start")
    with EmbeddedPostgres(directory, durable=False) as server:
        monkeypatch.delenv("PGCLIENTENCODING")
        assert sql(server, "SELECT current_user") == "rollcall"


# Refusals


def pretend_root_with(unshare: str | None, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.mkdir()
    if unshare is not None:
        (place / "unshare").write_text(unshare)
        (place / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.parametrize("unshare", [None, "#!/bin/sh\necho 'unshare: not permitted' >&2\nexit 1\n"])
def test_start_as_root_without_namespaces_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unshare: str | None
) -> None:
    pretend_root_with(unshare, tmp_path / "bin", monkeypatch)
    with pytest.raises(EmbeddedUnavailable) as refusal:
        EmbeddedPostgres(tmp_path / "postgres").start()
    sentence = str(refusal.value)
    assert "ordinary user" in sentence
    assert "DATABASE_URL" in sentence
    assert sentence.count(".") == 1
    assert "\n" not in sentence


def test_start_in_cluster_of_another_user_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(EmbeddedUnavailable, match="belongs to another user"):
        EmbeddedPostgres(directory).start()


def test_start_of_damaged_cluster_tells_the_reason_and_leaves_nothing(own_directory: Path) -> None:
    (own_directory / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedUnavailable, match="incompatible"):
        EmbeddedPostgres(own_directory).start()
    assert is_stopped(own_directory)


def test_start_of_damaged_cluster_that_was_not_waited_for_tells_the_reason_next_time(
    own_directory: Path,
) -> None:
    (own_directory / "data" / "PG_VERSION").write_text("17\n")
    server = EmbeddedPostgres(own_directory)
    server.start(wait=False)
    with pytest.raises(EmbeddedUnavailable, match="incompatible"):
        server.start()
    server.stop()
    assert is_stopped(own_directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a directory's owner away, which only root may")
def test_start_below_a_closed_directory_of_another_user_tells_the_reason_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "foreign").mkdir(mode=0o700)
    os.chown(tmp_path / "foreign", 12345, 12345)
    with pytest.raises(EmbeddedUnavailable, match="Permission denied"):
        EmbeddedPostgres(tmp_path / "foreign" / "postgres").start()
    assert not list((tmp_path / "foreign" / "postgres").glob("data*"))


def test_start_where_no_directory_can_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedUnavailable, match="cannot use its files"):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()


def test_stop_after_the_directory_was_deleted_ends_quietly(
    own_directory: Path,
) -> None:
    server = EmbeddedPostgres(own_directory, durable=False)
    server.start()
    pid, place = postmaster(own_directory), (own_directory / "socket").readlink()
    shutil.rmtree(own_directory)
    with capture_logs() as lines:
        server.stop()
    assert [line["event"] for line in lines] == ["embedded_database_gone"]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    shutil.rmtree(place, ignore_errors=True)


def test_binary_of_unknown_name_is_refused() -> None:
    assert binary("pg_dump").is_file()
    with pytest.raises(EmbeddedUnavailable, match="no_such_program"):
        binary("no_such_program")
