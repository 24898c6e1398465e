"""Sockets, permissions, paths, environments and users around the embedded server."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.embedded.binaries import EmbeddedUnavailable, binary
from service.embedded.server import EmbeddedPostgres
from tests.embedded.clusters import (
    ROOT,
    is_stopped,
    kill,
    postmaster,
    sharer,
    sql,
)


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


def test_start_creates_a_private_socket_directory_that_stop_removes(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False):
        place = (directory / "socket").readlink()
        assert place.stat().st_mode & 0o777 == 0o700
        assert place.stat().st_uid == os.geteuid()
    assert not place.exists()


def test_start_after_the_socket_directory_was_removed_creates_another(directory: Path) -> None:
    with sharer(directory) as only:
        kill(only)
        shutil.rmtree((directory / "socket").readlink())
        with EmbeddedPostgres(directory, durable=False) as server:
            assert sql(server, "SELECT 1") == "1"
    assert is_stopped(directory)


def test_start_does_not_use_a_socket_directory_open_to_others(directory: Path, tmp_path: Path) -> None:
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


def test_failed_statement_does_not_appear_in_the_server_log(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        with pytest.raises(subprocess.CalledProcessError) as failure:
            sql(server, "SELECT 'open sesame'::int")
        assert "open sesame" in failure.value.stderr
    assert "open sesame" not in (directory / "log").read_text()


@pytest.mark.parametrize("name", ["Möbel & 家具 'of' 100 %", "d" * 120])
def test_start_in_a_long_or_special_path_succeeds(own_directory: Path, name: str) -> None:
    directory = own_directory.rename(own_directory.parent / name)
    with EmbeddedPostgres(directory, durable=False) as server:
        assert sql(server, "SELECT 1") == "1"


@pytest.mark.parametrize("name", ["t" * 90, "a, b"])
def test_start_with_a_long_or_special_temporary_directory_succeeds(
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


def pretend_root_with(unshare: str | None, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.mkdir()
    if unshare is not None:
        (place / "unshare").write_text(unshare)
        (place / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.parametrize("unshare", [None, "#!/bin/sh\necho 'unshare: not permitted' >&2\nexit 1\n"])
def test_start_as_root_without_namespaces_names_the_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unshare: str | None
) -> None:
    pretend_root_with(unshare, tmp_path / "bin", monkeypatch)
    with pytest.raises(EmbeddedUnavailable) as raised:
        EmbeddedPostgres(tmp_path / "postgres").start()
    sentence = str(raised.value)
    assert "ordinary user" in sentence
    assert "DATABASE_URL" in sentence
    assert sentence.count(".") == 1
    assert "\n" not in sentence


def test_start_in_a_cluster_of_another_user_is_rejected(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(EmbeddedUnavailable, match="belongs to another user"):
        EmbeddedPostgres(directory).start()


def test_start_of_a_damaged_cluster_raises_the_reason_and_cleans_up(own_directory: Path) -> None:
    (own_directory / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedUnavailable, match="incompatible"):
        EmbeddedPostgres(own_directory).start()
    assert is_stopped(own_directory)


def test_start_without_waiting_of_a_damaged_cluster_raises_the_reason_at_the_next_start(
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
def test_start_below_a_private_directory_of_another_user_raises_the_reason_and_cleans_up(
    tmp_path: Path,
) -> None:
    (tmp_path / "foreign").mkdir(mode=0o700)
    os.chown(tmp_path / "foreign", 12345, 12345)
    with pytest.raises(EmbeddedUnavailable, match="Permission denied"):
        EmbeddedPostgres(tmp_path / "foreign" / "postgres").start()
    assert not list((tmp_path / "foreign" / "postgres").glob("data*"))


def test_start_where_no_directory_can_be_created_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedUnavailable, match="cannot use its files"):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()


def test_stop_after_the_directory_was_deleted_logs_a_warning(
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


def test_binary_of_unknown_name_raises() -> None:
    assert binary("pg_dump").is_file()
    with pytest.raises(EmbeddedUnavailable, match="no_such_program"):
        binary("no_such_program")
