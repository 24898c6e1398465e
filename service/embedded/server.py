"""PostgreSQL 18 out of a wheel, for when no DATABASE_URL is given.

The directory handed to `EmbeddedPostgres` holds everything that outlives a run:

    data/        the cluster; it has this name only when it is complete
    log          what the server says
    socket       a link to the short, private directory in which the server listens
    change.lock  held by whoever starts or stops the server, for as long as that takes
    users.lock   held, shared, by every process that uses the server
    server.lock  held by the server's own processes, so that it is free when the last of them has ended

The kernel drops a lock when its holder ends, however it ends. So a user that was killed neither keeps the
server alive nor takes it from the others, and a server that was killed cannot be mistaken for a running one,
which a process id in a file can. The file system has to be a local one.
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import structlog

from service.embedded.binaries import (
    EmbeddedUnavailable,
    binary,
    environment,
    first_complaint,
    run,
    server_command,
)

__all__ = ["EmbeddedPostgres", "EmbeddedUnavailable", "binary"]

_ROLE = "rollcall"
_DATABASE = "rollcall"
_PORT = 5432
_SOCKET_NAME = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_BYTES = 100
"""Room for a socket's path that every system grants (Linux 107, macOS 103)."""

_START_TIMEOUT_S = 180.0
"""After a kill the server first replays what it had not written out: up to a gigabyte."""
_STOP_TIMEOUT_S = 30.0
_CHANGE_TIMEOUT_S = 300.0
_POLL_S = 0.02

_ALWAYS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0600",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    # What the service sends may hold secrets: neither statements nor values nor messages that quote them.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
_NON_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_log = structlog.get_logger("rollcall")


