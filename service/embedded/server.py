"""PostgreSQL 18 from a wheel, used if no DATABASE_URL is given.

The directory of an `EmbeddedPostgres` holds everything that outlives a run:

    data/        the cluster; it has this name only once it is complete
    log          the log of the server
    socket       a link to the short, private directory in which the server listens
    change.lock  held while a process starts or stops the server, also by the programs that create the cluster
    users.lock   held, shared, by every process that uses the server
    server.lock  held by the server's own processes: free once the last of them has ended

The kernel releases a lock when its holder ends, however it ends. So a user that was killed neither keeps the
server alive nor takes it from the others, and a server that was killed cannot be mistaken for a running one,
as it could with a process id in a file. The file system has to be local.
"""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, Self
from urllib.parse import quote

import structlog

from service.embedded.binaries import EmbeddedUnavailable, environment, first_error, server_command
from service.embedded.cluster import DATABASE, ROLE, create_cluster
from service.embedded.socket_directory import PORT, SocketDirectory

_START_TIMEOUT_S: Final = 180.0
"""After a kill the server first replays up to a gigabyte of WAL."""
_STOP_TIMEOUT_S: Final = 30.0
_LOCK_TIMEOUT_S: Final = 300.0
_POLL_INTERVAL_S: Final = 0.02

_SETTINGS: Final = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0600",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    # Statements, values and messages may hold secrets: log none of them.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
_NON_DURABLE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_log = structlog.get_logger("rollcall")


