"""What the tests of the embedded server share: clusters, and programs that use them."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.embedded.binaries import EmbeddedUnavailable, binary
from service.embedded.server import EmbeddedPostgres

ROOT = Path(__file__).parents[2]

TIMEOUT_S = 120.0

# Runs the server until its standard input ends.
SHARER = """
import sys
from pathlib import Path
from service.embedded.server import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), durable=False):
    print("up", flush=True)
    sys.stdin.read()
"""

# Creates a cluster by an `initdb` that waits for a line of the pipe `password`.
CREATOR = """
import sys
from pathlib import Path
from service.embedded import cluster
from service.embedded.server import EmbeddedPostgres
command = cluster.server_command
cluster.server_command = lambda name: [*command(name), f"--pwfile={sys.argv[1]}/password"]
EmbeddedPostgres(Path(sys.argv[1]), durable=False).start()
"""

# Inserts rows until it is killed, and prints each number once it is acknowledged.
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
    """Whether the server shut down in order: it has removed its pid file and its socket."""
    return not (directory / "data" / "postmaster.pid").exists() and not (directory / "socket").is_symlink()


def kill_postmaster(directory: Path) -> None:
    """Kill the server and wait until it is dead."""
    os.kill(postmaster(directory), signal.SIGKILL)
    wait_until(lambda: not accepts_connections(directory))


def accepts_connections(directory: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str((directory / "socket").readlink() / ".s.PGSQL.5432")) == 0


def is_locked(file: Path) -> bool:
    """Return whether a process holds the lock."""
    with file.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
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


def stop_orphan(place: Path) -> None:
    """Stop the server that a killed process has left running."""
    with suppress(EmbeddedUnavailable), EmbeddedPostgres(place, durable=False):
        pass