class EmbeddedPostgres:
    """A PostgreSQL server that lives in `directory` and runs while at least one process uses it.

    It listens on a unix socket in a directory that only its owner may enter, and on nothing else. Every row
    that was acknowledged survives SIGKILL of the server, of the service, or of both. With `durable=False` it
    gives that up for speed, which is for tests alone. Nothing is created outside `directory`, except the
    socket's directory under the system's temporary one, and nobody else's permissions are changed.
    """

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self._directory = directory.absolute()
        self._data = self._directory / "data"
        self._pid_file = self._data / "postmaster.pid"
        self._server_log = self._directory / "log"
        self._socket_link = self._directory / "socket"
        self._durable = durable
        self._share: IO[bytes] | None = None
        self._child: int | None = None

    def start(self, *, wait: bool = True) -> None:
        """Make sure the server runs and stays until `stop`; it accepts connections when this returns.

        Creates the cluster when there is none, and attaches to the server when another process runs it
        already. Calling it again is cheap, and brings a server that has died since back under the same `dsn`.
        With `wait=False` a server that is not ready comes up beside the caller, who calls again to use it.

        Raises: EmbeddedUnavailable.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._changing():
                self._ensure_cluster()
                self._enter(self._bring_up if wait else self._launch_unless_running)
        except OSError as error:
            raise EmbeddedUnavailable(
                f"The embedded PostgreSQL cannot use its files ({error}): mend that, or set DATABASE_URL."
            ) from error

    def restart_if_dead(self) -> None:
        """Start a server that has died since `start`; where its data are gone, make nothing in their place.

        Raises: EmbeddedUnavailable.
        """
        if self._data.exists():
            self.start()

    def stop(self) -> None:
        """Leave the server, and shut it down when no other live process uses it."""
        if self._share is None:
            return
        try:
            with self._changing():
                self._quit()
        except FileNotFoundError:
            # PostgreSQL ends by itself within a minute.
            _log.warning("embedded_database_gone", directory=str(self._directory))
        finally:
            self._leave()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """The libpq connection string of the service's database; to be had once started."""
        return self.dsn_for(_DATABASE)

    def dsn_for(self, database: str) -> str:
        """The libpq connection string of another database in the same server; to be had once started."""
        place = quote(str(self._socket_link.readlink()))
        # With its port, because clients would take a missing one from PGPORT.
        return f"postgresql:///{quote(database, safe='')}?host={place}&port={_PORT}&user={_ROLE}"

    # Who uses the server

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Nobody else starts or stops the server inside the block."""
        deadline = time.monotonic() + _CHANGE_TIMEOUT_S
        with self._lock_file("change") as lock:
            while not _lock_at_once(lock):
                if time.monotonic() > deadline:
                    raise EmbeddedUnavailable(
                        f"Another process is still starting or stopping {self._directory}: end it, try again."
                    )
                time.sleep(_POLL_S)
            yield

    def _lock_file(self, name: str) -> IO[bytes]:
        return (self._directory / f"{name}.lock").open("ab")

    def _enter(self, bring_up: Callable[[], None]) -> None:
        newcomer = self._share is None
        self._share = self._share or self._lock_file("users")
        try:
            if not self._owns_socket_directory():
                # Temporary directories get swept: a server that nobody can reach makes room for one they can.
                self._shut_down_when_alone()
            fcntl.flock(self._share, fcntl.LOCK_SH)
            bring_up()
        except BaseException:
            if newcomer:
                self._quit()
            raise

    def _quit(self) -> None:
        try:
            self._shut_down_when_alone()
        finally:
            self._leave()

    def _shut_down_when_alone(self) -> None:
        # The shared lock becomes an exclusive one, or is lost: a failed flock does not restore it.
        if self._share is not None and _lock_at_once(self._share):
            self._shut_down()

    def _leave(self) -> None:
        if self._share is not None:
            self._share.close()
            self._share = None

    # The cluster

    def _ensure_cluster(self) -> None:
        if not self._data.exists():
            self._create_cluster()
        elif self._data.stat().st_uid != os.geteuid():
            raise EmbeddedUnavailable(
                f"{self._data} belongs to another user: become that user, or set DATABASE_URL."
            )

    def _create_cluster(self) -> None:
        """Build the cluster under another name, so that an interrupted one never looks finished."""
        for unfinished in self._directory.glob("data.*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        building = Path(tempfile.mkdtemp(prefix="data.", dir=self._directory))
        try:
            run(self._initdb_command(building))
            run(
                [*server_command("postgres"), "--single", "-D", str(building), "template1"],
                stdin=f"CREATE DATABASE {_DATABASE}\n",
            )
            building.rename(self._data)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        # A power cut may undo a rename that was not flushed, and the next start would clear the cluster away.
        _flush_directory(self._directory)
        _flush_directory(self._directory.parent)

    def _initdb_command(self, building: Path) -> list[str]:
        return [
            *server_command("initdb"),
            f"--pgdata={building}",
            f"--username={_ROLE}",
            "--auth-local=trust",  # the directory of the socket decides who comes in
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if self._durable else ["--no-sync"]),
        ]

    # The server

    def _bring_up(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        log_start: int | None = None
        while not self._is_ready():
            with self._lock_file("server") as lock:
                if _lock_at_once(lock):
                    if log_start is not None:
                        raise self._failure(f"does not start ({self._last_error(log_start)})")
                    log_start = self._server_log.stat().st_size if self._server_log.exists() else 0
                    self._launch(lock)
            if time.monotonic() > deadline:
                raise self._failure(f"is not ready after {_START_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_S)
        self._refuse_forgetful_server()

    def _launch_unless_running(self) -> None:
        if not self._is_ready():
            with self._lock_file("server") as lock:
                if _lock_at_once(lock):
                    self._launch(lock)

    def _launch(self, lock: IO[bytes]) -> None:
        """Start the server, which inherits the lock, without waiting for it.

        It gets a session of its own: Ctrl-C reaches every process of the terminal's group, and the service
        still needs its database while it drains.
        """
        self._reap()
        # The lock says that its process is gone; PostgreSQL would be fooled by a new one of the same number.
        self._pid_file.unlink(missing_ok=True)
        command = [*server_command("postgres"), "-D", str(self._data)]
        settings = {"unix_socket_directories": f'"{self._make_socket_directory()}"', **_ALWAYS}
        for name, value in (settings if self._durable else settings | _NON_DURABLE).items():
            command += ["-c", f"{name}={value}"]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # Not subprocess.Popen, which complains about a child that is meant to outlive it.
        self._child = os.posix_spawn(
            command[0],
            command,
            environment(),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, lock.fileno(), 3),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._server_log), append, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )

    def _shut_down(self) -> None:
        """End the sessions, write everything out, stop; say so when that takes too long."""
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        with self._lock_file("server") as lock:
            while not _lock_at_once(lock):
                self._interrupt_postmaster()
                if time.monotonic() > deadline:
                    _log.warning("embedded_database_stop_timeout", directory=str(self._directory))
                    return
                time.sleep(_POLL_S)
        self._reap()
        self._remove_socket_directory()

    def _interrupt_postmaster(self) -> None:
        # It may have been killed, and its last sessions have yet to notice.
        with suppress(ProcessLookupError, PermissionError):
            for pid in self._pid_file_lines()[:1]:
                os.kill(int(pid), signal.SIGINT)

    def _reap(self) -> None:
        """Take note that the server we started has ended, or it stays a zombie for as long as we run."""
        if self._child is not None:
            with suppress(ChildProcessError):
                os.waitpid(self._child, 0)
            self._child = None

    def _is_ready(self) -> bool:
        if self._pid_file_lines()[7:8] != ["ready"] or not self._owns_socket_directory():
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            return probe.connect_ex(str(self._socket_link.readlink() / _SOCKET_NAME)) == 0

    def _pid_file_lines(self) -> list[str]:
        try:
            return [line.strip() for line in self._pid_file.read_text().splitlines()]
        except FileNotFoundError:
            return []

    def _last_error(self, log_start: int) -> str:
        with self._server_log.open("rb") as log:
            log.seek(log_start)
            return first_complaint(log.read().decode(errors="replace"))

    def _failure(self, what: str) -> EmbeddedUnavailable:
        return EmbeddedUnavailable(
            f"The embedded PostgreSQL {what}: read {self._server_log}, or set DATABASE_URL."
        )

    def _refuse_forgetful_server(self) -> None:
        if self._durable and "fsync=off" in (self._data / "postmaster.opts").read_text():
            raise EmbeddedUnavailable(
                f"The PostgreSQL in {self._directory} runs without durability: end its other users first."
            )

    # The socket

    def _make_socket_directory(self) -> Path:
        """An empty private directory; the last one while it exists, so that open pools find the way back."""
        if not self._owns_socket_directory():
            self._socket_link.unlink(missing_ok=True)
            # The link first: wherever a kill falls between the two, the next run knows the directory.
            self._socket_link.symlink_to(_temporary_directory() / f"rollcall-{secrets.token_hex(8)}")
            self._socket_link.readlink().mkdir(mode=0o700)
        place = self._socket_link.readlink()
        for leftover in place.iterdir():
            leftover.unlink()
        return place

    def _remove_socket_directory(self) -> None:
        if self._owns_socket_directory():
            shutil.rmtree(self._socket_link.readlink())
        self._socket_link.unlink(missing_ok=True)

    def _owns_socket_directory(self) -> bool:
        """Whether it is there and private: anybody may make one of its name once ours was swept away."""
        try:
            found = self._socket_link.readlink().lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _lock_at_once(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _temporary_directory() -> Path:
    """The system's temporary directory, or /tmp when a socket's path does not fit or needs quoting there."""
    place = tempfile.gettempdir()
    size = len(os.fsencode(place)) + len(f"/rollcall-0123456789abcdef/{_SOCKET_NAME}")
    plain = place.isascii() and not set(place) & set(",\"'\\")
    # What is made in it is private, and checked to be, which is what the rule is about.
    return Path(place if plain and size <= _SOCKET_PATH_BYTES else "/tmp")  # noqa: S108


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