class EmbeddedPostgres:
    """A PostgreSQL server that lives in `directory` and runs while at least one process uses it.

    It listens only on a unix socket in a directory that its owner alone may enter. Acknowledged rows survive
    SIGKILL of the server, of the service, or of both; `durable=False` gives that up for speed, for tests
    only. Nothing is created outside `directory` except the socket's directory under the system's temporary
    one, and no permission of another directory is changed.
    """

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self._directory = directory.absolute()
        self._data = self._directory / "data"
        self._pid_file = self._data / "postmaster.pid"
        self._server_log = self._directory / "log"
        self._sockets = SocketDirectory(self._directory / "socket")
        self._durable = durable
        self._users_lock: IO[bytes] | None = None
        self._child: int | None = None

    def start(self, *, wait: bool = True) -> None:
        """Run the server until `stop`; it accepts connections when this returns.

        Create the cluster if there is none; attach to a server that another process runs. Another call is
        cheap, and restarts a server that has died under the same `dsn`. With `wait=False` the server starts
        in the background; call again before using it.

        Raises: EmbeddedUnavailable.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._changing() as lock:
                self._ensure_cluster(lock)
                self._attach(self._launch_and_wait if wait else self._launch_unless_running)
        except OSError as error:
            raise EmbeddedUnavailable(
                f"The embedded PostgreSQL cannot use its files ({error}): fix that, or set DATABASE_URL."
            ) from error

    def restart_if_dead(self) -> None:
        """Start a server that has died since `start`, unless its data were removed.

        Raises: EmbeddedUnavailable.
        """
        if self._data.exists():
            self.start()

    def stop(self) -> None:
        """Detach from the server; shut it down if no other live process uses it."""
        if self._users_lock is None:
            return
        try:
            with self._changing():
                self._detach()
        except FileNotFoundError:
            # PostgreSQL ends by itself within a minute.
            _log.warning("embedded_database_gone", directory=str(self._directory))
        finally:
            self._release_users_lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """The libpq connection string of the service's database; available once started."""
        return self.dsn_for(DATABASE)

    def dsn_for(self, database: str) -> str:
        """Return the libpq connection string of another database; available once started."""
        host = quote(str(self._sockets.path))
        # With a port: clients would take a missing one from PGPORT.
        return f"postgresql:///{quote(database, safe='')}?host={host}&port={PORT}&user={ROLE}"

    # Locks

    @contextmanager
    def _changing(self) -> Iterator[IO[bytes]]:
        """Exclude other processes from starting or stopping the server; yield the lock."""
        with self._lock_file("change") as lock:
            if not any(_try_lock(lock) for _ in _polls(_LOCK_TIMEOUT_S)):
                raise EmbeddedUnavailable(
                    f"Another process is still starting or stopping {self._directory}: end it, try again."
                )
            yield lock

    def _lock_file(self, name: str) -> IO[bytes]:
        return (self._directory / f"{name}.lock").open("ab")

    def _attach(self, launch: Callable[[], None]) -> None:
        is_new_user = self._users_lock is None
        self._users_lock = self._users_lock or self._lock_file("users")
        try:
            if not self._sockets.is_private():
                # Temporary directories get swept: replace a server that nobody can reach.
                self._shut_down_if_unused()
            fcntl.flock(self._users_lock, fcntl.LOCK_SH)
            launch()
        except BaseException:
            if is_new_user:
                self._detach()
            raise

    def _detach(self) -> None:
        try:
            self._shut_down_if_unused()
        finally:
            self._release_users_lock()

    def _shut_down_if_unused(self) -> None:
        # The shared lock becomes an exclusive one, or is lost: a failed flock does not restore it.
        if self._users_lock is not None and _try_lock(self._users_lock):
            self._shut_down()

    def _release_users_lock(self) -> None:
        if self._users_lock is not None:
            self._users_lock.close()
            self._users_lock = None

    # The server

    def _ensure_cluster(self, lock: IO[bytes]) -> None:
        if not self._data.exists():
            create_cluster(self._data, lock, durable=self._durable)
        elif self._data.stat().st_uid != os.geteuid():
            raise EmbeddedUnavailable(
                f"{self._data} belongs to another user: become that user, or set DATABASE_URL."
            )

    def _launch_and_wait(self) -> None:
        log_start: int | None = None
        for _ in _polls(_START_TIMEOUT_S):
            if self._is_ready():
                self._reject_non_durable()
                return
            with self._lock_file("server") as lock:
                if _try_lock(lock):
                    if log_start is not None:
                        raise self._failure(f"does not start ({self._last_error(log_start)})")
                    log_start = self._server_log.stat().st_size if self._server_log.exists() else 0
                    self._launch(lock)
        raise self._failure(f"is not ready after {_START_TIMEOUT_S:.0f} s")

    def _launch_unless_running(self) -> None:
        if not self._is_ready():
            with self._lock_file("server") as lock:
                if _try_lock(lock):
                    self._launch(lock)

    def _launch(self, lock: IO[bytes]) -> None:
        """Start the server, which inherits the lock, without waiting for it.

        It gets a session of its own: Ctrl-C reaches every process of the terminal's group, and the service
        needs its database while it drains.
        """
        self._reap()
        # The lock proves that no server runs; PostgreSQL would trust a new process with the same id.
        self._pid_file.unlink(missing_ok=True)
        command = [*server_command("postgres"), "-D", str(self._data)]
        settings = {"unix_socket_directories": f'"{self._sockets.prepare()}"', **_SETTINGS}
        for name, value in (settings if self._durable else settings | _NON_DURABLE).items():
            command += ["-c", f"{name}={value}"]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # Not subprocess.Popen, which warns about a child that is meant to outlive it.
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
        """End the sessions, write a checkpoint and stop; log a server that takes too long."""
        with self._lock_file("server") as lock:
            for _ in _polls(_STOP_TIMEOUT_S):
                if _try_lock(lock):
                    break
                self._interrupt_postmaster()
            else:
                _log.warning("embedded_database_stop_timeout", directory=str(self._directory))
                return
        self._reap()
        self._sockets.remove()

    def _interrupt_postmaster(self) -> None:
        # It may have been killed while its last sessions have yet to notice.
        with suppress(ProcessLookupError, PermissionError):
            for pid in self._pid_file_lines()[:1]:
                os.kill(int(pid), signal.SIGINT)

    def _reap(self) -> None:
        """Wait for the server that we started, which would otherwise stay a zombie."""
        if self._child is not None:
            with suppress(ChildProcessError):
                os.waitpid(self._child, 0)
            self._child = None

    def _is_ready(self) -> bool:
        is_up = self._pid_file_lines()[7:8] == ["ready"] and self._sockets.is_private()
        return is_up and self._sockets.accepts_connections()

    def _pid_file_lines(self) -> list[str]:
        try:
            return [line.strip() for line in _text_of(self._pid_file).splitlines()]
        except FileNotFoundError:
            return []

    def _last_error(self, log_start: int) -> str:
        with self._server_log.open("rb") as log:
            log.seek(log_start)
            return first_error(log.read().decode(errors="replace"))

    def _failure(self, what: str) -> EmbeddedUnavailable:
        return EmbeddedUnavailable(
            f"The embedded PostgreSQL {what}: read {self._server_log}, or set DATABASE_URL."
        )

    def _reject_non_durable(self) -> None:
        if self._durable and "fsync=off" in _text_of(self._data / "postmaster.opts"):
            raise EmbeddedUnavailable(
                f"The PostgreSQL in {self._directory} runs without durability: end its other users first."
            )


def _polls(timeout_s: float) -> Iterator[None]:
    """Yield again and again until the time is up, with short pauses."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() <= deadline:
        yield
        time.sleep(_POLL_INTERVAL_S)


def _text_of(file: Path) -> str:
    """Read a file that holds paths, in whatever encoding they are."""
    return file.read_text(encoding="utf-8", errors="surrogateescape")


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
